"""Robustness: per image the smallest L2 perturbation that fools the network, one cell per attack.

Section 4.2 of the paper: every attack is repeated and the smallest perturbation kept. An image
that is misclassified already counts with L2 = 0, one that no attack fools with infinity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bench.attacks import base as attacks
from bench.errors import BenchError
from bench.measures.base import Context, Found, Item, Measure
from bench.suite.recipe import Whole
from bench.suite.schema import AttackRef
from leaderboard.results import MetricInfo

if TYPE_CHECKING:
    from torch import Tensor


class Options(BaseModel):
    """Options of the measure in a suite.

    `samples` images, class-balanced and drawn with `subset_seed`, are the same for every network;
    0 means all. `repeats` counts for attacks with randomness only. `batch_size` bounds memory.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    attacks: Annotated[tuple[AttackRef, ...], Field(min_length=1)]
    samples: Annotated[Whole, Field(ge=0)] = 1000
    repeats: Annotated[Whole, Field(ge=1)] = 3
    subset_seed: Annotated[Whole, Field(ge=0, lt=2**31)] = 0
    batch_size: Annotated[Whole, Field(ge=1)] = 256


@dataclass(frozen=True, slots=True)
class Task:
    """One attack with everything it needs; small enough to travel to a worker."""

    attack: AttackRef
    samples: int
    repeats: int
    subset_seed: int
    batch_size: int


def items(options: Options) -> list[Item]:
    """One cell per attack; the batch size is not in the key, for results do not depend on it."""
    found = []
    for ref in options.attacks:
        attack = attacks.load(ref.name)
        repeats = 1 if attack.deterministic else options.repeats
        key = {
            "attack": attacks.key(ref.name, ref.options),
            "samples": options.samples,
            "subset_seed": options.subset_seed,
            "repeats": repeats,
        }
        task = Task(ref, options.samples, repeats, options.subset_seed, options.batch_size)
        found.append(Item(ref.label, key, task))
    return found


def run(context: Context) -> Found:
    """Attack the subset; return metrics and per-sample `l2`, `prediction`, `evaluations`, `index`.

    Raises:
        BenchError: no test labels, or not one attacked image is classified correctly.
    """
    import torch

    from bench.models.predict import as_input, predictions

    task: Task = context.options
    test = context.dataset.test
    if test.labels is None:
        raise BenchError(f"{context.dataset.name}: has no test labels to attack against")
    index = balanced_subset(test.labels.numpy(), task.samples, task.subset_seed)
    chosen = torch.from_numpy(index)
    labels, images = test.labels[chosen], test.images[chosen]
    predicted = predictions(context.network, images, context.device)
    l2 = np.zeros(len(index))
    evaluations = np.ones(len(index), dtype=np.int64)
    lost = 0
    right = np.flatnonzero((predicted == labels).numpy())
    if len(right) == 0:
        raise BenchError("not one of the attacked images is classified correctly")
    batches = [right[i : i + task.batch_size] for i in range(0, len(right), task.batch_size)]
    for number, batch in enumerate(batches):
        clean = as_input(images[torch.from_numpy(batch)], context.device)
        truth = labels[torch.from_numpy(batch)].to(context.device)
        best, spent, dropped = _attack_batch(context, clean, truth, index[batch])
        l2[batch], lost = best, lost + dropped
        evaluations[batch] += spent
        context.progress((number + 1) / len(batches))
    metrics = _summary(l2[right], evaluations, len(index), lost)
    arrays: dict[str, NDArray[Any]] = {
        "l2": l2,
        "prediction": predicted.numpy(),
        "evaluations": evaluations,
        "index": index,
    }
    return Found(metrics, arrays)


def _attack_batch(
    context: Context, images: Tensor, labels: Tensor, index: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Best of the repeats by L2; also evaluations spent and adversarials lost on re-checking."""
    import torch

    task: Task = context.options
    attack = attacks.load(task.attack.name)
    options = attack.options(task.attack.options)
    best = np.full(len(images), np.inf)
    spent = np.zeros(len(images), dtype=np.int64)
    lost = 0
    for repeat in range(task.repeats):
        streams = [attacks.stream(context.seed, task.attack.name, repeat, int(i)) for i in index]
        problem = attacks.Problem(images, labels, context.network, streams)
        with torch.no_grad():
            found = attack.run(problem, **options).clamp(0, 1)
        distance = (found - images).double().flatten(1).norm(dim=1)
        moved = distance > 0  # an attack that found nothing returns the image itself
        fooled = _fresh_check(context, found, labels) & moved
        lost += int((moved & ~fooled).sum())
        distance[~fooled] = torch.inf
        best = np.minimum(best, distance.cpu().numpy())
        spent += problem.evaluations
    return best, spent, lost


def _fresh_check(context: Context, candidates: Tensor, labels: Tensor) -> Tensor:
    """Predict again in batches of another size: only what fools the network here counts."""
    import torch

    size = max(1, len(candidates) // 2 + 1)
    with torch.no_grad():
        parts = [
            context.network(candidates[i : i + size]).argmax(1)
            for i in range(0, len(candidates), size)
        ]
    return torch.cat(parts) != labels


def _summary(
    l2: NDArray[np.float64], evaluations: NDArray[np.int64], total: int, lost: int
) -> dict[str, float]:
    """Scalar metrics; `l2` holds the images that were classified correctly."""
    found = np.isfinite(l2)
    return {
        "median_l2": float(np.sort(l2)[(len(l2) - 1) // 2]),  # the lower median: inf stays exact
        "success_rate": 100.0 * float(found.mean()),
        "clean_top1": 100.0 * len(l2) / total,
        "evaluations": float(evaluations.mean()),
        "lost_on_recheck": float(lost),
    }


def balanced_subset(labels: NDArray[np.int64], samples: int, seed: int) -> NDArray[np.int64]:
    """Indices (sorted, int64) of `samples` images with class counts that differ by at most one.

    Classes that run out give their share to the others; 0 or more than there are: all images.
    """
    if samples == 0 or samples >= len(labels):
        return np.arange(len(labels), dtype=np.int64)
    random = np.random.default_rng([seed, 0x5AB5E7])
    shuffled = random.permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sorted_labels = labels[order]
    first = np.searchsorted(sorted_labels, sorted_labels)
    rank = np.arange(len(labels)) - first  # the how-maniest of its class
    # Deal the classes in turn, in an order of its own, until there are enough.
    classes = random.permutation(int(labels.max()) + 1)
    dealt = np.lexsort((classes[sorted_labels], rank))
    return np.sort(order[dealt[:samples]]).astype(np.int64)


def forwards(task: Task, test_samples: int) -> float:
    """About how many predictions one cell spends."""
    images = min(task.samples or test_samples, test_samples)
    return float(images * task.repeats * attacks.load(task.attack.name).typical)


MEASURE = Measure(
    "robustness",
    run,
    forwards=forwards,
    options=Options,
    items=items,
    metrics={
        "median_l2": MetricInfo("median L2", "", "higher", decimals=2, headline=True),
        "success_rate": MetricInfo("attack success", "%", "lower", decimals=1),
        "clean_top1": MetricInfo("accuracy on the attacked images", "%", "higher", decimals=1),
        "evaluations": MetricInfo("model evaluations per image", "", "neither", decimals=0),
        "lost_on_recheck": MetricInfo("adversarials lost on re-check", "", "lower", decimals=0),
    },
)
