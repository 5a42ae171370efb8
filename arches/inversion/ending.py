"""What a model does between its last block and the pooling, at the end of an inverted network.

Blocks that normalise before they convolve leave a map that nobody normalised: such models end with
a norm. The stage that ends the inverted network is another one, often of another width, so the
norm is made for that.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import takewhile

import torch
from torch import Tensor, nn

from arches.inversion.rescale import leaves_at_width
from arches.inversion.stages import Stages
from arches.inversion.units import weightless


class Ending(nn.Module):
    """Norms and activations, one after the other.

    Args:
        modules: to run.
        layout: order of the axes of the maps that they take, ``nchw`` or ``nhwc``.
    """

    def __init__(self, modules: Sequence[nn.Module], layout: str) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules)
        self.layout = layout

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W to the same shape."""
        if self.layout == "nhwc":
            x = x.permute(0, 2, 3, 1)
        for part in self.parts:
            x = part(x)
        return x.permute(0, 3, 1, 2) if self.layout == "nhwc" else x


def read_ending(model: nn.Module, stages: Stages, width: int) -> Ending | None:
    """Norms and activations that follow the last stage of a model, for a map of some width.

    Args:
        model: not changed.
        stages: of the model.
        width: channels of the map.

    Returns:
        Copies, drawn as the model draws them where the width is not that of the last stage; none
        where nothing follows, or it cannot be had at this width.
    """
    last = stages.stages[-1]
    modules = (model.get_submodule(path) for path in stages.tail)
    kept = list(takewhile(weightless, modules))
    found: list[nn.Module] = []
    for module in kept:
        made = copy.deepcopy(module)
        if width != last.width:
            leaves_at_width(made, last.width, width)
        if not _keeps_shape(made, width, last.out_layout):
            break
        if not isinstance(made, nn.Identity):
            found.append(made)
    return Ending(found, last.out_layout) if found else None


def _keeps_shape(module: nn.Module, width: int, layout: str) -> bool:
    """Whether a module gives what it takes; a pool or a change of axes does not."""
    shape = (2, width, 3, 5) if layout == "nchw" else (2, 3, 5, width)
    training = module.training
    try:
        with torch.no_grad():
            out = module.eval()(torch.zeros(shape))
    except Exception:  # a module that was changed may fail in any way
        return False
    finally:
        module.train(training)
    return isinstance(out, Tensor) and tuple(out.shape) == shape
