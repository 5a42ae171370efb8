"""What a network does in training only: kept where it is a module, else said or refused."""

from __future__ import annotations

import nets
import pytest
import torch
from torch import Tensor, nn

import arches
from arches.inversion.network import InvertedNetwork

WIDTH = 32
VARIANTS = ["td", "td_uni", "td_rev"]


class OwnDropout(nn.Module):
    """A dropout that nobody knows by its class."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) > 0.5) * 2 if self.training else x


class Top(nn.Module):
    """A head with a part of its own that adds noise in training."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3))
        if self.training:
            x = x + torch.randn_like(x)
        out: Tensor = self.fc(x)
        return out


class Net(nn.Module):
    """The stages of :func:`nets.residual` with a choice of what is done in training only.

    Args:
        what: ``dropout`` and ``top`` by modules, the others in ``forward``.
    """

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.body = nn.Sequential(*list(nets.residual(3, 10).children())[:-3])
        self.last = OwnDropout() if what == "dropout" else nn.Identity()
        self.fc = Top() if what == "top" else nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.what == "top":
            top: Tensor = self.fc(self.body(x))
            return top
        early: Tensor = self.body[:4](x)
        if self.what == "between" and self.training:
            early = torch.roll(early, 1, 2)
        if self.what == "skip" and self.training:
            late: Tensor = self.body[5](early)
        else:
            late = self.body[4:](early)
        out: Tensor = self.fc(self.last(late.mean((2, 3))))
        if self.training and self.what == "auxiliary":
            out = out + early.mean()
        if self.training and self.what == "two outputs":
            return out, early.mean((2, 3))
        return out if self.training or self.what != "temperature" else out / 2


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("what", "head"), [("dropout", "mean, OwnDropout, dense"), ("top", "Top")])
def test_modules_of_the_head_do_in_training_what_they_do(
    what: str, head: str, variant: str
) -> None:
    network = arches.invert(Net(what), variant)
    assert isinstance(network, InvertedNetwork)
    assert network.head.operation == head
    assert network.head_note == ""
    x = torch.rand(4, network.head.in_width, 5, 5)
    assert torch.equal(network.head.eval()(x), network.head(x))
    assert not torch.equal(network.head.train()(x), network.head(x))


@pytest.mark.parametrize(
    ("what", "head", "name"),
    [
        ("auxiliary", "mean, dense", " (it calls mean there)"),
        ("two outputs", "mean, dense", " (it calls mean there)"),
        ("temperature", "mean, dense, truediv", ""),
    ],
)
def test_what_is_lost_behind_the_last_stage_is_said(what: str, head: str, name: str) -> None:
    model = Net(what).train()
    network = arches.invert(model, "td")
    assert isinstance(network, InvertedNetwork)
    assert network.head_note == (
        f"head: {head}; bu does something of its own in training behind its last stage{name}, "
        "which is lost: put that into a module of its own, or leave it out"
    )
    assert model.training


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("between", "in training between body.3 and body.4 .it calls roll there.: put that"),
        ("skip", "does not always run body.4 in training: put that"),
    ],
)
def test_stages_that_are_no_chain_in_training_are_refused(what: str, said: str) -> None:
    with pytest.raises(arches.InversionError, match=said) as caught:
        arches.invert(Net(what), "td")
    assert caught.value.reason == "not faithful"
    assert arches.invert(Net(what), "bu").variant == "bu"


def test_reading_leaves_statistics_and_random_numbers_alone() -> None:
    model = Net("nothing")
    torch.manual_seed(5)
    network = arches.invert(model, "td", init="from_bu")
    state = torch.get_rng_state()
    torch.manual_seed(5)
    again = arches.invert(model, "td", init="from_bu")
    assert torch.equal(state, torch.get_rng_state())
    assert isinstance(network, InvertedNetwork)
    assert network.head_note == ""
    counted = [value for name, value in again.named_buffers() if "num_batches" in name]
    assert all(int(value) == 0 for value in counted)
