"""Taking the strides out of a stage: what shrank its map now keeps the size."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from arches.inversion.kinds import pooled_to
from arches.layers.resample import upsample

# Share of the side that must be left where layers without padding lose pixels at the border.
_FILLED = 0.6


class Enlarged(nn.Module):
    """A module that still shrinks its map, behind an exact replication that makes up for it.

    The way out for modules whose stride is not a number that can be set, such as the merging of
    patches.

    Args:
        inner: the module.
        factor: by which it divides the side of its map.
        layout: order of the axes of its map, ``nchw`` or ``nhwc``.
    """

    def __init__(self, inner: nn.Module, factor: int, layout: str = "nchw") -> None:
        super().__init__()
        self.inner = inner
        self.factor = factor
        self.layout = layout

    def forward(self, x: Tensor) -> Tensor:
        """Map at some size to the map at the same size."""
        if self.layout == "nhwc":
            x = x.permute(0, 3, 1, 2)
        size = (x.shape[-2], x.shape[-1])
        x = upsample(x, (size[0] * self.factor, size[1] * self.factor))
        if self.layout == "nhwc":
            x = x.permute(0, 2, 3, 1)
        out: Tensor = self.inner(x)
        if self.layout == "nchw" and (out.shape[-2], out.shape[-1]) != size:
            # Layers without padding lose a pixel at the border.
            out = upsample(out, size)
        return out

    def extra_repr(self) -> str:
        """Factor, for printing."""
        return f"factor={self.factor}"


def keep_size(
    module: nn.Module, sample: Callable[[int], Tensor], sizes: tuple[int, ...], factor: int
) -> nn.Module | None:
    """A module that keeps the size of its map, made from one that may shrink it.

    Ways are tried in turn, and running the result decides: strides of convolutions and pools, then
    strides that blocks remember, then replication before the module as it is.

    Args:
        module: not changed.
        sample: a map of that side to run it on.
        sizes: sides of the maps on which it must work.
        factor: by which it divides the side of its map, at least 1.

    Returns:
        The module itself where nothing shrinks, a changed copy, or ``None`` where no way works.
    """
    if factor == 1 and _keeps(module, sample, sizes):
        return module
    if factor > 1 and pooled_to(module):
        return nn.Identity()
    for changed in _attempts(module):
        if _keeps(changed, sample, sizes):
            return changed
    layout = "nhwc" if _axis(sample(sizes[0]), sizes[0]) == 1 else "nchw"
    enlarged = Enlarged(module, factor, layout)
    if factor > 1 and _fills(enlarged, sample, max(sizes)) and _keeps(enlarged, sample, sizes):
        return enlarged
    return None


def _attempts(module: nn.Module) -> Iterator[nn.Module]:
    changed = without_strides(copy.deepcopy(module))
    yield changed
    changed = copy.deepcopy(changed)
    for part in changed.modules():
        for name in ("stride", "strides"):
            if isinstance(getattr(part, name, None), int | tuple) and not _layer(part):
                setattr(part, name, _ones(getattr(part, name)))
    yield changed


def _keeps(module: nn.Module, sample: Callable[[int], Tensor], sizes: tuple[int, ...]) -> bool:
    return all(_keeps_one(module, sample(size), size) for size in sizes)


def _keeps_one(module: nn.Module, x: Tensor, size: int) -> bool:
    axis = _axis(x, size)
    training = module.training
    try:
        # A piece of a graph prints what goes wrong in it.
        with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):
            out = module.eval()(x)
    except Exception:  # a module that was changed may fail in any way
        return False
    finally:
        module.train(training)
    tensors = out if isinstance(out, tuple | list) else (out,)
    return all(
        isinstance(tensor, Tensor) and tensor.dim() == 4 and tensor.shape[axis] == size
        for tensor in tensors
    )


def _fills(enlarged: Enlarged, sample: Callable[[int], Tensor], size: int) -> bool:
    """Whether a module that is fed a larger map loses no more than border pixels of it."""
    axis = _axis(sample(size), size)
    try:
        with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):
            out = enlarged.inner.eval()(sample(size * enlarged.factor))
    except Exception:  # a module fed something new may fail in any way
        return False
    tensors = out if isinstance(out, tuple | list) else (out,)
    return all(tensor.dim() == 4 and tensor.shape[axis] > _FILLED * size for tensor in tensors)


def _axis(x: Tensor, size: int) -> int:
    return 1 if x.shape[1] == size and x.shape[3] != size else 2


def without_strides(module: nn.Module) -> nn.Module:
    """Set every stride inside to 1, with padding that keeps the size; the module is changed.

    Pools whose window is their step, and blurs, only thin the map out: they go.

    Returns:
        The module, or what takes its place.
    """
    replaced = _layer_without_stride(module)
    if replaced is not module:
        return replaced
    for name, child in module.named_children():
        changed = without_strides(child)
        if changed is not child:
            setattr(module, name, changed)
    return module


def _layer(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d)


def _layer_without_stride(module: nn.Module) -> nn.Module:
    name = type(module).__name__
    if isinstance(module, nn.Conv2d):
        _unstride_conv(module)
        return module
    if name.startswith("BlurPool"):
        return nn.Identity()
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        kernel, stride = _pair(module.kernel_size), _pair(module.stride)
        if max(stride) > 1 and kernel == stride:
            return nn.Identity()
        module.stride = 1
        if not name.endswith("Same"):
            return _same_pool(module, kernel)
    return module


def _unstride_conv(conv: nn.Conv2d) -> None:
    """Stride 1 and, where the size would change, padding to the same size."""
    spans = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    pads = conv.padding if isinstance(conv.padding, tuple) else None
    # Layers that pad by themselves for their stride keep their own rule.
    own_rule = type(conv).__name__.endswith("Same")
    if max(conv.stride) > 1:
        conv.stride = (1,) * len(conv.stride)
    if own_rule or pads is None or conv.padding_mode != "zeros":
        return
    if any(2 * pad != span for pad, span in zip(pads, spans, strict=True)):
        if any(span % 2 for span in spans):
            _pad_unevenly(conv, spans)
        else:
            conv.padding = tuple(span // 2 for span in spans)


def _pad_unevenly(conv: nn.Conv2d, spans: list[int]) -> None:
    """Padding for windows without a middle: one more after than before."""
    if type(conv).forward is not nn.Conv2d.forward:
        conv.padding = "same"
        return
    # What "same" does, without the warning that comes with it: Conv2d pads by itself in any mode
    # but "zeros".
    conv.padding = (0,) * len(spans)
    conv.padding_mode = "constant"  # type: ignore[assignment]
    conv._reversed_padding_repeated_twice = [
        amount for span in reversed(spans) for amount in (span // 2, span - span // 2)
    ]


def _same_pool(pool: nn.MaxPool2d | nn.AvgPool2d, kernel: tuple[int, int]) -> nn.Module:
    if kernel[0] % 2 and kernel[1] % 2:
        pool.padding = (kernel[0] // 2, kernel[1] // 2)
        return pool
    # An even window has no middle: pad one more after than before, as strided layers do.
    before = [(side - 1) // 2 for side in kernel]
    after = [side // 2 for side in kernel]
    pool.padding = 0
    return nn.Sequential(nn.ReplicationPad2d((before[1], after[1], before[0], after[0])), pool)


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _ones(value: int | tuple[int, ...]) -> int | tuple[int, ...]:
    return 1 if isinstance(value, int) else (1,) * len(value)
