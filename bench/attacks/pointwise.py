"""Salt and pepper, then value by value back to the original (Schott et al., 2019; Foolbox 2.x's
algorithm and defaults)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from bench.attacks import salt_and_pepper
from bench.attacks.base import Attack
from bench.attacks.problem import Problem

HALVINGS = 10
# So many random numbers are drawn at once for every image; it uses one with every question.
BLOCK = 64


@dataclass(slots=True)
class State:
    """Where each of n images stands.

    Attributes:
        index: int64 n, rows of the problem.
        x: float32 n x D, the adversarial to reduce; it always fools the network.
        clean: float32 n x D, the original.
        places: int64 n x K; the first `count` are values that differ from the original, of which
            the first `left` are not tried yet in this pass.
        count, left: int64 n.
        place: int64 n, the value that is being halved.
        inner: float32 n, its last value that did not fool.
        halvings: int64 n, how many halvings are still to do; 0 for images that try a reset.
        second: bool n, in the second phase, where failed resets are followed by halvings.
        improved: bool n, whether this pass changed anything.
    """

    index: Tensor
    x: Tensor
    clean: Tensor
    places: Tensor
    count: Tensor
    left: Tensor
    place: Tensor
    inner: Tensor
    halvings: Tensor
    second: Tensor
    improved: Tensor

    def keep(self, chosen: Tensor) -> None:
        """Drop all other images."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name)[chosen])


def run(problem: Problem, *, epsilons: int = 100, repetitions: int = 10) -> Tensor:
    """Reduce the result of salt and pepper (whose options these are).

    First phase: values in random order are reset to the original; after a reset that still fools
    all others are tried again, until a whole pass fails. Second phase: in random order each value
    is reset, or else halved towards the original ten times; again until a pass changes nothing.
    Every image goes at its own pace, one question at a time.

    In Foolbox 2 a value for which no halving fools is left at the last one tried, and from then on
    the image to reduce is none that fools; here it gets its value back.
    """
    salt_and_pepper.run(problem, epsilons=epsilons, repetitions=repetitions)
    shape = problem.images.shape[1:]
    # Steps below were used by salt and pepper.
    block = epsilons * repetitions
    state, asked = _begin(problem), 0
    numbers = torch.empty(0)
    while len(state.index):
        if asked % BLOCK == 0:
            block += 1
            numbers = problem.source.uniform(state.index, block, (BLOCK,))
        resetting = state.halvings == 0
        slot, place, value = _question(state, resetting, numbers[:, asked % BLOCK])
        old = state.x.gather(1, place)
        state.x.scatter_(1, place, value)
        wrong = problem.offer(state.x.view(-1, *shape), state.index)
        state.x.scatter_(1, place, torch.where(wrong[:, None], value, old))
        state.improved |= wrong & (value != old)[:, 0]
        _after_reset(state, slot, place, value, resetting, wrong)
        _after_halving(state, value, resetting, wrong)
        going = _next_pass(state)
        asked += 1
        if not going.all():
            state.keep(going)
            numbers = numbers[going]
    return problem.best


def _begin(problem: Problem) -> State:
    """All images for which salt and pepper found something."""
    index = problem.distance.isfinite().nonzero()[:, 0]
    x, clean = problem.best[index].flatten(1), problem.images[index].flatten(1)
    differs = x != clean
    count = differs.sum(1)
    size = int(count.max()) if len(index) else 0
    zeros = torch.zeros_like(index)
    return State(
        index,
        x,
        clean,
        places=differs.byte().argsort(descending=True, stable=True)[:, :size].clone(),
        count=count,
        left=count.clone(),
        place=zeros.clone(),
        inner=x.new_zeros(len(index)),
        halvings=zeros.clone(),
        second=zeros.bool(),
        improved=zeros.bool(),
    )


def _question(state: State, resetting: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """n x 1 each: position in `places`, place, and the value to try there."""
    # Drawing without replacement gives the same orders as shuffling.
    slot = torch.minimum((numbers * state.left).long(), state.left - 1).clamp_(min=0)[:, None]
    place = torch.where(resetting[:, None], state.places.gather(1, slot), state.place[:, None])
    halfway = (state.x.gather(1, place) + state.inner[:, None]) / 2
    return slot, place, torch.where(resetting[:, None], state.clean.gather(1, place), halfway)


def _after_reset(
    state: State, slot: Tensor, place: Tensor, value: Tensor, resetting: Tensor, wrong: Tensor
) -> None:
    """A value that is reset leaves the list; one that is not counts as tried."""
    rows = resetting.nonzero()[:, 0]
    done, failed = (resetting & wrong).long(), resetting & ~wrong
    # Close the gap among the untried with their last, and that one's with the last of all.
    last, end = state.left[rows] - 1, state.count[rows] - 1
    column = slot[rows, 0]
    state.places[rows, column] = state.places[rows, last]
    state.places[rows, last] = place[rows, 0]
    gone = done[rows].bool()
    state.places[rows[gone], last[gone]] = state.places[rows[gone], end[gone]]
    state.count -= done
    state.left -= resetting.long()
    state.left = torch.where(resetting & wrong & ~state.second, state.count, state.left)
    halve = failed & state.second
    state.place = torch.where(halve, place[:, 0], state.place)
    state.inner = torch.where(halve, value[:, 0], state.inner)
    state.halvings = torch.where(halve, HALVINGS, state.halvings)


def _after_halving(state: State, value: Tensor, resetting: Tensor, wrong: Tensor) -> None:
    """The outer end of the interval is the image's own value, which has been set."""
    state.inner = torch.where(resetting | wrong, state.inner, value[:, 0])
    state.halvings -= (~resetting).long()


def _next_pass(state: State) -> Tensor:
    """Begin anew where a pass is over; bool n: which images are not finished."""
    over = (state.left == 0) & (state.halvings == 0)
    going = ~over | ((state.improved | ~state.second) & (state.count > 0))
    state.second |= over
    state.improved &= ~over
    state.left = torch.where(over, state.count, state.left)
    return going


ATTACK = Attack(
    run,
    deterministic=False,
    typical=700,
    defaults={"epsilons": 100, "repetitions": 10},
)
