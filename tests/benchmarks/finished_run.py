"""A finished run of many cells, planned from a suite and recorded by the store as `bench run` does.

Only the numbers are made up (drawn from a seed): nothing was trained.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bench.commands.run import claim
from bench.measures import base as measures
from bench.plan.cell import Cell, Plan
from bench.plan.check import read_suite
from bench.plan.expand import expand
from bench.run.unit import TRAIN_METRICS
from bench.store import provenance
from bench.store.database import Store
from bench.store.outcome import Outcome

VARIANTS = ("bu", "td", "td_uni", "td_rev")
ATTACKS = ("gaussian_blur", "contrast_reduction", "additive_gaussian", "additive_uniform",
           "salt_and_pepper", "spatial", "shifts", "single_pixel")  # fmt: skip
# A training, its accuracy and eight attacks: ten cells a network; and efficiency, once a variant.
SUITE = """\
name: large
seeds: {seeds}
datasets: [fashion-mnist-mini]
backbones: [{backbones}]
variants: [{variants}]
recipe: {{epochs: 2}}
measures:
  - accuracy
  - robustness: {{attacks: [{attacks}], samples: {images}}}
  - efficiency
"""
SCALES = ("high", "low", "high+low")


def plan_of(folder: Path, backbones: int, seeds: int, images: int) -> Plan:
    """backbones x 4 variants x (seeds x 10 + 1) cells; the suite is written to `folder`."""
    nets = [
        f"{{name: lenet_fc, label: net_{n:02d}, bn_eps: {n + 1}.0e-5}}" for n in range(backbones)
    ]
    text = SUITE.format(
        seeds=list(range(seeds)),
        backbones=", ".join(nets),
        variants=", ".join(VARIANTS),
        attacks=", ".join(ATTACKS),
        images=images,
    )
    path = folder / "large.yaml"
    path.write_text(text, encoding="utf-8")
    return expand(read_suite(str(path)))


def record(plan: Plan, folder: Path, images: int) -> None:
    """A run directory in which every cell of the plan is done."""
    store = Store.create_or_open(folder)
    claim(store, plan, "cpu", plan.cells)
    facts = {"suite_text": plan.text, "plugins": {}, "workers": 1, "notes": []}
    session = store.begin(provenance.collect(plan.suite, "cpu", **facts))
    random = np.random.default_rng(0)
    for cell in plan.cells:
        store.record(session, cell.identity, cell.name, _outcome(cell, random, images))
    store.end(session)
    store.close()


def _outcome(cell: Cell, random: np.random.Generator, images: int) -> Outcome:
    times = 1.7e9, 2.0, 2.0
    if cell.measure is None:
        found = {"train_loss": random.random(), "epochs": 2.0, "validation_top1": 80.0}
        weights = {"weight": torch.zeros(8)}
        return Outcome(*times, metrics=found, infos=TRAIN_METRICS, weights=weights)
    make = {"accuracy": _accuracy, "robustness": _robustness, "efficiency": _efficiency}
    metrics, arrays = make[cell.measure](cell, random, images)
    infos = measures.load(cell.measure).metrics
    return Outcome(*times, metrics=metrics, infos=infos, arrays=arrays)


Numbers = tuple[dict[str, float], dict[str, np.ndarray]]


def _accuracy(cell: Cell, random: np.random.Generator, images: int) -> Numbers:
    label = np.arange(1000) % 10
    prediction = np.where(random.random(1000) < 0.87, label, (label + 1) % 10)
    right = 100.0 * (prediction == label)
    found = {"top1": float(right.mean())}
    found |= {f"top1[class {c}]": float(right[label == c].mean()) for c in range(10)}
    return found, {"prediction": prediction, "label": label}


def _efficiency(cell: Cell, random: np.random.Generator, images: int) -> Numbers:
    speed = 9000 + 100 * random.standard_normal()
    found = {"parameters": 14452.0, "flops": 7.4e6, "train_memory": 5e7, "images_per_second": speed}
    return found, {}


def _robustness(cell: Cell, random: np.random.Generator, images: int) -> Numbers:
    variant = VARIANTS.index(cell.training.variant)
    l2 = (1 + 0.2 * variant) * random.lognormal(0, 0.6, images)
    draw = random.random(images)
    l2[draw < 0.15] = 0.0
    l2[draw > 0.98] = np.inf
    right = np.sort(l2[l2 > 0])
    found = {
        "median_l2": float(right[(len(right) - 1) // 2]),
        "success_rate": 100.0 * float(np.isfinite(right).mean()),
        "clean_top1": 100.0 * len(right) / images,
        "evaluations": 321.0,
        "attack_batch": 256.0,
        "repeats": 3.0,
    }
    clean = "lost_on_recheck", "identical_repeats", "randomised", "probabilities"
    found |= dict.fromkeys((*clean, "zero_gradient", "gradient_in_forward"), 0.0)
    if variant:
        found |= {f"perturbed_top1[{name}]": 100.0 * random.random() for name in SCALES}
    arrays = {
        "index": np.arange(images) * 2,
        "prediction": np.arange(images) % 10,
        "l2": l2,
        "linf": l2 / 10,
        "l0": np.where(np.isfinite(l2), 784.0 * (l2 > 0), np.inf),
        "evaluations": np.full(images, 321.0),
        "repeat": np.zeros(images, dtype=np.int64),
    }
    return found, arrays
