"""Backbones that nobody prepared for it, bottom-up and top-down in one suite."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import families
import pytest

from arches import support
from bench.cli import main
from bench.models import backbones
from bench.plan import guard
from bench.run import probe

Tiny = Callable[..., Path]

CUSTOM = "from torch import Tensor, nn\n\n" + inspect.getsource(families.Custom)


def test_a_custom_module_inverts_without_a_word(tiny: Tiny) -> None:
    suite = tiny(
        ("[tiny_nets:linear]", "[custom_net:Custom]"),
        ("[bu]", "[bu, td]"),
        ("[tiny_sets:blobs]", "[{name: 'tiny_sets:blobs', image_size: 16}]"),
    )
    Path("custom_net.py").write_text(CUSTOM, encoding="utf-8")
    assert main(["run", str(suite)]) == 0
    page = Path("runs/tiny/leaderboard.md").read_text(encoding="utf-8")
    assert "| Custom | bu |" in page
    assert "| Custom | td |" in page


def test_a_module_with_one_resolution_is_refused_before_anything_is_trained(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tiny(("[bu]", "[bu, td]"))
    assert main(["run", str(suite)]) == 2
    err = capsys.readouterr().err
    said = "blobs/linear/td: backbone 'tiny_nets:linear' (td): one resolution only, nothing to "
    assert err.count("\n") == 1
    assert f"backbones[0]: {said}invert; for bu alone, give it `variants: [bu]`" in err
    assert not Path("runs/tiny/leaderboard.md").exists()
    alone = tiny(("[tiny_nets:linear]", "[{name: 'tiny_nets:linear', variants: [bu]}]"))
    assert main(["run", str(alone)]) == 0


SHARED = """
from torch import nn


class Net(nn.Module):
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.stem = nn.Conv2d(in_chans, 4, 3, 1, 1)
        self.down = nn.Conv2d(4, 4, 3, 2, 1)
        self.again = nn.Conv2d(4, 4, 3, 1, 1)
        self.coarse = nn.Conv2d(4, 8, 3, 2, 1)
        self.last = nn.Conv2d(8, 8, 3, 1, 1)
        self.alias = self.last
        self.dense = nn.Linear(8, num_classes)

    def forward(self, x):
        x = self.again(self.again(self.down(self.stem(x))))
        return self.dense(self.alias(self.last(self.coarse(x))).mean((2, 3)))
"""


def test_weights_that_are_used_twice_are_trained_and_kept(tiny: Tiny) -> None:
    suite = tiny(("[tiny_nets:linear]", "['shared_net:Net']"), ("[bu]", "[bu, td, td_uni]"))
    Path("shared_net.py").write_text(SHARED, encoding="utf-8")
    assert main(["run", str(suite)]) == 0


UNUSED = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.dense = nn.Linear(144 * in_chans, num_classes)
        self.extra = nn.Linear(20, 50)
        self.frozen = nn.Linear(20, 50).requires_grad_(False)

    def forward(self, x):
        return self.dense(x.flatten(1))
"""


def test_parameters_that_are_not_used_are_told(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tiny(("[tiny_nets:linear]", "['unused_net:Net', 'tiny_nets:linear']"))
    Path("unused_net.py").write_text(UNUSED, encoding="utf-8")
    said = (
        "note: blobs/Net/bu: not used in the forward pass: 2 parameters "
        "(extra.weight, extra.bias) of together 1,050 values, "
        "which bu has and a top-down variant has not"
    )
    assert main(["run", str(suite), "--only", "*/train"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "not used" in line] == [said]


TIED = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.first = nn.Linear(144 * in_chans, 10)
        self.second = self.third = nn.Linear(10, 10)
        self.dense = nn.Linear(10, num_classes)

    def forward(self, x):
        return self.dense(self.third(self.second(self.first(x.flatten(1)))))
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_tied_weights_are_trained_kept_and_loaded(
    tiny: Tiny, capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    suite = tiny(("[tiny_nets:linear]", "['tied_net:Net', 'tiny_nets:linear']"))
    Path("tied_net.py").write_text(TIED, encoding="utf-8")
    assert main(["run", str(suite), "--only", "*/train", "--workers", workers]) == 0
    assert main(["run", str(suite), "--workers", workers]) == 0
    assert "failed" not in capsys.readouterr().out
    assert "| Net | bu |" in Path("runs/tiny/leaderboard.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["torchvision/mobilenet_v3_small"])
def test_models_of_libraries_run_in_both_directions(tiny: Tiny, name: str) -> None:
    suite = tiny(
        ("[tiny_nets:linear]", f"[{name}]"),
        ("[bu]", "[bu, td]"),
        ("[tiny_sets:blobs]", "[{name: 'tiny_sets:blobs', image_size: 32}]"),
        ("epochs: 2, batch_size: 20, lr: 0.05", "epochs: 1, batch_size: 20, lr: 0.005"),
        ("  - robustness: {attacks: [{name: gaussian_blur, epsilons: 20}], samples: 20}\n", ""),
    )
    assert main(["run", str(suite)]) == 0
    page = Path("runs/tiny/leaderboard.md").read_text(encoding="utf-8")
    assert f"| {name} | td |" in page


@pytest.mark.parametrize("name", ["torchvision/mobilenet_v3_small", "custom_net:Custom"])
def test_what_costs_far_more_needs_a_yes(
    name: str, tiny: Tiny, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "COST_LIMIT", 0.01)
    changes = [
        ("[tiny_nets:linear]", f"[{{name: '{name}', variants: [td]}}]"),
        ("[tiny_sets:blobs]", "[{name: 'tiny_sets:blobs', image_size: 32}]"),
        ("epochs: 2, batch_size: 20, lr: 0.05", "epochs: 1, batch_size: 20, lr: 0.005"),
    ]
    suite = tiny(*changes)
    Path("custom_net.py").write_text(CUSTOM, encoding="utf-8")
    assert main(["run", str(suite), "--only", "*/train"]) == 2
    said = capsys.readouterr().err
    assert (
        "times the activation memory of bu; if that is meant, give the backbone `allow_cost" in said
    )
    allowed = tiny(*changes, ("variants: [td]}", "variants: [td], allow_cost: true}"))
    assert main(["run", str(allowed), "--only", "*/train"]) == 0


def test_what_the_table_knows_to_be_dear_is_not_even_built(
    tiny: Tiny, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "timm/mobilenetv3_small_100"
    flops = support.find(name)["td_rev"].flops
    assert flops is not None
    assert flops > guard.COST_LIMIT
    monkeypatch.setattr(probe, "build_network", None)
    suite = tiny(
        ("[tiny_nets:linear]", f"[{{name: {name}, variants: [td_rev]}}]"),
        ("[tiny_sets:blobs]", "[{name: 'tiny_sets:blobs', image_size: 64}]"),
    )
    assert main(["run", str(suite)]) == 2
    assert f"costs {flops:.0f} times the FLOPs of bu; if that is meant" in capsys.readouterr().err


HEADS = '''
from torch import nn

class Heads(nn.Module):
    """Scales groups of 8 channels, and so runs on multiples of 8 only."""

    def __init__(self, width):
        super().__init__()
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x):
        n, c, h, w = x.shape
        return self.mix(x).reshape(n, c // 8, 8, h, w).relu().reshape(n, c, h, w)

def net(in_chans, num_classes):
    return nn.Sequential(
        nn.Conv2d(in_chans, 16, 3, padding=1), Heads(16),
        nn.Conv2d(16, 20, 3, stride=2, padding=1), nn.BatchNorm2d(20), nn.ReLU(),
        nn.Conv2d(20, 32, 3, stride=2, padding=1), Heads(32),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, num_classes),
    )
'''


def test_widths_that_were_not_achieved_are_told(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stage that cannot have 20 channels gets the nearest number that it can have."""
    suite = tiny(("[tiny_nets:linear]", "['heads_net:net']"), ("[bu]", "[td_uni]"))
    Path("heads_net.py").write_text(HEADS, encoding="utf-8")
    assert main(["run", str(suite), "--only", "*/train"]) == 0
    said = "note: blobs/net/td_uni: not every stage has the wanted width in channels: "
    (line,) = (row for row in capsys.readouterr().out.splitlines() if row.startswith(said))
    stages = line.removeprefix(said).split(", ")
    assert {stage.split(" at ")[1] for stage in stages} == {"1/1", "1/4"}
    network = backbones.build("heads_net:net", "td_uni", 1, 4, {}, 12)
    missed = network.missed_widths
    assert set(missed) == {1, 4}
    assert all(wanted == 20 and got % 8 == 0 for wanted, got in missed.values())
    assert stages == [f"{got} for 20 at 1/{factor}" for factor, (_, got) in missed.items()]
    assert all(
        f"1/{f}: {got} channels for the wanted 20" in str(network) for f, (_, got) in missed.items()
    )


ENDINGS = """
from torch import nn

def body(in_chans):
    return [
        nn.Conv2d(in_chans, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
    ]

def scores(in_chans, num_classes):
    return nn.Sequential(
        *body(in_chans), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, num_classes)
    )

def largest(in_chans, num_classes):
    return nn.Sequential(
        *body(in_chans), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(16, num_classes)
    )
"""


def test_a_head_that_is_another_is_told(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    """In the run and on its page, of that network alone."""
    suite = tiny(
        ("[tiny_nets:linear]", "['endings_net:scores', 'endings_net:largest']"),
        ("[bu]", "[bu, td]"),
        ("  - robustness: {attacks: [{name: gaussian_blur, epsilons: 20}], samples: 20}\n", ""),
    )
    Path("endings_net.py").write_text(ENDINGS, encoding="utf-8")
    said = (
        "blobs/scores/td: head: mean, dense; bu has AdaptiveAvgPool2d, flatten, dense, so the "
        "two differ in their heads, too"
    )
    assert main(["run", str(suite)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "head" in line and "note:" in line] == [f"note: {said}"]
    page = Path("runs/tiny/leaderboard.md").read_text(encoding="utf-8")
    assert page.count(said) == 1
    assert "largest/td: head" not in page


def test_an_attack_that_does_not_take_the_images_is_refused_before_training(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("colour_attack.py").write_text(
        "from bench.attacks.base import Attack\n"
        "ATTACK = Attack(lambda problem: problem.images, deterministic=True, channels=(3,))\n",
        encoding="utf-8",
    )
    suite = tiny(("{name: gaussian_blur, epsilons: 20}", "'colour_attack:ATTACK'"))
    assert main(["run", str(suite)]) == 2
    said = capsys.readouterr().err
    assert "blobs/robustness/ATTACK: 'colour_attack:ATTACK' takes images of 3 channels" in said
    assert not list(Path("runs").rglob("*.safetensors"))
