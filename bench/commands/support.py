"""`bench list backbones --like GLOB`: which models run in which variants, from the table."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

import arches
from arches import support
from bench.errors import BenchError, did_you_mean

COLUMNS = 100
MARK = 16
MARKS = {support.OK: "ok", support.NATIVE: "native", support.NOT_MEASURED: "?"}
LEGEND = (
    "parameters/FLOPs over bu; native: only at the image size that it was made for; ?: not tried"
)

Found = dict[str, dict[str, support.Row]]


def show(pattern: str, variant: str | None, as_json: bool) -> int:
    """Print the names that fit a pattern.

    Raises:
        BenchError: none does, or there is no such variant; the message has a suggestion.
    """
    if variant is not None and variant not in arches.VARIANTS:
        raise BenchError(f"unknown variant '{variant}'{did_you_mean(variant, arches.VARIANTS)}")
    found = {**_plugins(pattern), **support.matching(pattern)}
    if not found:
        raise BenchError(f"no backbone fits '{pattern}'{_suggestion(pattern)}")
    if as_json:
        rows = [row for rows in found.values() for row in rows.values()]
        chosen = [row._asdict() for row in rows if variant in (None, row.variant)]
        sys.stdout.write(json.dumps(chosen, indent=1) + "\n")
        return 0
    lines = _table(found) if variant is None else _reasons(found, variant)
    sys.stdout.writelines(line.rstrip() + "\n" for line in lines)
    return 0


def _plugins(pattern: str) -> Found:
    """Backbones that other packages registered; none of them is imported."""
    from bench.models.backbones import REGISTRY

    return {
        name: {
            variant: support.Row(name, entry.source, "plugin", variant, support.NOT_MEASURED)
            for variant in arches.VARIANTS
        }
        for name, entry in sorted(REGISTRY.entries.items())
        if entry.source != "built in" and fnmatchcase(name, pattern)
    }


def _suggestion(pattern: str) -> str:
    """A pattern that fits: the given one somewhere inside names, else one for the nearest name."""
    core = pattern.strip("*")
    for wider in (f"*/{core}*", f"*{core}*"):
        if core and support.matching(wider):
            return f"; did you mean '{wider}'?"
    bare = {name.rpartition("/")[2]: name for name in support.table()}
    near = get_close_matches(core.rpartition("/")[2], bare, n=1, cutoff=0.5)
    return f"; did you mean '{bare[near[0]]}'?" if near else "; try 'timm/*' or 'torchvision/*'"


def _table(found: Found) -> Iterator[str]:
    """A line for each name, with a mark for each variant."""
    marks = {name: [_mark(rows.get(v)) for v in arches.VARIANTS] for name, rows in found.items()}
    heads = list(arches.VARIANTS)
    widths = [max(map(len, column)) for column in zip(heads, *marks.values(), strict=True)]
    room = COLUMNS - sum(width + 2 for width in widths)
    wide = min(room, max(map(len, found)))
    yield _line("", heads, wide, widths)
    for name, texts in marks.items():
        if len(name) > wide:
            yield name
        yield _line(name if len(name) <= wide else "", texts, wide, widths)
    yield ""
    yield LEGEND
    yield _total(found, heads)


def _line(name: str, texts: Sequence[str], wide: int, widths: Sequence[int]) -> str:
    cells = (f"{text:<{width}}" for text, width in zip(texts, widths, strict=True))
    return "  ".join([f"{name:<{wide}}", *cells])


def _mark(row: support.Row | None) -> str:
    """`ok 1.02/1.16`, `native ...`, `no: width` or `?`, at most MARK letters."""
    if row is None:
        return "?"
    if row.status == support.UNSUPPORTED:
        text = f"no: {row.short_reason}"
        while len(text) > MARK and " " in text:
            text = text.rpartition(" ")[0]
        return text[:MARK]
    return f"{MARKS[row.status]} {_numbers(row)}".rstrip()


def _numbers(row: support.Row) -> str:
    """`1.02/1.16`: parameters and FLOPs over those of bu, where they are known."""
    if row.variant == "bu" or row.parameters is None or row.flops is None:
        return ""
    return "/".join(
        f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f}" for value in (row.parameters, row.flops)
    )


def _reasons(found: Found, variant: str) -> Iterator[str]:
    """A line for each name with the mark of one variant and, where it is not ok, the reason."""
    wide = max(map(len, found))
    for name, rows in found.items():
        row = rows.get(variant) or support.Row(name, "", "", variant, support.NOT_MEASURED)
        line = f"{name:<{wide}}  {MARKS.get(row.status, 'no'):<6}  {_numbers(row):<9}  {row.reason}"
        yield line if len(line) <= COLUMNS else line[: COLUMNS - 1] + "…"
    yield ""
    yield LEGEND
    yield _total(found, [variant])


def _total(found: Found, variants: Sequence[str]) -> str:
    counts = (
        f"{variant} {sum(variant in rows and rows[variant].runs for rows in found.values())}"
        for variant in variants
    )
    return f"runs: {', '.join(counts)} of {len(found)}"
