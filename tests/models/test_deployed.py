"""Networks as they predict: folded where that changes nothing but the cost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import arches
from bench.models.deployed import deployed


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


IMAGE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("variant", ["bu", "td"])
def test_branches_of_training_are_folded(variant: str) -> None:
    torch.manual_seed(0)
    network = arches.invert("timm/repvit_m0_9", variant, 3, 10, 64)
    # Statistics as after a training, so that folding has something to fold.
    with torch.no_grad():
        network.train()(torch.cat([IMAGE, IMAGE.flip(-1)]))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = deployed(network, IMAGE)
    assert not folded.training
    assert size(folded) < size(network)
    with torch.no_grad():
        torch.testing.assert_close(folded(IMAGE), network.eval()(IMAGE), rtol=1e-3, atol=1e-4)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_other_networks_are_copied() -> None:
    network = arches.create("lenet_fc", "td", 1).train()
    copy = deployed(network, torch.zeros(1, 1, 28, 28))
    assert network.training
    assert not copy.training
    assert copy is not network
    assert size(copy) == size(network)


class Timms(nn.Module):
    """Would be another function when folded."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.is_folded = False

    def reparameterize(self) -> None:
        self.is_folded = True

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images) * (2 if self.is_folded else 1)  # type: ignore[no-any-return]


@pytest.mark.parametrize("home", ["timm.models.made_up", "my_nets"])
def test_what_would_compute_something_else_is_left(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As is what has such a method, but is none of timm's."""
    monkeypatch.setattr(Timms, "__module__", home)
    copy = deployed(nn.Sequential(Timms()), torch.ones(1, 4))
    assert isinstance(copy, nn.Sequential)
    assert not copy[0].is_folded
