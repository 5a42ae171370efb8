"""All attacked images, batch by batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.attacks.evaluate import Attacked, Trial, attack_batch
from bench.errors import BenchError
from bench.measures import scales
from bench.measures.base import Context
from bench.measures.batches import Arrays, in_batches
from bench.models.predict import as_input
from bench.models.replay import Replays

# Of an approximate search, so many images are attacked by the exact one too.
CHECKED = 32
# The exact search may be better by rounding alone.
NOT_WORSE = 1 + 1e-5


def attack_all(
    context: Context,
    trial: Trial,
    images: Tensor,
    labels: Tensor,
    samples: NDArray[np.int64],
    batch_size: int,
) -> Arrays:
    """Attack images that are classified correctly.

    Args:
        context: network, device, and where finished batches are kept.
        trial: what they are attacked with.
        images: uint8 n x C x H x W.
        labels: int64 n.
        samples: number of each image in the test set.
        batch_size: to begin with.

    Returns:
        One row for each image: `l2`, `linf`, `l0`, `evaluations`, `repeat`, `lost`, `oversized`
        (not where a kept part is of before it was counted), `scales` (n x combinations), `robust`
        (n x strengths). One row for each batch: `identical` and
        `moved` (repeats), `batch_size`.

    Raises:
        BenchError: the attack does not take such images, or one image alone does not fit.
    """
    channels = trial.attack.channels
    if channels and images.shape[1] not in channels:
        wanted = " or ".join(map(str, channels))
        raise BenchError(
            f"attack '{trial.name}' takes images of {wanted} channels, not {images.shape[1]}"
        )
    replays = Replays(context.network, min(batch_size, len(images)), context.device)

    def attacked(rows: slice) -> Arrays:
        try:
            return _batch(context, trial, images[rows], labels[rows], samples[rows], replays)
        except Exception:
            replays.forget()  # memory may have run out, and a smaller batch comes next
            raise

    return in_batches(context, samples, batch_size, attacked)


def _batch(
    context: Context,
    trial: Trial,
    images: Tensor,
    labels: Tensor,
    samples: NDArray[np.int64],
    replays: Replays,
) -> Arrays:
    clean, truth = as_input(images, context.device), labels.to(context.device)
    done = attack_batch(context.network, trial, clean, truth, samples.tolist(), replays)
    by_scale = scales.correct(context.network, clean, done.images, truth)
    strengths = trial.attack.strengths(trial.options)
    robust = [done.robust[s] for s in strengths if s is not None]
    return {
        "l2": done.l2,
        "linf": done.linf,
        "l0": done.l0,
        "evaluations": done.evaluations,
        "repeat": done.repeat,
        "lost": done.lost,
        "oversized": done.oversized,
        "scales": by_scale,
        "robust": np.stack(robust, 1) if robust else np.zeros((len(images), 0), dtype=bool),
        "identical": done.identical[None],
        "moved": done.moved[None],
        "batch_size": np.array([len(images)]),
    }


def miss_rate(
    context: Context,
    trial: Trial,
    images: Tensor,
    labels: Tensor,
    samples: NDArray[np.int64],
    l2: NDArray[np.float64],
) -> float:
    """Of an approximate search: percent of some images for which the exact one finds a closer
    adversarial. Arguments are as for `attack_all`; `l2` is what the approximate search found."""
    chosen = np.linspace(0, len(images) - 1, min(CHECKED, len(images))).astype(int)
    picked = torch.from_numpy(chosen)
    exact = replace(trial, options={**trial.options, "search": "exact"})
    clean = as_input(images[picked], context.device)
    truth = labels[picked].to(context.device)
    found: Attacked = attack_batch(context.network, exact, clean, truth, samples[chosen].tolist())
    return 100.0 * float((found.l2 * NOT_WORSE < l2[chosen]).mean())
