"""One batch under one attack: repeats, a fresh check of every claim, and the best that holds.

Section 4.2 of the paper: every attack is repeated and the smallest perturbation by L2 is kept.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.attacks.base import Attack
from bench.attacks.isolation import untouched
from bench.attacks.problem import Problem, Protocol
from bench.attacks.source import KeyedSource
from bench.errors import BenchError
from bench.foreign import contained
from bench.models.graph import Inputs
from bench.models.predict import PIECE, Logits, classes, in_pieces
from bench.models.replay import Replays

# By norm, its order.
NORMS = {"Linf": math.inf, "L2": 2.0, "L1": 1.0, "L0": 0.0}
# A norm may exceed the strength by so much: as a share of it, for each value of an image in [0, 1]
# that float32 rounds, and in any case.
_SLACK, _ROUNDING, _LEAST = 1 + 1e-5, 2.0**-23, 1e-6


@dataclass(frozen=True, slots=True)
class Trial:
    """How images are attacked: with what, how often, and kept by which distance."""

    name: str
    attack: Attack
    options: Mapping[str, Any]
    seed: int
    repeats: int
    protocol: Protocol


@dataclass(slots=True, eq=False)
class Attacked:
    """What came of n images, all classified correctly when clean.

    Attributes:
        images: n x C x H x W in [0, 1], the closest adversarial that holds on a fresh check, the
            clean image where there is none.
        l2: float64 n, its L2 distance; inf where there is none. `linf` and `l0` (number of changed
            values) are those of the same image.
        evaluations: float64 n, predictions spent in all repeats.
        repeat: int64 n, which repeat found it; -1 for none.
        lost: int64 n, adversarials of all repeats that did not hold on the fresh check, NaN among
            them.
        identical: bool repeats, whether a repeat moved something and was bit-identical to an
            earlier one.
        moved: bool repeats, whether a repeat moved anything at all.
        robust: by strength, for attacks that take one: bool n, whether the image withstood it.
            What is larger than the strength in the attack's norm does not count there.
        oversized: int64 n, such adversarials of all repeats and strengths. They are adversarials of
            their own size all the same, for `l2` and the others.
    """

    images: Tensor
    l2: NDArray[np.float64]
    linf: NDArray[np.float64]
    l0: NDArray[np.float64]
    evaluations: NDArray[np.float64]
    repeat: NDArray[np.int64]
    lost: NDArray[np.int64]
    identical: NDArray[np.bool_]
    moved: NDArray[np.bool_]
    oversized: NDArray[np.int64]
    robust: dict[float, NDArray[np.bool_]] = field(default_factory=dict)


def attack_batch(
    network: nn.Module,
    trial: Trial,
    images: Tensor,
    labels: Tensor,
    samples: Sequence[int],
    replays: Replays | None = None,
) -> Attacked:
    """Attack images that the network classifies correctly.

    Args:
        network: images in [0, 1] to logits; in eval mode; left as it was.
        trial: the attack and how it is repeated.
        images: float32 n x C x H x W in [0, 1], on the device to work on.
        labels: int64 n on that device.
        samples: number of each image in the test set; random numbers follow it.
        replays: of the same network, from the batches before.

    Raises:
        BenchError: the attack writes into the images of its problem, or returns something else than
            images of that shape, in real numbers.
    """
    count = len(images)
    result = Attacked(
        images.clone(),
        l2=np.full(count, np.inf),
        linf=np.full(count, np.inf),
        l0=np.full(count, np.inf),
        evaluations=np.zeros(count),
        repeat=np.full(count, -1),
        lost=np.zeros(count, dtype=np.int64),
        identical=np.zeros(trial.repeats, dtype=bool),
        moved=np.zeros(trial.repeats, dtype=bool),
        oversized=np.zeros(count, dtype=np.int64),
    )
    norm = trial.attack.norm_with(trial.options)
    earlier: list[Tensor] = []
    replays = replays or Replays(network, count, images.device)
    for repeat in range(trial.repeats):
        for strength in trial.attack.strengths(trial.options):
            found, spent = _run(network, trial, repeat, strength, images, labels, samples, replays)
            result.evaluations += spent
            held = _merge(network, result, repeat, found, images, labels)
            if strength is not None:
                fits = within(found - images, norm, strength).cpu().numpy()
                result.oversized += held & ~fits
                before = result.robust.get(strength, np.ones(count, dtype=bool))
                result.robust[strength] = before & ~(held & fits)
            earlier.append(found)
        _compare(result, repeat, earlier, images)
    return result


def within(changes: Tensor, norm: str, strength: float) -> Tensor:
    """Which changes have a norm of at most `strength`, but for float32's rounding.

    Args:
        changes: n x C x H x W, of images in [0, 1].
        norm: one of `NORMS`; in L0 pixels count, whatever the channels. Any other binds nothing.
        strength: the largest norm that is allowed.

    Returns:
        bool n.
    """
    if norm not in NORMS:
        return torch.ones(len(changes), dtype=torch.bool, device=changes.device)
    if norm == "L0":
        sizes, most = (changes != 0).any(1).flatten(1).sum(1), strength
    else:
        rows, order = changes.double().flatten(1), NORMS[norm]
        sizes = torch.linalg.vector_norm(rows, ord=order, dim=1)
        # Every value is rounded, and the norm adds that up: over n values, n times in L1.
        most = strength * _SLACK + max(_LEAST, _ROUNDING * rows.shape[1] ** (1 / order))
    small: Tensor = sizes <= most
    return small


def _run(
    network: nn.Module,
    trial: Trial,
    repeat: int,
    strength: float | None,
    images: Tensor,
    labels: Tensor,
    samples: Sequence[int],
    replays: Replays,
) -> tuple[Tensor, NDArray[np.float64]]:
    """One repeat: what the attack returned, and predictions spent on each image."""
    attack, device = trial.attack, images.device
    seed = seed_of(trial.seed, trial.name, repeat, samples[0])
    source = KeyedSource(trial.seed, trial.name, repeat, samples, device)
    problem = Problem(
        images.clone(),  # the attack's own: what it writes into them changes nothing here
        labels.clone(),
        logits=_asked(network, replays),
        source=source,
        protocol=trial.protocol,
        model=network,
        replays=replays,
        repeat=repeat,
        seed=seed,
    )
    with (
        contained(),
        untouched(network, seed, device),
        torch.set_grad_enabled(attack.access == "gradient"),
    ):
        found = attack.run(problem, **attack.arguments(trial.options, strength))
    # The distances of all that was offered would be those from what it made of the images.
    if not (torch.equal(problem.images, images) and torch.equal(problem.labels, labels)):
        raise BenchError(
            f"attack '{trial.name}' writes into problem.images or problem.labels; let it work on "
            "problem.images.clone()"
        )
    _check_returned(found, images, trial.name)
    broken = int(found.isnan().flatten(1).any(1).sum())
    if broken:
        warnings.warn(
            f"attack '{trial.name}' returned NaN for {broken} of {len(images)} images: it counts "
            "as not successful there",
            stacklevel=2,
        )
    return found.detach().to(images).clamp(0, 1), problem.evaluations


def _check_returned(found: object, images: Tensor, name: str) -> None:
    if not isinstance(found, Tensor):
        what = f"returned {type(found).__name__}, not a tensor of images (such as problem.best)"
    elif found.shape != images.shape:
        what = f"returned images {tuple(found.shape)} for {tuple(images.shape)}"
    elif not found.is_floating_point():  # levels of 255, all but 0 of which would be cut to white
        what = f"returned images of {found.dtype}; they must be real numbers in [0, 1]"
    else:
        return
    raise BenchError(f"attack '{name}' {what}")


def _asked(network: nn.Module, replays: Replays) -> Logits:
    """The network as searches ask it; where gradients are wanted, as it is."""
    pieces = in_pieces(network)

    def predict(images: Tensor, _: Inputs) -> Tensor:
        return pieces(images)

    def logits(images: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return pieces(images)
        return replays(predict, "logits", images)

    return logits


def seed_of(seed: int, attack: str, repeat: int, sample: int) -> int:
    """A seed (31 bits) for an attack that draws from generators of its own."""
    text = f"{seed}\n{repeat}\n{sample}\n{attack}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[8:12], "little") >> 1


def _merge(
    network: nn.Module,
    result: Attacked,
    repeat: int,
    found: Tensor,
    images: Tensor,
    labels: Tensor,
) -> NDArray[np.bool_]:
    """Take what holds and is closer by L2 into the result; return what holds."""
    difference = (found - images).flatten(1)
    l2 = difference.double().norm(dim=1)
    # An attack that found nothing returns the image itself. NaN is no perturbation, but is none of
    # the images either: it is lost like all that does not hold.
    moved = l2 != 0
    held = fooled_again(network, found, labels) & (l2 > 0)
    result.lost += (moved & ~held).long().cpu().numpy()
    closer = held.cpu().numpy() & (l2.cpu().numpy() < result.l2)
    chosen = torch.from_numpy(closer).to(images.device)
    result.images[chosen] = found[chosen]
    result.l2[closer] = l2[chosen].cpu().numpy()
    result.linf[closer] = difference[chosen].abs().amax(1).double().cpu().numpy()
    result.l0[closer] = (difference[chosen] != 0).sum(1).double().cpu().numpy()
    result.repeat[closer] = repeat
    kept: NDArray[np.bool_] = held.cpu().numpy()
    return kept


@torch.no_grad()
def fooled_again(network: nn.Module, candidates: Tensor, labels: Tensor) -> Tensor:
    """Predict again in batches of another size: only what fools the network here counts."""
    count = len(candidates)
    if count == 1:
        candidates = candidates.expand(2, -1, -1, -1)
    # Half and one more; but two are asked about one by one, and an odd number just above a piece
    # would be cut as `in_pieces` cuts it.
    size = {1: 2, 2: 1}.get(count, count // 2 + 1 + (PIECE < count < 2 * PIECE))
    parts = [classes(network(candidates[i : i + size])) for i in range(0, len(candidates), size)]
    return torch.cat(parts)[:count] != labels


def _compare(result: Attacked, repeat: int, found: list[Tensor], images: Tensor) -> None:
    """Note whether a repeat did the very same as an earlier one."""
    per_repeat = len(found) // (repeat + 1)
    mine = found[repeat * per_repeat :]
    result.moved[repeat] = any(not torch.equal(tensor, images) for tensor in mine)
    result.identical[repeat] = bool(result.moved[repeat]) and any(
        all(
            torch.equal(one, other)
            for one, other in zip(mine, found[k * per_repeat :][:per_repeat], strict=True)
        )
        for k in range(repeat)
    )
