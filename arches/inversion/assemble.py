"""Putting the stages of a model on top of each other, coarsest first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from arches.inversion.errors import InversionError
from arches.inversion.network import InvertedPosition, StageBlock
from arches.inversion.observe import Seen
from arches.inversion.options import InvertOptions
from arches.inversion.stages import Stage
from arches.inversion.strides import keep_size
from arches.inversion.units import Map


def without_inplace(model: nn.Module) -> None:
    """Let no module overwrite its input: a merge needs the map that a stage opens with."""
    for module in model.modules():
        if isinstance(getattr(module, "inplace", None), bool):
            setattr(module, "inplace", False)  # noqa: B010 (of any class)


def build_stage(stage: Stage, seen: Sequence[Seen], image_size: int, probe_size: int) -> StageBlock:
    """The block of a stage, without strides, run once on a map of its size.

    Args:
        stage: at the reduction where it is to run.
        seen: its modules, in order, with their maps; not changed.
        image_size: side of the image in pixels.
        probe_size: side of the image with which the stage was read.

    Raises:
        InversionError: where strides cannot be taken out, or the stage fails at its resolution.
    """
    side, probe = (math.ceil(size / stage.reduction) for size in (image_size, probe_size))
    kept = []
    for entry in seen:
        sizes = tuple(dict.fromkeys((side, probe))) if entry.factor > 1 else (side,)
        changed = keep_size(entry.module, _sampler(entry.taken), sizes, entry.factor)
        if changed is None and entry.factor > 1:
            raise _size_error(stage, entry, side, probe)
        kept.append(entry.module if changed is None else changed)
    block = StageBlock(stage, kept)
    _run_once(block, side, probe)
    return block


def _sampler(taken: Map) -> Callable[[int], Tensor]:
    """Makes maps of any side, of two images."""

    def sample(side: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            if taken.layout == "nhwc":
                return torch.randn(2, side, side, taken.width)
            return torch.randn(2, taken.width, side, side)

    return sample


def _size_error(stage: Stage, entry: Seen, side: int, probe: int) -> InversionError:
    sample = _sampler(entry.taken)
    if side != probe and keep_size(entry.module, sample, (probe,), entry.factor) is not None:
        return _fixed(stage)
    name = type(entry.module).__name__
    return InversionError("stride", f"the stride of {name} in stage 1/{stage.reduction} stays.")


def _fixed(stage: Stage) -> InversionError:
    return InversionError(
        "fixed size", f"fixed input size: stage 1/{stage.reduction} runs at its native size only."
    )


def _run_once(block: StageBlock, side: int, probe: int) -> None:
    problem = _problem(block, side)
    if problem is None:
        return
    if side != probe and _problem(block, probe) is None:
        raise InversionError(
            "fixed size", f"fixed input size: stage {block.name} runs at its native size only."
        ) from problem
    raise InversionError("stage", f"stage {block.name} does not run without strides: {problem}")


def _problem(block: StageBlock, side: int) -> Exception | None:
    x = _sampler(Map(side, (block.in_width,), "nchw"))(side)
    try:
        with torch.no_grad():
            out = block.eval()(x)
    except Exception as error:  # the model's own modules may raise anything
        return error
    finally:
        block.train()
    if out.dim() != 4 or out.shape[1] != block.width:
        return ValueError(f"it gives {tuple(out.shape)}, not {block.width} channels")
    return None


def arrange(
    blocks: Sequence[tuple[Stage, StageBlock | None]], in_chans: int, options: InvertOptions
) -> list[InvertedPosition]:
    """Positions of the network, coarsest first, with merge-only ones up to the finest resolution.

    Args:
        blocks: stages and their blocks, coarsest first; none where a level is a merge alone.
        in_chans: channels of the image.
        options: of the inversion.
    """
    positions: list[InvertedPosition] = []
    for stage, block in blocks:
        positions.append(
            _position(stage.reduction, stage.in_width, block, positions, in_chans, options)
        )
    finest = options.finest_factor
    while finest is not None and positions[-1].factor > finest:
        factor = max(finest, math.ceil(positions[-1].factor / 2))
        positions.append(_position(factor, positions[-1].width, None, positions, in_chans, options))
    return positions


def _position(
    factor: int,
    in_width: int,
    block: StageBlock | None,
    before: Sequence[InvertedPosition],
    in_chans: int,
    options: InvertOptions,
) -> InvertedPosition:
    width = in_width if options.merge_width is None else min(in_width, options.merge_width)
    below = before[-1].width if before else None
    return InvertedPosition(factor, in_chans, below, width, block, options)
