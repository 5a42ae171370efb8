"""Stages at another width: the same layers, re-created with more or fewer channels.

All widths of a stage are multiplied by one ratio. What that breaks (sums of widths that no longer
add up, groups that no longer divide) is not analysed: the stage is run, and where it fails, the
next way is tried.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from arches.inversion.errors import InversionError
from arches.inversion.initial import Law, draw_like
from arches.inversion.network import StageBlock
from arches.inversion.rescale import Rule, rescale, widths_of
from arches.inversion.stages import Stage
from arches.inversion.units import weightless


def at_width(
    stage: Stage,
    block: StageBlock,
    width: int,
    law: Law,
    side: int,
    repeat: nn.Module | None,
    uniform: bool = False,
) -> StageBlock:
    """The block of a stage at another width, with weights drawn as the model draws its own.

    Ways are tried in turn until one runs: every width times the exact ratio; times the nearest
    ratio that keeps all widths whole; then copies of a block that has the width already.

    Args:
        stage: what the block was built from.
        block: left as it is.
        width: channels that are to leave.
        law: of the fresh model.
        side: of the map in pixels on which it is tried.
        repeat: a module that maps ``width`` channels to as many at the same size, if there is one.
        uniform: whether ``width`` channels are to enter, too, where that can be.

    Returns:
        A block whose ``width`` is what was achieved, close to what was asked for.

    Raises:
        InversionError: when none of the ways runs.
    """
    if width == stage.width and (not uniform or width == stage.in_width):
        return block
    if computed := _computed(block):
        raise InversionError(
            "width",
            f"stage {block.name} cannot be given {width} channels instead of {stage.width}: the "
            f"weight of a {computed} is computed from others (weight_norm, spectral_norm); build "
            "the network without that, or leave out this variant.",
        )
    for rule in _rules(block, stage, width, uniform):
        wanted = replace(stage, in_width=rule(stage.in_width), width=rule(stage.width))
        made = StageBlock(wanted, list(copy.deepcopy(block.parts)))
        try:
            rescale(made, stage, rule, law)
        except (ValueError, RuntimeError, TypeError, AttributeError, ZeroDivisionError):
            continue
        if _runs(made, side):
            return made
    if repeat is not None:
        count = max(1, len(block.parts))
        wanted = replace(stage, in_width=width, width=width)
        made = StageBlock(wanted, [redrawn(repeat) for _ in range(count)])
        if _runs(made, side):
            return made
    raise InversionError(
        "width", f"stage {block.name} cannot be given {width} channels instead of {stage.width}."
    )


def _computed(block: nn.Module) -> str | None:
    """The class of the first layer whose weight is made anew in each pass."""
    for module in block.modules():
        hooks = module._forward_pre_hooks.values()
        if is_parametrized(module):
            return type(module).__bases__[0].__name__
        if any(isinstance(hook, SpectralNorm | WeightNorm) for hook in hooks):
            return type(module).__name__
    return None


def repeat_of(stage: Stage, block: StageBlock, width: int, side: int) -> nn.Module | None:
    """A module of a stage that maps ``width`` channels to as many, the last if there are more."""
    for part in reversed(block.parts):
        trial = StageBlock(replace(stage, in_width=width, width=width), [part])
        if not weightless(part) and _runs(trial, side):
            return part
    return None


def redrawn(module: nn.Module) -> nn.Module:
    """A copy of a module with weights drawn like those it has."""
    made = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(draw_like(parameter, tuple(parameter.shape)))
    return made


def _rules(block: StageBlock, stage: Stage, width: int, uniform: bool) -> Iterator[Rule]:
    """The exact ratio, then ratios in steps that keep widths whole."""
    ratio = width / stage.width
    # The merge before a stage is as wide as what enters: one width everywhere, or at least half of
    # what leaves, where no layer inside gives that width, too.
    entry = width if uniform else min(max(round(stage.in_width * ratio), -(-width // 2)), width)
    if stage.in_width > stage.width or stage.in_width not in _made_widths(block):
        yield lambda old: entry if old == stage.in_width else _times(ratio, 1, old)
    yield partial(_times, ratio, 1)
    shared = [math.gcd(*widths_of(block), stage.in_width, stage.width)]
    shared += [math.gcd(stage.in_width, stage.width), 8, 4, 2]
    for step in dict.fromkeys(step for step in shared if step > 1):
        yield partial(_times, max(1, round(step * ratio)) / step, 1)
    for step in (32, 16, 8, 4):
        yield partial(_times, ratio, step)
    # Inner widths that have nothing to do with those of the stage may be tied to numbers in code.
    own = (stage.in_width, stage.width)
    yield (
        lambda old: (
            _times(ratio, 1, old) if any(not max(w, old) % min(w, old) for w in own) else old
        )
    )


def _times(ratio: float, step: int, width: int) -> int:
    """A width times a ratio, as a multiple of a step."""
    return max(step, round(width * ratio / step) * step)


def _made_widths(block: nn.Module) -> set[int]:
    """Numbers of channels that layers inside give."""
    convs = {m.out_channels for m in block.modules() if isinstance(m, nn.Conv2d)}
    return convs | {m.out_features for m in block.modules() if isinstance(m, nn.Linear)}


def _runs(block: StageBlock, side: int) -> bool:
    with torch.random.fork_rng(devices=[]):
        x = torch.randn(2, block.in_width, side, side)
    try:
        with torch.no_grad():
            out = block.eval()(x)
    except Exception:  # a stage that was changed may fail in any way
        return False
    finally:
        block.train()
    return bool(out.dim() == 4 and out.shape[1] == block.width)


def targets(stages: Sequence[Stage], variant: str, width: int | None) -> list[int]:
    """Width of each stage, fine to coarse, in ``td_uni`` or mirrored ``td_rev``."""
    if variant == "td_uni":
        uniform = width or stages[len(stages) // 2].width
        return [uniform] * len(stages)
    return [stage.width for stage in reversed(stages)]
