"""Cells that read the two cells before them: all between two reductions is one unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from arches.inversion.adapters.registry import Body, Rewriting, register_adapter


class Swapped(nn.Module):
    """A cell that takes the newer of two maps first, called with the older one first."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        """Two maps to the map of the cell."""
        out: Tensor = self.cell(newer, older)
        return out


class CellGroup(nn.Module):
    """Cells up to the next reduction, as one map to one map.

    The last two maps of a group are of the same size and travel side by side, as one.

    Args:
        cells: called with the older and the newer of the two maps before them.
        older_width: channels of the older of the maps that enter; 0 where only one map enters,
            which the first cell then takes alone.
        skip: whether the second cell reads the older of the maps that enter, and not the newer.
        pair: whether the last two maps leave, or the last one only.
    """

    def __init__(
        self,
        cells: Sequence[nn.Module],
        older_width: int,
        skip: bool = False,
        pair: bool = True,
    ) -> None:
        super().__init__()
        self.cells = nn.ModuleList(cells)
        self.older_width = older_width
        self.skip = skip
        self.pair = pair

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W, of the older map first, to N x D x h x w, likewise."""
        first, *others = self.cells
        if self.older_width:
            older, newer = x[:, : self.older_width], x[:, self.older_width :]
            state = (older if self.skip else newer, first(older, newer))
        else:
            state = (x, first(x))
        for cell in others:
            state = (state[1], cell(*state))
        out: Tensor = torch.cat(state, dim=1) if self.pair else state[1]
        return out


@register_adapter("NASNetALarge")
def _nasnet(model: Any) -> Rewriting:
    """After a reduction the cell reads past it, at the older map of the group before."""

    def swapped(*names: str) -> list[nn.Module]:
        return [Swapped(getattr(model, name)) for name in names]

    width = model.cell_5.conv_1x1.conv.in_channels
    first = [model.cell_stem_0, model.cell_stem_1]
    units = {
        "conv0": model.conv0,
        "cells.0": CellGroup([*first, *swapped(*(f"cell_{n}" for n in range(6)))], 0),
        "cells.1": CellGroup(
            swapped("reduction_cell_0", *(f"cell_{n}" for n in range(6, 12))), width, skip=True
        ),
        "cells.2": CellGroup(
            swapped("reduction_cell_1", *(f"cell_{n}" for n in range(12, 18))),
            2 * width,
            skip=True,
            pair=False,
        ),
        "act": model.act,
    }
    return Rewriting(Body(units))


@register_adapter("PNASNet5Large")
def _pnasnet(model: Any) -> Rewriting:
    """Every cell reads the two before it."""
    first = [model.cell_stem_0, model.cell_stem_1, *_cells(model, range(4))]
    width = model.cell_3.conv_1x1.conv.in_channels
    units = {
        "conv_0": model.conv_0,
        "cells.0": CellGroup(first, 0),
        "cells.1": CellGroup(_cells(model, range(4, 8)), width),
        "cells.2": CellGroup(_cells(model, range(8, 12)), 2 * width, pair=False),
        "act": model.act,
    }
    return Rewriting(Body(units))


def _cells(model: Any, numbers: range) -> list[nn.Module]:
    return [getattr(model, f"cell_{number}") for number in numbers]
