"""Stages at another width: the same layers, re-created with more or fewer channels.

All widths of a stage are multiplied by one ratio. What that breaks (sums of widths that no longer
add up, groups that no longer divide) is not analysed: the stage is run, and where it fails, the
next way is tried.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from arches.inversion.errors import InversionError
from arches.inversion.initial import Law, draw_like, fans, kind_of
from arches.inversion.network import StageBlock
from arches.inversion.stages import Stage

Rule = Callable[[int], int]

_WIDTH_LIKE = re.compile(
    r"ch(an(nel)?s?|s)?(_|$)|dim|width|features|planes|hidden|split|shape|embed|rank|_c$"
)


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
    for rule in _rules(block, stage, width, uniform):
        wanted = replace(stage, in_width=rule(stage.in_width), width=rule(stage.width))
        made = StageBlock(wanted, list(copy.deepcopy(block.parts)))
        try:
            _rescale(made, rule, law)
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


def repeat_of(stage: Stage, block: StageBlock, width: int, side: int) -> nn.Module | None:
    """A module of a stage that maps ``width`` channels to as many, the last if there are more."""
    for part in reversed(block.parts):
        trial = StageBlock(replace(stage, in_width=width, width=width), [part])
        heavy = any(parameter.dim() > 1 for parameter in part.parameters())
        if heavy and _runs(trial, side):
            return part
    return None


def redraw(blocks: Sequence[nn.Module | None]) -> None:
    """Draw all weights anew, by the rules of the layers themselves; the blocks are changed."""
    for block in blocks:
        for module in () if block is None else block.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()


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
    shared = [math.gcd(*_widths(block), stage.in_width, stage.width)]
    shared += [math.gcd(stage.in_width, stage.width), 8, 4, 2]
    for step in dict.fromkeys(step for step in shared if step > 1):
        yield partial(_times, max(1, round(step * ratio)) / step, 1)
    for step in (32, 16, 8, 4):
        yield partial(_times, ratio, step)


def _times(ratio: float, step: int, width: int) -> int:
    """A width times a ratio, as a multiple of a step."""
    return max(step, round(width * ratio / step) * step)


def _widths(block: nn.Module) -> set[int]:
    """Numbers of channels that layers of a block have."""
    found: set[int] = set()
    for module in block.modules():
        for name in ("in_channels", "out_channels", "in_features", "out_features"):
            value = getattr(module, name, None)
            if isinstance(value, int):
                found.add(value)
        if "norm" in type(module).__name__.lower():
            found.update(p.shape[0] for p in module.parameters(recurse=False) if p.dim() == 1)
    return {value for value in found if value > 1}


def _made_widths(block: nn.Module) -> set[int]:
    """Numbers of channels that layers inside give."""
    convs = {m.out_channels for m in block.modules() if isinstance(m, nn.Conv2d)}
    return convs | {m.out_features for m in block.modules() if isinstance(m, nn.Linear)}


def _rescale(block: StageBlock, rule: Rule, law: Law) -> None:
    """Re-create all leaves inside; the block is changed."""
    widths = _widths(block)
    for module in block.parts.modules():
        if isinstance(module, nn.Conv2d) and module.weight.dim() == 4:
            _rescale_conv(module, rule, law)
        elif isinstance(module, nn.Linear):
            _rescale_linear(module, rule, law)
        else:
            _rescale_other(module, rule, widths)
        _rescale_attributes(module, rule, widths)


def _rescale_conv(conv: nn.Conv2d, rule: Rule, law: Law) -> None:
    before = fans(conv, conv.weight)
    kind = kind_of(conv)
    old_in, old_out, groups = conv.in_channels, conv.out_channels, conv.groups
    new_in, new_out = rule(old_in), rule(old_out)
    if groups == old_in and groups > 1:
        conv.groups = new_in
        if old_out % old_in == 0:
            new_out = new_in * (old_out // old_in)
    elif groups > 1:
        conv.groups = _new_groups(old_in // groups, groups, new_in, new_out)
    shape = (new_out, new_in // conv.groups, *conv.weight.shape[2:])
    old = conv.weight
    conv.weight = nn.Parameter(torch.empty(shape))
    scale = law.scale(kind, before, fans(conv, conv.weight))
    conv.weight = nn.Parameter(draw_like(old, shape, scale))
    _rescale_vectors(conv, old_out, new_out)
    conv.in_channels, conv.out_channels = new_in, new_out


def _new_groups(group_width: int, groups: int, new_in: int, new_out: int) -> int:
    """As many groups as before, else groups as wide as before, else what divides."""
    if new_in % groups == 0 and new_out % groups == 0:
        return groups
    other = new_in // group_width
    if other and new_in % other == 0 and new_out % other == 0:
        return other
    return math.gcd(new_in, new_out, groups)


def _rescale_linear(linear: nn.Linear, rule: Rule, law: Law) -> None:
    old, before = linear.weight, fans(linear, linear.weight)
    shape = (rule(linear.out_features), rule(linear.in_features))
    linear.weight = nn.Parameter(torch.empty(shape))
    scale = law.scale(kind_of(linear), before, fans(linear, linear.weight))
    linear.weight = nn.Parameter(draw_like(old, shape, scale))
    _rescale_vectors(linear, linear.out_features, shape[0])
    linear.out_features, linear.in_features = shape


def _rescale_vectors(layer: nn.Module, old_out: int, new_out: int) -> None:
    """Biases and gains of a layer beside its weight: one entry for each output."""
    for name, value in list(layer.named_parameters(recurse=False)):
        if name != "weight" and old_out in value.shape:
            shape = tuple(new_out if side == old_out else side for side in value.shape)
            setattr(layer, name, nn.Parameter(draw_like(value, shape)))


def _rescale_other(module: nn.Module, rule: Rule, widths: set[int]) -> None:
    for name, value in list(module.named_parameters(recurse=False)):
        setattr(module, name, nn.Parameter(_resized(value, rule, widths)))
    for name, buffer in list(module.named_buffers(recurse=False)):
        setattr(module, name, _resized(buffer, rule, widths))


def _resized(value: Tensor, rule: Rule, widths: set[int]) -> Tensor:
    shape = tuple(rule(side) if side in widths else side for side in value.shape)
    return value.detach().clone() if shape == value.shape else draw_like(value, shape)


def _rescale_attributes(module: nn.Module, rule: Rule, widths: set[int]) -> None:
    """Numbers that a module remembers as widths."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        return
    for name, value in list(vars(module).items()):
        if name.startswith("_") or not _WIDTH_LIKE.search(name):
            continue
        if isinstance(value, int) and not isinstance(value, bool):
            # What a split leaves is no width of any layer, but completes one that is.
            if value in widths or any(whole - value in widths for whole in widths):
                setattr(module, name, rule(value))
        elif _shape_of_widths(value, widths):
            setattr(module, name, type(value)(rule(v) if v > 1 else v for v in value))


def _shape_of_widths(value: Any, widths: set[int]) -> bool:
    if not isinstance(value, tuple | list) or not value or any(type(v) is not int for v in value):
        return False
    return sum(value) in widths or all(v in widths or v == 1 for v in value)


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
