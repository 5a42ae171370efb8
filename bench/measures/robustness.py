"""Robustness: per image the smallest L2 perturbation that fools the network, one cell per attack.

Section 4.2 of the paper: every attack is repeated and the smallest perturbation kept. An image
that is misclassified already counts with L2 = 0, one that no attack fools with infinity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.attacks import base as attacks
from bench.data.subset import balanced_subset, test_images
from bench.errors import BenchError, did_you_mean
from bench.measures.base import Context, Found, Item, Measure
from bench.suite.recipe import Number, Whole
from bench.suite.schema import AttackRef
from leaderboard.results import MetricInfo

if TYPE_CHECKING:
    from bench.data.dataset import Dataset

PROTOCOLS = {
    "min-l2": "within an attack the candidate of smallest L2 is kept",
    "paper": "within an attack the candidate of smallest L-infinity is kept, as the authors did",
}


class Options(BaseModel):
    """Options of the measure in a suite.

    `samples` images, class-balanced and drawn with `subset_seed`, are the same for every network;
    0 means all. `repeats` counts for attacks with randomness only. `batch_size` bounds memory; it
    is halved where it does not fit. `limits` are the L2 sizes up to which attacks are summed up, by
    their labels or `dataset/label`; without one, the results of all networks together decide.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    attacks: Annotated[tuple[AttackRef, ...], Field(min_length=1)]
    protocol: Literal["min-l2", "paper"] = "min-l2"
    samples: Annotated[Whole, Field(ge=0)] = 1000
    repeats: Annotated[Whole, Field(ge=1)] = 3
    subset_seed: Annotated[Whole, Field(ge=0, lt=2**31)] = 0
    batch_size: Annotated[Whole, Field(ge=1)] = 256
    limits: dict[str, Annotated[Number, Field(gt=0)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _limits(self) -> Options:
        labels = [ref.label for ref in self.attacks]
        for key in self.limits:
            if dataset_of(key, labels) is None:
                label = key.rpartition("/")[2]
                near = did_you_mean(label, labels)
                raise ValueError(f"`limits`: '{label}' is none of the attacks here{near}")
        return self


def dataset_of(key: str, labels: Iterable[str]) -> str | None:
    """The data set that a key of `limits` names: empty for all, None if it names no attack.

    A label of an attack may hold a slash, so it is not simply what stands before the last one.
    """
    longest = sorted(labels, key=len, reverse=True)
    found = (label for label in longest if key == label or key.endswith(f"/{label}"))
    label = next(found, None)
    return None if label is None else key.removesuffix(label).removesuffix("/")


@dataclass(frozen=True, slots=True)
class Task:
    """One attack with everything it needs; small enough to travel to a worker."""

    attack: AttackRef
    protocol: Literal["min-l2", "paper"]
    samples: int
    repeats: int
    subset_seed: int
    batch_size: int


def items(options: Options) -> list[Item]:
    """One cell per attack. The batch size is in the key only where results depend on it."""
    found = []
    for ref in options.attacks:
        attack = attacks.load(ref.name)
        chosen = attack.options(ref.options)
        repeats = 1 if attack.is_deterministic(chosen) else options.repeats
        key: dict[str, Any] = {
            "attack": attacks.key(ref.name, ref.options),
            "protocol": options.protocol,
            "samples": options.samples,
            "subset_seed": options.subset_seed,
            "repeats": repeats,
        }
        if attack.depends_on_batch(chosen):
            key["batch_size"] = options.batch_size
        task = Task(
            ref,
            options.protocol,
            options.samples,
            repeats,
            options.subset_seed,
            options.batch_size,
        )
        found.append(Item(ref.label, key, task))
    return found


def note(options: Options) -> str:
    """How it was measured, in a sentence."""
    return (
        f"Robustness, protocol {options.protocol}: {PROTOCOLS[options.protocol]}; the best of "
        f"{options.repeats} repeats by L2 (1 for deterministic attacks) on "
        f"{test_images(options.samples)}; every adversarial is predicted again in another batch."
    )


def refusal(task: Task, dataset: Dataset) -> str:
    """Why an attack cannot run on a data set."""
    attack = attacks.load(task.attack.name)
    if dataset.num_classes < attack.classes:
        needed = f"'{task.attack.name}' needs {attack.classes} classes or more"
        return f"{needed}, not {dataset.num_classes}"
    if attack.channels and dataset.channels not in attack.channels:
        wanted = " or ".join(map(str, attack.channels))
        return f"'{task.attack.name}' takes images of {wanted} channels, not {dataset.channels}"
    return ""


def run(context: Context) -> Found:
    """Attack the subset; return metrics, and per sample the arrays below.

    Arrays: `index` (number in the test set), `prediction` of the clean image, `l2`, `linf`, `l0`
    of the closest adversarial (0 where the clean image is misclassified, inf where none was
    found), `evaluations`, `repeat` that found it (-1: none); for attacks of fixed strength
    `robust`, whether the image was classified correctly at each of them.

    Raises:
        BenchError: no test labels, or not one attacked image is classified correctly.
    """
    import torch

    from bench.attacks.evaluate import NORMS, Trial
    from bench.measures import attack_batches, clean, scales
    from bench.measures.health import symptoms

    task: Task = context.options
    test = context.dataset.test
    if test.labels is None:
        raise BenchError(f"{context.dataset.name}: has no test labels to attack against")
    index = balanced_subset(test.labels.numpy(), task.samples, task.subset_seed)
    chosen = torch.from_numpy(index)
    labels, images = test.labels[chosen], test.images_at(chosen)
    predicted = clean.predictions(context, index)
    correct = predicted == labels
    if not correct.any():
        raise BenchError("not one of the attacked images is classified correctly")
    right = correct.numpy()
    attack = attacks.load(task.attack.name)
    options = attack.options(task.attack.options)
    trial = Trial(task.attack.name, attack, options, context.seed, task.repeats, task.protocol)
    attacked = images[correct], labels[correct], index[right]
    done = attack_batches.attack_all(context, trial, *attacked, task.batch_size)
    signs = clean.once(
        context,
        f"symptoms of {clean.name_of(index)}",
        lambda: symptoms(context.network, images, labels, context.device),
    )
    metrics = _summary(done, right) | signs
    for name, column in zip(scales.names(context.network), done["scales"].T, strict=True):
        metrics[f"perturbed_top1[{name}]"] = 100.0 * float(column.sum()) / len(right)
    strengths = attack.strengths(options) if attack.strength else ()
    for strength, column in zip(strengths, done["robust"].T, strict=True):
        metrics[f"robust_top1[{strength:g}]"] = 100.0 * float(column.sum()) / len(right)
    if attack.strength and attack.norm_with(options) in NORMS and "oversized" in done:
        metrics["oversized"] = float(done["oversized"].sum())
    if options.get("search") == "fast":
        metrics["miss_rate"] = attack_batches.miss_rate(context, trial, *attacked, done["l2"])
    return Found(metrics, _arrays(done, right, predicted.numpy(), index))


def _arrays(
    done: Mapping[str, NDArray[Any]],
    right: NDArray[np.bool_],
    predicted: NDArray[np.int64],
    index: NDArray[np.int64],
) -> dict[str, NDArray[Any]]:
    """One row for each image of the subset; those misclassified when clean were left alone."""
    arrays: dict[str, NDArray[Any]] = {"index": index, "prediction": predicted}
    for name in ("l2", "linf", "l0"):
        arrays[name] = np.zeros(len(index))
        arrays[name][right] = done[name]
    arrays["evaluations"] = np.ones(len(index))  # the clean image is predicted once
    arrays["evaluations"][right] += done["evaluations"]
    arrays["repeat"] = np.full(len(index), -1)
    arrays["repeat"][right] = done["repeat"]
    if done["robust"].shape[1]:
        arrays["robust"] = np.zeros((len(index), done["robust"].shape[1]), dtype=bool)
        arrays["robust"][right] = done["robust"]
    return arrays


def _summary(done: Mapping[str, NDArray[Any]], right: NDArray[np.bool_]) -> dict[str, float]:
    """Scalar metrics; `done` holds the images that were classified correctly."""
    l2 = done["l2"]
    repeats = done["identical"].shape[1]
    # A repeat that did the very same as an earlier one, in every batch it moved something in.
    same = done["identical"].any(0) & (done["identical"] == done["moved"]).all(0)
    return {
        "median_l2": float(np.sort(l2)[(len(l2) - 1) // 2]),  # the lower median: inf stays exact
        "success_rate": 100.0 * float(np.isfinite(l2).mean()),
        "clean_top1": 100.0 * len(l2) / len(right),
        "evaluations": 1.0 + float(done["evaluations"].sum()) / len(right),
        "lost_on_recheck": float(done["lost"].sum()),
        "repeats": float(repeats - same.sum()),
        "identical_repeats": float(same.sum()),
        "attack_batch": float(done["batch_size"].max()),
    }


def forwards(task: Task, test_samples: int) -> float:
    """About how many predictions one cell spends."""
    images = min(task.samples or test_samples, test_samples)
    attack = attacks.load(task.attack.name)
    options = attack.options(task.attack.options)
    strengths = len(attack.strengths(options))
    return float(images * task.repeats * strengths * attack.spends(options))


METRICS = {
    "median_l2": MetricInfo("median L2", "", "higher", decimals=2, headline=True),
    "success_rate": MetricInfo("attack success", "%", "lower", decimals=1),
    "clean_top1": MetricInfo("accuracy on the attacked images", "%", "higher", decimals=1),
    "evaluations": MetricInfo("model evaluations per image", "", "neither", decimals=0),
    "lost_on_recheck": MetricInfo("adversarials lost on re-check", "", "lower", decimals=0),
    "repeats": MetricInfo("repeats that count", "", "neither", decimals=0),
    "identical_repeats": MetricInfo("bit-identical repeats", "", "lower", decimals=0),
    "attack_batch": MetricInfo("images attacked at once", "", "neither", decimals=0),
    "oversized": MetricInfo("adversarials larger than asked for", "", "lower", decimals=0),
    "miss_rate": MetricInfo("missed by the approximate search", "%", "lower", decimals=1),
    "perturbed_top1": MetricInfo("accuracy, scales perturbed", "%", "higher", decimals=1),
    "robust_top1": MetricInfo("accuracy at a strength", "%", "higher", decimals=1),
    "randomised": MetricInfo("predictions that change", "%", "lower", decimals=1),
    "probabilities": MetricInfo("outputs are probabilities", "", "lower", decimals=0),
    "zero_gradient": MetricInfo("images without gradient", "%", "lower", decimals=1),
    "gradient_in_forward": MetricInfo("gradients inside forward", "", "lower", decimals=0),
}

MEASURE = Measure(
    "robustness",
    run,
    version=2,
    forwards=forwards,
    options=Options,
    items=items,
    metrics=METRICS,
    note=note,
    refusal=refusal,
)
