"""Where one stage ends and the next begins: the rules that turn a chain of units into stages."""

from __future__ import annotations

from collections.abc import Sequence

from torch import fx, nn

from arches.inversion.errors import InversionError
from arches.inversion.kinds import mixes
from arches.inversion.stages import Stage, Stages
from arches.inversion.units import Chain, ChainUnit

# A map whose side is more than this share of the one before is at the same level: convolutions
# without padding lose a few pixels and change no resolution.
_SAME_LEVEL = 0.75

# No stage of one resolution divides the side of its map by more.
_ONE_STEP = 4.7


def cut(chain: Chain, probe_size: int, split: str = "modules") -> Stages:
    """The stages of a chain of units.

    Args:
        chain: from the image on.
        probe_size: side in pixels of the image with which it was read.
        split: recorded in the result.

    Raises:
        InversionError: when there is one resolution only, or the chain is not the whole body.
    """
    if chain.sizes < 2 or chain.flat:
        raise _one_resolution()
    if not chain.ended:
        raise InversionError(
            "state between stages",
            "more than one map goes from stage to stage, or something happens to it outside of "
            "modules" + (f" after {chain.units[-1].path}" if chain.units else "") + "; "
            "give the stages explicitly, by stages=..., or register an adapter.",
        )
    reductions = _reductions(chain.units, probe_size)
    body = _without_tail(chain.units, chain.scored)
    tail = tuple(unit.path for unit in chain.units[body:])
    for start in (_stem(chain.units[:body]), _least_stem(chain.units[:body])):
        stages = _group(chain.units[start:body], reductions[start:body])
        if len(stages) > 1:
            break
    if len(stages) == 1 and start > 0 and reductions[start - 1] < stages[0].reduction:
        # The stem is all there is at its resolution: a level that is a merge alone.
        given = chain.units[start - 1].given
        stages.insert(0, Stage(reductions[start - 1], given.width, given.width, ()))
    if len(stages) < 2:
        raise _one_resolution()
    stem = tuple(unit.path for unit in chain.units[:start])
    return Stages(tuple(stages), stem, tail, probe_size, split)


def _one_resolution() -> InversionError:
    return InversionError("isotropic", "one resolution only, nothing to invert.")


def _reductions(units: Sequence[ChainUnit], probe_size: int) -> list[int]:
    """The reduction at which each unit leaves its map."""
    found: list[int] = []
    level, reduction = probe_size, 1
    for unit in units:
        size = unit.given.size
        if size > level / _SAME_LEVEL:
            raise InversionError("grows", f"the resolution grows again at {unit.path}.")
        if unit.fixed and unit.taken.size % size:
            raise _no_factor(unit, probe_size)
        if found and not unit.fixed and unit.taken.size > _ONE_STEP * size:
            raise InversionError(
                "state between stages",
                f"{unit.path or 'the body'} goes through several resolutions by itself.",
            )
        if size <= _SAME_LEVEL * level:
            reduction *= max(2, round(unit.taken.size / size))
            level = size
        found.append(reduction)
    return found


def _no_factor(unit: ChainUnit, probe_size: int) -> InversionError:
    taken, given = unit.taken.size, unit.given.size
    who = "forward" if isinstance(unit.module, fx.GraphModule) else unit.path
    return InversionError(
        "fixed size",
        f"{who} pools to {given} x {given} pixels whatever it takes, which is no whole "
        f"factor of the {taken} x {taken} pixels that it takes in images of {probe_size}: pool by "
        f"a factor, such as nn.AvgPool2d({max(2, round(taken / given))}), or take images of "
        "another size.",
    )


def _group(units: Sequence[ChainUnit], reductions: Sequence[int]) -> list[Stage]:
    """One stage for each run of units at one reduction."""
    stages: list[Stage] = []
    for reduction in sorted(set(reductions)):
        inside = [unit for unit, own in zip(units, reductions, strict=True) if own == reduction]
        stages.append(
            Stage(
                reduction=reduction,
                in_width=inside[0].taken.width,
                width=inside[-1].given.width,
                modules=tuple(unit.path for unit in inside),
                in_layout=inside[0].taken.layout,
                out_layout=inside[-1].given.layout,
            )
        )
    return stages


def _components(units: Sequence[ChainUnit]) -> list[str]:
    """The part of each path at which the paths of all units begin to differ."""
    paths = [unit.path.split(".") for unit in units]
    shared = 0
    while all(len(path) > shared for path in paths) and len({path[shared] for path in paths}) == 1:
        shared += 1
    return [path[min(shared, len(path) - 1)] for path in paths]


def _stem(units: Sequence[ChainUnit]) -> int:
    """How many units read the image: the first container, and what only normalises or pools it.

    What normalises the image itself comes before.
    """
    names = _components(units)
    first = 0
    while (
        first + 1 < len(units)
        and not mixes(units[first].module)
        and units[first].taken == units[first].given
    ):
        first += 1
    count = first
    while count < len(units) and names[count] == names[first]:
        count += 1
    return _past_light(units, count)


def _least_stem(units: Sequence[ChainUnit]) -> int:
    """The first unit with weights, and what only normalises or pools its map."""
    count = 0
    while count < len(units) and units[count].light:
        count += 1
    return _past_light(units, min(count + 1, len(units)))


def _past_light(units: Sequence[ChainUnit], count: int) -> int:
    while count < len(units) and units[count].leaf_or_norm and units[count].light:
        count += 1
    return count


def _without_tail(units: Sequence[ChainUnit], scored: bool) -> int:
    """How many units are left without those that only prepare the head.

    Pools at the end, the convolution that gives the scores of the classes, and whole containers of
    1 x 1 convolutions, norms and activations after the last block. In a plain chain of layers
    everything else belongs to some convolution.
    """
    count = len(units)
    while count > 1 and _thins_out(units[count - 1]):
        count -= 1
    if scored:
        count = _without_scores(units[:count])
    names = _components(units[:count])
    blocks = {name for unit, name in zip(units, names, strict=False) if _layers(unit) > 1}
    spatial = {name for unit, name in zip(units, names, strict=False) if unit.spatial}
    while blocks and count > 1 and names[count - 1] not in blocks | spatial:
        count -= 1
    return count


def _without_scores(units: Sequence[ChainUnit]) -> int:
    """How many units are left without the convolution of the scores, and a dropout before it."""
    count = max((n for n, unit in enumerate(units) if not unit.light), default=0)
    last = units[count]
    if count == 0 or _layers(last) != 1 or last.given.size <= _SAME_LEVEL * last.taken.size:
        return len(units)
    while count > 1 and isinstance(units[count - 1].module, nn.modules.dropout._DropoutNd):
        count -= 1
    return count


def _thins_out(unit: ChainUnit) -> bool:
    return unit.light and unit.given.size <= _SAME_LEVEL * unit.taken.size


def _layers(unit: ChainUnit) -> int:
    return sum(isinstance(module, nn.Conv2d | nn.Linear) for module in unit.module.modules())
