"""Code of others leaves no trace in what is done after it: in network, data and process."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main

Tiny = Callable[..., Path]

# Each leaves something behind that would change the numbers of later cells, or fail them.
MEASURES = '''
import os, random, sys, warnings
import numpy as np
import torch
from torch import nn

ONE = {"value": 1.0}

def embedding(context):
    """Of the last layer but one, as it is so often got at."""
    context.network.backbone[1] = nn.Identity()
    return {"value": float(context.network(torch.rand(2, 1, 12, 12)).mean())}

def activation(context):
    """A module without weights in the place of another."""
    context.network.backbone[0] = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Dropout(0.5))
    return ONE

def counted(context):
    """As libraries that count operations do."""
    context.network.backbone[1].register_buffer("total_ops", torch.zeros(1))
    return ONE

def hooked(context):
    context.network.backbone.register_forward_hook(lambda module, given, found: found * 0)
    return ONE

def patched(context):
    context.network.forward = lambda images: torch.zeros(len(images), 4)
    return ONE

def parametrized(context):
    nn.utils.parametrizations.spectral_norm(context.network.backbone[1])
    return ONE

def halved(context):
    context.network.half()
    return ONE

def emptied(context):
    context.network.backbone[1].weight = None
    return ONE

def erring(context):
    """Fails with its work half done."""
    context.network.backbone[1] = nn.Identity()
    raise RuntimeError("no such layer")

def black(context):
    context.dataset.test.images.fill_(0)
    return ONE

def one_class(context):
    context.dataset.test.labels.numpy()[:] = 0
    return ONE

def double(context):
    torch.set_default_dtype(torch.float64)
    return ONE

def no_gradients(context):
    torch.set_grad_enabled(False)
    return ONE

def threads(context):
    torch.set_num_threads(3)
    return ONE

def elsewhere(context):
    os.chdir("/")
    return ONE

def no_device(context):
    torch.set_default_device("meta")
    return ONE

def coarse(context):
    torch.set_float32_matmul_precision("medium")
    return ONE

def strict(context):
    np.seterr(all="raise")
    warnings.simplefilter("error")
    return ONE

def not_repeatable(context):
    torch.use_deterministic_algorithms(False)
    return ONE

def closing(context):
    sys.stdout.close()
    return ONE

def printing(context):
    sys.stdout = sys.stderr = open("mine.txt", "w")
    return ONE

def looks(context):
    """What it needs itself, and what is left to do it with."""
    return {
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "float32": torch.get_default_dtype() == torch.float32,
        "raises": np.geterr()["over"] == "raise",
        "filters": len(warnings.filters),
    }

def draws(context):
    return {"numpy": np.random.rand(), "python": random.random(), "torch": float(torch.rand(1))}
'''

ATTACKS = """
import os
import torch

def halving(problem):
    problem.model.half()
    return problem.images

def elsewhere(problem):
    os.chdir("/")
    return problem.images

def double(problem):
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(True)
    return problem.images
"""

NETWORK = (
    *("embedding", "activation", "counted", "hooked"),
    *("patched", "parametrized", "halved", "emptied"),
)
CHANGED_NETWORK = "the network was changed while it was measured"
CHANGED_DATA = "of dataset 'blobs' were changed while the network was measured"


def suite(tiny: Tiny, *first: str, seeds: str = "[0]", attack: str = "gaussian_blur") -> str:
    """The tiny suite of two networks, with measures that come before those of this project."""
    Path("leaving.py").write_text(MEASURES, encoding="utf-8")
    Path("attacking.py").write_text(ATTACKS, encoding="utf-8")
    names = "".join(f"  - 'leaving:{name}'\n" for name in first)
    path = tiny(
        ("  - accuracy\n", f"{names}  - accuracy\n"),
        ("seeds: [0]", f"seeds: {seeds}"),
        (
            "[tiny_nets:linear]",
            "[tiny_nets:linear, {name: tiny_nets:linear, label: second, side: 12}]",
        )
        if seeds == "[0]"
        else ("datasets", "datasets"),
        ("attacks: [", f"attacks: [{{name: '{attack}', label: own}}, "),
    )
    return str(path)


def found(run: str) -> tuple[dict[str, str], dict[tuple[str, ...], float]]:
    """What failed and why, and all numbers of the measures of this project."""
    with sqlite3.connect(Path(run) / "results.sqlite") as db:
        failed = dict(db.execute("SELECT name, error FROM cells WHERE status = 'failed'"))
        rows = db.execute("SELECT * FROM tidy").fetchall()
    ours = ("train", "accuracy", "robustness/gaussian_blur")
    return failed, {tuple(map(str, row[:6])): row[6] for row in rows if row[4] in ours}


def rows_of(run: str, *measures: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(Path(run) / "results.sqlite") as db:
        rows = db.execute("SELECT * FROM tidy").fetchall()
    return [row for row in rows if row[4] in measures]


def run_of(tiny: Tiny, *first: str, seeds: str = "[0]", attack: str = "gaussian_blur") -> str:
    """A run of that suite, in a folder apart from all others."""
    out = f"{'-'.join((attack[-9:], seeds[-2], *first))[:60]}/run"
    assert main(["run", suite(tiny, *first, seeds=seeds, attack=attack), "--out", out]) in (0, 1)
    return out


def test_what_is_done_to_network_or_data_fails_that_cell_alone(tiny: Tiny) -> None:
    undisturbed = found(run_of(tiny))
    said = dict.fromkeys(NETWORK, CHANGED_NETWORK) | {
        "erring": "no such layer",
        "black": f"test images {CHANGED_DATA}",
        "one_class": f"test labels {CHANGED_DATA}",
    }
    failed, numbers = found(run_of(tiny, *said))
    nets = ("linear", "second")
    assert set(failed) == {f"blobs/{net}/bu/seed0/{name}" for net in nets for name in said}
    for name, error in failed.items():
        assert said[name.rpartition("/")[2]] in error, name
    assert ({}, numbers) == undisturbed


def test_settings_of_the_process_are_put_back(tiny: Tiny) -> None:
    undisturbed = found(run_of(tiny))
    looked = rows_of(run_of(tiny, "looks", "draws"), "looks", "draws")
    for measure in ("elsewhere", "double", "no_gradients", "no_device"):
        assert found(run_of(tiny, measure)) == undisturbed, measure
    out = run_of(tiny, *("threads", "coarse", "strict", "not_repeatable"), "looks", "draws")
    assert found(out) == undisturbed
    assert rows_of(out, "looks", "draws") == looked


@pytest.mark.parametrize("measure", ["closing", "printing"])
def test_the_run_still_tells_what_it_does(tiny: Tiny, measure: str) -> None:
    # A run of its own, whose streams may be closed for good.
    command = [sys.executable, "-m", "bench", "run", suite(tiny, measure), "--out", "run"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    told = ended.stdout if measure == "printing" else ended.stderr
    assert told.splitlines()[-1].endswith("run/leaderboard.md")
    assert "blobs/linear/bu/seed0/accuracy " in told


def test_random_numbers_of_a_measure_follow_the_seed(tiny: Tiny) -> None:
    both = rows_of(run_of(tiny, "draws", seeds="[0, 1]"), "draws")
    one = rows_of(run_of(tiny, "draws", seeds="[1]"), "draws")
    assert len(one) == 3
    assert one == [row for row in both if row[3] == 1]


@pytest.mark.parametrize("attack", ["halving", "elsewhere", "double"])
def test_an_attack_leaves_network_and_process_as_they_were(tiny: Tiny, attack: str) -> None:
    undisturbed = found(run_of(tiny))
    assert found(run_of(tiny, attack=f"attacking:{attack}")) == undisturbed


def test_what_a_module_does_as_it_is_imported_is_undone(tiny: Tiny) -> None:
    undisturbed = found(run_of(tiny))
    path = suite(tiny, "looks")
    setting = "torch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)\n"
    module = Path("leaving.py").read_text(encoding="utf-8") + setting
    Path("leaving.py").write_text(module, encoding="utf-8")
    assert main(["run", path, "--out", "imported/run"]) == 0
    assert found("imported/run") == undisturbed
