"""Backbones of one's own that cannot be built or do not run: refused in a line each, before
anything is trained."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bench.cli import main

Tiny = Callable[..., Path]
Out = pytest.CaptureFixture[str]

BAD = r'''
"""Networks that are wrong, each in its own way; every call of a factory leaves a line in a file."""
import sys
from torch import nn
from tiny_nets import linear

def _built(name):
    with open("built.txt", "a") as stream:
        stream.write(name + "\n")

def good(in_chans, num_classes):
    _built("good")
    return linear(in_chans, num_classes)

def constructor(in_chans, num_classes):
    _built("constructor")
    raise ValueError("cannot be made:\nfor this reason\n  and that")

def ends(in_chans, num_classes):
    sys.exit("no such thing\nat all")

class Forward(nn.Module):
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.net = linear(in_chans, num_classes)

    def forward(self, x):
        raise RuntimeError("shapes differ:\n  1 x 2\n  3 x 4")

class Few(nn.Module):
    """One logit too few."""
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.net = linear(in_chans, num_classes - 1)

    def forward(self, x):
        return self.net(x)

class Auxiliary(nn.Module):
    """As networks with auxiliary heads do: a tuple in training mode, else the logits alone."""
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.net = linear(in_chans, num_classes)

    def forward(self, x):
        return (self.net(x), self.net(x)) if self.training else self.net(x)

class Named(Auxiliary):
    """A tuple, or a mapping, at all times."""
    def forward(self, x):
        return {"logits": self.net(x)}
'''
SAID = {
    "constructor": "cannot be built: ValueError: cannot be made:",
    "ends": "SystemExit: no such thing",
    "Forward": "shapes differ:",
    "Few": "logits",
}
PLAIN = "tiny_nets:linear"


@pytest.fixture
def suite(tiny: Tiny) -> Tiny:
    """A suite of backbones, the first of which is fine, and of variants of the others."""

    def write(names: list[str], variants: str, *changes: tuple[str, str]) -> Path:
        others = "".join(f", {{name: 'bad_nets:{one}', variants: {variants}}}" for one in names)
        path = tiny((f"[{PLAIN}]", f"['{PLAIN}'{others}]"), *changes)
        path.with_name("bad_nets.py").write_text(BAD, encoding="utf-8")
        return path

    return write


def refused(words: list[str], capsys: Out) -> list[str]:
    """The lines of an error of the user's, with nothing done."""
    capsys.readouterr()
    assert main(words) == 2
    done = Path("runs/tiny/results.sqlite")
    if done.exists():
        with sqlite3.connect(done) as db:
            assert db.execute("SELECT name FROM cells").fetchall() == []
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("variant", ["bu", "td"])
def test_each_is_one_line_before_anything_is_trained(
    variant: str, suite: Tiny, capsys: Out
) -> None:
    lines = refused(["run", str(suite([*SAID], f"[{variant}]"))], capsys)
    assert len(lines) == len(SAID)
    for number, ((name, said), line) in enumerate(zip(SAID.items(), lines, strict=True), 1):
        assert f"backbones[{number}]: blobs/{name}/{variant}: " in line
        assert said in line
        assert "variants: [bu]" not in line, "that would not help"


def test_bu_and_td_of_one_network_are_both_told(suite: Tiny, capsys: Out) -> None:
    lines = refused(["run", str(suite(["Forward"], "[bu, td]"))], capsys)
    assert [line.partition(": blobs/")[2].partition(":")[0] for line in lines] == [
        "Forward/bu",
        "Forward/td",
    ]


def test_a_line_of_ones_own_code_is_named(suite: Tiny, capsys: Out) -> None:
    number = 1 + BAD.splitlines().index(
        "        raise RuntimeError(" + r'"shapes differ:\n  1 x 2\n  3 x 4")'
    )
    (line,) = refused(["run", str(suite(["Forward"], "[bu]"))], capsys)
    assert line.endswith(
        "backbone 'bad_nets:Forward' (bu): the model itself fails on an image: "
        f"RuntimeError: shapes differ: (bad_nets.py:{number})"
    )


def test_what_a_backbone_returns_beside_logits_is_told(suite: Tiny, capsys: Out) -> None:
    (line,) = refused(["run", str(suite(["Named"], "[bu]"))], capsys)
    assert line.endswith(
        "backbones[1]: blobs/Named/bu: the backbone returns a dict of 1, not a tensor of logits; "
        "have its forward return the logits alone"
    )


def test_auxiliary_heads_are_told_by_the_training(suite: Tiny, capsys: Out) -> None:
    """None is tried in training mode before: what dies there takes its own process along only."""
    assert main(["run", str(suite(["Auxiliary"], "[bu]"))]) == 1
    said = capsys.readouterr()
    assert (
        "blobs/Auxiliary/bu/seed0/train: the backbone returns a tuple of 2 in training mode, not a "
        "tensor of logits; have its forward return the logits alone there too"
    ) in said.out + said.err


def test_weights_need_no_logits_in_training_mode(suite: Tiny) -> None:
    """What is only measured is never in training mode."""
    torch.manual_seed(0)
    path = suite(["Auxiliary"], "[bu]")
    state = {f"net.1.{key}": tensor for key, tensor in nn.Linear(144, 4).state_dict().items()}
    save_file(state, path.with_name("w.safetensors"))
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace("bad_nets:Auxiliary'", "bad_nets:Auxiliary', weights: w.safetensors")
    )
    assert main(["run", str(path), "--only", "*/Auxiliary/*"]) == 0


TWICE = ("[tiny_sets:blobs]", "[tiny_sets:blobs, {name: 'tiny_sets:blobs', label: again}]")
SEEDS = ("seeds: [0]", "seeds: [0, 1]")


def test_each_is_tried_once_for_a_shape_of_images(suite: Tiny, capsys: Out) -> None:
    path = suite(["constructor"], "[bu]", TWICE, SEEDS)
    assert len(refused(["run", str(path)], capsys)) == 1
    assert Path("built.txt").read_text().split() == ["constructor"]
    Path("built.txt").unlink()
    assert (
        main(["run", str(suite(["good"], "[bu]", TWICE, SEEDS)), "--only", "*/good/*/train"]) == 0
    )
    assert Path("built.txt").read_text().split() == 3 * ["good"]  # once more for each training


def test_what_is_not_asked_for_is_not_tried(suite: Tiny) -> None:
    path = suite(["constructor"], "[bu]")
    assert main(["run", str(path), "--only", "*/linear/*"]) == 0
    assert not Path("built.txt").exists()


@pytest.mark.parametrize("name", ["constructor", "Forward"])
def test_a_plan_says_it_too(name: str, suite: Tiny, capsys: Out) -> None:
    path = suite([name], "[td]", ("[tiny_sets:blobs]", "[fashion-mnist-mini]"))
    (line,) = refused(["plan", str(path), "--only", f"*/{name}/*"], capsys)
    assert f"fashion-mnist-mini/{name}/td: " in line
    assert SAID[name] in line
    assert "variants: [bu]" not in line
