"""The HTML page's table of results: one line for each network on each data set, all headline
metrics side by side, with the values of each seed for the script that sorts and explains it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from leaderboard.blocks import Cell
from leaderboard.numbers.board import Column, Net, sections
from leaderboard.numbers.summary import Key, by_seed
from leaderboard.results import Results
from leaderboard.statistics.uncertainty import student
from leaderboard.text import html_text, one_line, words

_TRAIN = "train"  # a failed training is the reason of all that its network lacks
_MISSING = Cell("–", "missing")
_ERROR = 300  # characters of an error's text
_EXACT = 2**53  # whole numbers up to here are exact as float64

Place = tuple[str, str]  # measure and metric


@dataclass(frozen=True, slots=True)
class BoardLine:
    """One network on one data set: its seeds ("3", "2 of 3"), cells by metric, flags."""

    net: Net
    seeds: str
    cells: Mapping[Place, Cell]
    flags: tuple[str, ...]


class ResultsBoard:
    """What the table says, and the data behind it."""

    def __init__(self, results: Results) -> None:
        self._results = results
        columns: dict[Place, Column] = {}
        found: dict[Net, tuple[str, dict[Place, Cell]]] = {}
        self.datasets: list[str] = []
        self.has_gaps = self.has_infinities = False
        for section in sections(results):
            self.datasets.append(section.dataset)
            self.has_gaps |= section.has_gaps
            self.has_infinities |= section.has_infinities
            for table in section.tables:
                for column in table.columns:
                    columns.setdefault((column.measure, column.metric), column)
                for line in table.lines:
                    _, cells = found.setdefault(line.net, (line.seeds, {}))
                    places = ((column.measure, column.metric) for column in table.columns)
                    cells.update(zip(places, line.cells, strict=True))
        raised = _flags(results, self.datasets)
        self.columns = _in_order(columns)
        self.lines = [
            BoardLine(net, seeds, cells, raised.get(net, ()))
            for net, (seeds, cells) in found.items()
        ]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The headings of the columns that name a line; a lone data set is in the caption."""
        several = len(self.datasets) > 1
        return ("Backbone", "Variant", *(("Data set",) if several else ()))

    @cached_property
    def flagged(self) -> bool:
        """Whether any network has a flag."""
        return any(line.flags for line in self.lines)

    @cached_property
    def caption(self) -> str:
        """What the table is of."""
        count = len(self.lines)
        networks = f"{count} network{'s' if count != 1 else ''}"
        if len(self.datasets) == 1:
            return f"{networks} on {one_line(self.datasets[0])}"
        return f"{networks} on {len(self.datasets)} data sets, a line for each network and data set"

    def html(self) -> Iterator[str]:
        """The table, complete without script."""
        yield '<table id="board" class="board">'
        yield f"<caption><span>{html_text(self.caption)}</span></caption>\n<thead>\n<tr>"
        kinds = [*("name" for _ in self.names), "number", *("number" for _ in self.columns)]
        titles = [*self.names, "Seeds (n)", *(column.heading for column in self.columns)]
        if self.flagged:
            kinds.append("remark")
            titles.append("Flags")
        for kind, title in zip(kinds, titles, strict=True):
            yield f'<th scope="col" class="{kind}">{html_text(title)}</th>'
        yield "</tr>\n</thead>\n<tbody>"
        for line in self.lines:
            yield "<tr>" + "".join(self._line(line)) + "</tr>"
        yield "</tbody>\n</table>"

    def _line(self, line: BoardLine) -> Iterator[str]:
        net = line.net
        for name in (net.backbone, net.variant, net.dataset)[: len(self.names)]:
            yield f'<th scope="row">{html_text(name)}</th>'
        yield f'<td class="number">{html_text(line.seeds)}</td>'
        for column in self.columns:
            yield cell_html("number", line.cells.get((column.measure, column.metric), _MISSING))
        if self.flagged:
            names = ", ".join(line.flags)
            yield cell_html("remark", Cell(names, "flag") if names else _MISSING)

    def data(self) -> dict[str, object]:
        """For the script, in the order of columns and lines: how each column is sorted and shown;
        each line's values by seed, and what is lost of it, by number of metric and seed: the error
        of what failed, null for what was never reached, false for what was not selected. "t" is
        the 97.5 % quantile of Student's t with n - 1 degrees of freedom, by n."""
        kinds: list[dict[str, object]] = [
            *(_words("name", name) for name in self.names),
            _words("seeds", "Seeds (n)"),
            *map(_column, self.columns),
            *([_words("flags", "Flags")] if self.flagged else []),
        ]
        values = by_seed(self._results.rows)
        lost = self._lost()
        lines = [self._behind(line, values, lost) for line in self.lines]
        counts = {len(seeds) for seeds in values.values() if len(seeds) > 1}
        return {
            "dataset": one_line(self.datasets[0]) if len(self.datasets) == 1 else None,
            "columns": kinds,
            "lines": lines,
            "t": {str(count): _t(count) for count in sorted(counts)},
        }

    def _behind(
        self,
        line: BoardLine,
        values: Mapping[Key, Mapping[int, float]],
        lost: Mapping[tuple[Net, str], Mapping[int, str | bool | None]],
    ) -> dict[str, object]:
        measured = [
            values.get(Key(*line.net, column.measure, column.metric), {}) for column in self.columns
        ]
        seeds = sorted({seed for found in measured for seed in found})
        gaps: dict[str, dict[str, str | bool | None]] = {}
        whole = lost.get((line.net, _TRAIN), {})
        for number, (column, found) in enumerate(zip(self.columns, measured, strict=True)):
            gone = {**whole, **lost.get((line.net, column.measure), {})}
            left = {str(seed): gone[seed] for seed in sorted(gone) if seed not in found}
            if left:
                gaps[str(number)] = left
        rows = [[_number(found.get(seed)) for seed in seeds] for found in measured]
        return {"seeds": seeds, "values": rows, **({"lost": gaps} if gaps else {})}

    def _lost(self) -> dict[tuple[Net, str], dict[int, str | bool | None]]:
        found: dict[tuple[Net, str], dict[int, str | bool | None]] = {}
        for gone in self._results.missing:
            net = Net(gone.dataset, gone.backbone, gone.variant)
            found.setdefault((net, gone.measure), {})[gone.seed] = None if gone.selected else False
        for bad in self._results.failures:
            net = Net(bad.dataset, bad.backbone, bad.variant)
            found.setdefault((net, bad.measure), {})[bad.seed] = one_line(bad.error, _ERROR)
        return found


def cell_html(kind: str, cell: Cell) -> str:
    """A table cell of any of the page's tables."""
    text = html_text(cell.text)
    if kind == "name":
        return f'<th scope="row">{text}</th>'
    if cell.state == "flag":
        return f'<td class="{kind}"><span class="flag">⚠ {text}</span></td>'
    style = kind if cell.state == "value" else f"{kind} {cell.state}"
    return f'<td class="{style}">{f"<strong>{text}</strong>" if cell.best else text}</td>'


def _flags(results: Results, datasets: Sequence[str]) -> dict[Net, tuple[str, ...]]:
    """The names of each network's badges, in the order of `BADGES`."""
    from leaderboard.numbers.flags import BADGES, flags

    found: dict[Net, set[str]] = {}
    for dataset in datasets:
        for flag in flags(results, dataset):
            found.setdefault(Net(dataset, flag.backbone, flag.variant), set()).add(flag.badge)
    return {
        net: tuple(badge.name for key, badge in BADGES.items() if key in own)
        for net, own in found.items()
    }


def _in_order(columns: Mapping[Place, Column]) -> list[Column]:
    """Families of measures stay together, in the order in which they first come; costs are last,
    as in a table that is not cut into several."""
    families = list(dict.fromkeys(column.family for column in columns.values()))
    families.sort(key=lambda family: family == "efficiency")
    return sorted(columns.values(), key=lambda column: families.index(column.family))


def _words(kind: str, heading: str) -> dict[str, object]:
    return {"kind": kind, "heading": heading}


def _column(column: Column) -> dict[str, object]:
    info = column.info
    return {
        "kind": "metric",
        "heading": column.heading,
        "family": words(column.family),
        "unit": one_line(info.unit),
        "better": info.better,
        "decimals": info.decimals if info.scale == "plain" else None,
    }


def _number(value: float | None) -> float | str | None:
    """As JSON has it, to nine digits; whole numbers exactly."""
    if value is None:
        return None
    if math.isinf(value):
        return "inf"
    if value == int(value) and abs(value) < _EXACT:
        return int(value)
    return float(f"{value:.9g}")


def _t(count: int) -> float:
    return round(student(count - 1), 6)
