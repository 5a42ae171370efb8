"""A network that is loaded from the weights of its training is the one that was trained."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main

Tiny = Callable[..., Path]

NETS = '''
import torch
from torch import nn

class Fixed(nn.Module):
    """Features that are drawn when it is built, and stand in no buffer."""
    def __init__(self, channels, classes):
        super().__init__()
        self.drawn = torch.randn(channels * 144, 64) / 12
        self.head = nn.Linear(64, classes)
    def forward(self, images):
        return self.head((images.flatten(1) @ self.drawn).relu())

class Mean(nn.Module):
    """Keeps a running mean of its logits; whether with the weights is the question."""
    def __init__(self, channels, classes, persistent=False):
        super().__init__()
        self.head = nn.Linear(channels * 144, classes)
        self.register_buffer("mean", torch.zeros(classes), persistent=persistent)
    def forward(self, images):
        logits = self.head(images.flatten(1))
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(logits.mean(0), 0.1)
        return logits - self.mean

class Counting(nn.Module):
    """Counts its steps in an attribute, and answers otherwise once there were some if `used`."""
    def __init__(self, channels, classes, used=True):
        super().__init__()
        self.head, self.steps, self.used = nn.Linear(channels * 144, classes), 0, used
    def forward(self, images):
        self.steps += self.training
        logits = self.head(images.flatten(1))
        return logits.flip(1) if self.used and self.steps else logits

class Dice(nn.Module):
    """Drops out when it predicts, too."""
    def __init__(self, channels, classes):
        super().__init__()
        self.head = nn.Linear(channels * 144, classes)
    def forward(self, images):
        return self.head(nn.functional.dropout(images.flatten(1), 0.5, training=True))
'''


def suite_of(tiny: Tiny, backbone: str) -> Path:
    suite = tiny(("[tiny_nets:linear]", f"[{backbone}]"))
    Path("more_nets.py").write_text(NETS, encoding="utf-8")
    return suite


def accuracies(folder: str) -> list[float]:
    with sqlite3.connect(f"{folder}/results.sqlite") as db:
        rows = db.execute("SELECT value FROM tidy WHERE metric = 'top1'").fetchall()
    return [value for (value,) in rows]


@pytest.mark.parametrize(
    "backbone",
    [
        "'more_nets:Fixed'",
        "{name: 'more_nets:Mean', persistent: true}",
        "{name: 'more_nets:Counting', used: false}",
        "'more_nets:Dice'",
    ],
)
def test_a_later_session_measures_what_was_trained(tiny: Tiny, backbone: str) -> None:
    suite = str(suite_of(tiny, backbone))
    assert main(["run", suite, "--only", "*/accuracy", "--out", "one/run"]) == 0
    assert main(["run", suite, "--only", "*/train", "--out", "two/run"]) == 0
    assert main(["run", suite, "--only", "*/accuracy", "--out", "two/run"]) == 0
    assert accuracies("one/run") == accuracies("two/run") != []


@pytest.mark.parametrize("backbone", ["Mean", "Counting"])
def test_what_is_lost_with_the_weights_is_told(
    tiny: Tiny, capsys: pytest.CaptureFixture[str], backbone: str
) -> None:
    suite = str(suite_of(tiny, f"'more_nets:{backbone}'"))
    assert main(["run", suite, "--only", "*/accuracy"]) == 1
    said = capsys.readouterr().err
    line = "predicts otherwise once its weights are saved and loaded again"
    assert f"blobs/{backbone}/bu/seed0/train: the network {line}" in said
    assert "register_buffer" in said
    assert ("mean" in said) == (backbone == "Mean"), "the buffer has a name"
