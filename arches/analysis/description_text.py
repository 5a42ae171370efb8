"""The description of a network as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arches.analysis.description import Description, Row

_HEADINGS = (
    "depth",
    "size",
    "unit",
    "operation",
    "widths",
    "params",
    "FLOPs",
    "out, B",
    "kept, B",
    "field",
)

_LEAST = 8  # columns of an operation
_NUMBERS = "per image, single precision"  # and the widths of its columns where there is room
_ROOM = (52, 14, 14, 9)

_MEASURED = "field: measured, the smallest and the largest over the scales; + where the border cuts"


def render(description: Description, width: int) -> str:
    """Lines no longer than ``width`` columns (at least 80); operations are cut if need be."""
    width = max(width, 80)
    lines = [
        *textwrap.wrap(_title(description), width),
        "",
        *_table(description, width),
        "",
        *_totals(description, width),
    ]
    if description.fields == "measured" and any(row.field_largest for row in description.rows):
        lines += ["", *_wrapped([_MEASURED], width)]
    if description.remarks:
        lines += ["", *_wrapped(description.remarks, width)]
    if description.features:
        lines += ["", *_features(description)]
    return "\n".join(line.rstrip() for line in lines)


def _title(description: Description) -> str:
    d = description
    scales = ", ".join(f"1/{factor}" if factor > 1 else "1" for factor in d.scales)
    note = f" ({d.origin})" if d.origin else ""
    return (
        f"{d.name}@{d.variant}{note}: {d.in_chans} x {d.image_size} x {d.image_size} to "
        f"{d.num_classes} classes, scales {scales}"
    )


def _table(description: Description, width: int, short: bool = False) -> list[str]:
    """Lines of the table; `short` writes 1.18M for 1,180,160 where room is scarce, and one space
    between columns where that is not enough."""
    cells = [_HEADINGS, *_rows_with_depth(description, short)]
    flops, kept = description.other
    if flops or kept:
        cells.append(("", "", "", "between these", "", "", _short(flops), "", _short(kept), ""))
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEADINGS))]
    spare = width - 2 * (len(widths) - 1) - sum(widths)
    if spare < 0 and not short:
        return _table(description, width, short=True)
    gap = 2 if widths[3] + spare >= _LEAST else 1
    spare = width - gap * (len(widths) - 1) - sum(widths)
    widths[3] = max(min(widths[3], widths[3] + spare), _LEAST)
    left = {2, 3}
    return [
        (gap * " ").join(
            _cut(cell, size) if column in left else cell.rjust(size)
            for column, (cell, size) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]


def _rows_with_depth(description: Description, short: bool) -> list[tuple[str, ...]]:
    """Depth is written where it changes, so that positions stand out."""
    cells = []
    depth = 0
    for row in description.rows:
        cells.append(_cells(row, str(row.depth) if row.depth != depth else "", short))
        depth = row.depth
    return cells


def _cells(row: Row, depth: str, short: bool) -> tuple[str, ...]:
    size = "-" if row.resolution is None else f"{row.resolution[0]}x{row.resolution[1]}"
    return (
        depth,
        size,
        row.name,
        row.operation,
        _widths(row),
        _short(row.parameters) if short else f"{row.parameters:,}",
        _short(row.flops),
        _short(row.output_bytes),
        _short(row.activation_bytes),
        _field(row),
    )


def _widths(row: Row) -> str:
    leaves = "-" if row.width is None else f"{row.width}"
    return leaves if row.in_width is None else f"{row.in_width}>{leaves}"


def _field(row: Row) -> str:
    if row.field_largest is None:
        return "-"
    large = f"{row.field_largest}{'+' if row.field_cut else ''}"
    same = row.field_smallest == row.field_largest
    return large if same else f"{row.field_smallest}..{large}"


def _cut(text: str, size: int) -> str:
    return text.ljust(size) if len(text) <= size else text[: size - 1] + "~"


def _short(number: int) -> str:
    """Three digits and a decimal prefix: 1234567 is 1.23M."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor:
            scaled = number / factor
            return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f}{prefix}"
    return str(number)


def _totals(description: Description, width: int) -> list[str]:
    own, base, ratios = description.totals, description.baseline, description.ratios
    cells = [(_NUMBERS, "this", "bottom-up", "ratio")]
    for key, label, scale in _lines():
        number = "{:,.0f}" if scale == 1 else "{:,.2f}"
        mine = number.format(getattr(own, key) / scale)
        other = "-" if base is None else number.format(getattr(base, key) / scale)
        ratio = f"{ratios[key]:.2f}" if key in ratios else "-"
        cells.append((label, mine, other, ratio))
    first, *others = _ROOM
    if sum(_ROOM) > width:
        first, *others = (max(map(len, column)) for column in zip(*cells, strict=True))
        others = [size + 2 for size in others]
    return [
        label.ljust(first) + "".join(map(str.rjust, numbers, others)) for label, *numbers in cells
    ]


def _lines() -> tuple[tuple[str, str, float], ...]:
    return (
        ("parameters", "trainable parameters", 1),
        ("statistics", "moving statistics and the like, not trained", 1),
        ("flops", "forward pass, MFLOPs (2 x multiply-accumulate)", 1e6),
        ("activation_bytes", "training: activations kept for backward, MiB", 2**20),
        ("training_bytes", "training: with weights, gradients, momentum, MiB", 2**20),
        ("inference_activation_bytes", "inference: most maps held at once, MiB", 2**20),
        ("inference_bytes", "inference: with weights, MiB", 2**20),
    )


def _wrapped(remarks: Sequence[str], width: int) -> list[str]:
    return [line for text in remarks for line in textwrap.wrap(text, width, subsequent_indent="  ")]


def _features(description: Description) -> list[str]:
    lines = ["feature map       size    effective field, px (untrained): side, extent"]
    for field in description.features:
        size = f"{field.resolution[0]}x{field.resolution[1]}x{field.width}"
        lines.append(
            f"{field.name:11}{size:>11}    {field.measured_side:.1f}, {field.measured_extent}"
        )
    return lines
