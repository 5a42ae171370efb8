"""Backbones that nobody prepared for it, bottom-up and top-down in one suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main

Tiny = Callable[..., Path]

CUSTOM = '''
from torch import nn

class Custom(nn.Module):
    """A small network with two strided convolutions, and not a word about inversion."""

    def __init__(self, in_chans, num_classes, width=8):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_chans, width, 3, padding=1), nn.ReLU())
        self.down1 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.body1 = nn.Sequential(nn.BatchNorm2d(2 * width), nn.ReLU())
        self.down2 = nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1)
        self.body2 = nn.Sequential(nn.BatchNorm2d(4 * width), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(4 * width, num_classes)

    def forward(self, x):
        x = self.body1(self.down1(self.stem(x)))
        x = self.body2(self.down2(x))
        return self.head(self.pool(x).flatten(1))
'''


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


def test_a_module_with_one_resolution_is_a_failed_cell_with_the_reason(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(tiny(("[bu]", "[bu, td]")))]) == 1
    assert "nothing to invert" in capsys.readouterr().err


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


def test_what_costs_far_more_needs_a_yes(
    tiny: Tiny, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.run import preflight

    monkeypatch.setattr(preflight, "COST_LIMIT", 0.01)
    dear = "{name: torchvision/mobilenet_v3_small, variants: [td]}"
    changes = [
        ("[tiny_nets:linear]", f"[{dear}]"),
        ("[tiny_sets:blobs]", "[{name: 'tiny_sets:blobs', image_size: 32}]"),
        ("epochs: 2, batch_size: 20, lr: 0.05", "epochs: 1, batch_size: 20, lr: 0.005"),
    ]
    assert main(["run", str(tiny(*changes)), "--only", "*/train"]) == 2
    assert "if that is meant, give the backbone `allow_cost: true`" in capsys.readouterr().err
    allowed = tiny(*changes, ("variants: [td]}", "variants: [td], allow_cost: true}"))
    assert main(["run", str(allowed), "--only", "*/train"]) == 0
