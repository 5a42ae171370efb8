"""The tables of a leaderboard as plain data, the same for every output format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from leaderboard.blocks import Cell
from leaderboard.numbers.ranking import Spread, spread, unbeaten
from leaderboard.numbers.summary import Key, by_seed, summarize
from leaderboard.quantity import Shown, infinite_for, show
from leaderboard.results import MetricInfo, Results
from leaderboard.text import capital, one_line, words

# Reading order of a table: how good, how robust, whatever else there is, at what cost.
COST = "efficiency"
_FAMILIES = {"accuracy": 0, "robustness": 1, COST: 3}
_OTHER = 2
_WIDEST = 9  # columns of numbers that a page shows without scrolling
_ARROWS = {"higher": "↑", "lower": "↓", "neither": ""}
_TRAIN = "train"  # the cell that all others of a net stand on


class Net(NamedTuple):
    """One line of a table: a network, over all its seeds."""

    dataset: str
    backbone: str
    variant: str


@dataclass(frozen=True, slots=True)
class Column:
    """A headline metric and the title it has on this board."""

    measure: str
    metric: str
    title: str
    info: MetricInfo

    @property
    def heading(self) -> str:
        """Title, direction and unit: "Top-1 ↑ (%)"."""
        unit = one_line(self.info.unit)
        said = unit.lower() in self.title.lower().split() or unit.lower() == self.title.lower()
        # Bytes carry their unit in each cell.
        ending = f"({unit})" if unit and not said and self.info.scale != "bytes" else ""
        title = capital(self.title)
        return " ".join(part for part in (title, _ARROWS[self.info.better], ending) if part)

    @property
    def is_exact(self) -> bool:
        """Whether seeds that are equal are no chance: those of costs, which are counted."""
        return self.family == COST

    @property
    def family(self) -> str:
        """The measure without its part after the slash: all attacks are "robustness"."""
        return self.measure.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Line:
    """A network's cells. `seeds` is like "3", or "2 of 3" where some gave no number at all;
    `measured` is the first of these."""

    net: Net
    seeds: str
    cells: tuple[Cell, ...]
    measured: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Some columns of a data set; `title` is empty where one table holds them all."""

    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A data set and its tables."""

    dataset: str
    tables: tuple[Table, ...]

    @property
    def has_gaps(self) -> bool:
        """Whether some cell is failed or missing."""
        cells = (cell for table in self.tables for line in table.lines for cell in line.cells)
        return any(cell.state != "value" for cell in cells)

    @property
    def has_infinities(self) -> bool:
        """Whether some number is infinite for some of its seeds only."""
        cells = (cell for table in self.tables for line in table.lines for cell in line.cells)
        return any(cell.text.startswith(infinite_for()) for cell in cells)


def sections(results: Results) -> list[Section]:
    """A section for each data set, in the order of the results."""
    ledger = _Ledger(results)
    order: dict[str, list[Net]] = {}
    for net in ledger.nets:
        order.setdefault(net.dataset, []).append(net)
    return [
        Section(name, tuple(_tables(ledger, nets, _columns(results, ledger, nets))))
        for name, nets in order.items()
    ]


class _Ledger:
    """Which seeds of which net have which values, and which failed or were never reached."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self.values = by_seed(results.rows)
        self.measured: dict[tuple[Net, str], set[int]] = {}
        self.failed: dict[tuple[Net, str], set[int]] = {}
        self.missing: dict[tuple[Net, str], set[int]] = {}
        for key, seeds in self.values.items():
            self.measured.setdefault((Net(*key[:3]), key.measure), set()).update(seeds)
        for bad in results.failures:
            net = Net(bad.dataset, bad.backbone, bad.variant)
            self.failed.setdefault((net, bad.measure), set()).add(bad.seed)
        for gone in results.missing:
            net = Net(gone.dataset, gone.backbone, gone.variant)
            self.missing.setdefault((net, gone.measure), set()).add(gone.seed)
        self.got: dict[Net, set[int]] = {}
        self.planned: dict[Net, set[int]] = {}
        for book in (self.measured, self.failed, self.missing):
            for (net, _), found_seeds in book.items():
                self.planned.setdefault(net, set()).update(found_seeds)
                if book is self.measured:
                    self.got.setdefault(net, set()).update(found_seeds)
        place = {Net(*net): number for number, net in enumerate(results.nets)}
        self.nets = sorted(self.planned, key=lambda net: place.get(net, len(place)))

    def concerns(self, nets: Iterable[Net], measure: str, metric: str) -> bool:
        """Whether the metric was measured, or its measure should have been, on one of `nets`."""
        return any(
            Key(*net, measure, metric) in self.values
            or (net, measure) in self.failed
            or (net, measure) in self.missing
            for net in nets
        )

    def lost_measures(self, nets: Sequence[Net]) -> list[str]:
        """The measures of which some cell of `nets` failed or was never reached."""
        wanted, books = set(nets), (*self.failed, *self.missing)
        return list(dict.fromkeys(measure for net, measure in books if net in wanted))

    def lost(self, net: Net, measure: str) -> tuple[set[int], set[int]]:
        """The seeds that failed and those never reached."""
        failed = self.failed.get((net, measure), set())
        missing = self.missing.get((net, measure), set())
        # What was planned and never reached, for the training failed, failed with it.
        return failed | (missing & self.failed.get((net, _TRAIN), set())), missing

    def is_flagged(self, net: Net, column: Column) -> bool:
        """Whether something speaks against the network's number."""
        from leaderboard.numbers.doubts import doubts  # numpy loads only where a page is made

        return bool(doubts(self._results, Key(*net, column.measure, column.metric)))

    def seeds(self, net: Net) -> str:
        """How many seeds gave a number, and of how many where that is fewer."""
        got, planned = len(self.got.get(net, ())), len(self.planned[net])
        return str(got) if got == planned else f"{got} of {planned}"


def _columns(results: Results, ledger: _Ledger, nets: Sequence[Net]) -> list[Column]:
    found = [
        Column(measure, metric, one_line(info.title) or words(metric), info)
        for (measure, metric), info in results.metrics.items()
        if info.headline and ledger.concerns(nets, measure, metric)
    ]
    # A measure that never came to a number has no metrics, but a column to be missed in.
    known = {measure for measure, _ in results.metrics} | {_TRAIN}
    for measure in ledger.lost_measures(nets):
        if measure not in known:
            found.append(Column(measure, "", words(measure.rpartition("/")[2]), MetricInfo("")))
    found.sort(key=lambda column: _FAMILIES.get(column.family, _OTHER))
    # Those with a part after the slash are told apart by it.
    count = Counter(column.title for column in found if "/" not in column.measure)
    return [replace(column, title=_told_apart(column, count)) for column in found]


def _told_apart(column: Column, count: Counter[str]) -> str:
    """The column's title, after its attack's name: "Gaussian blur: median L2"."""
    own = words(column.measure.rpartition("/")[2])
    repeated = "/" in column.measure or count[column.title] > 1
    named = own.lower() in column.title.lower()
    return f"{own}: {column.title}" if repeated and not named else column.title


def _tables(ledger: _Ledger, nets: Sequence[Net], columns: Sequence[Column]) -> Iterable[Table]:
    grid = [_cells(ledger, nets, column) for column in columns]
    for title, picked in _groups(columns):
        lines = tuple(
            Line(
                net,
                ledger.seeds(net),
                tuple(grid[index][row] for index in picked),
                len(ledger.got.get(net, ())),
            )
            for row, net in enumerate(nets)
        )
        yield Table(title, tuple(columns[index] for index in picked), lines)


def _groups(columns: Sequence[Column]) -> list[tuple[str, Sequence[int]]]:
    """Column numbers of each table: one for all; where that is too wide, the largest family
    (most often the attacks) moves out, and what is still too wide is cut into even parts."""
    everything = range(len(columns))
    if len(columns) <= _WIDEST:
        return [("", everything)]
    largest = Counter(column.family for column in columns).most_common(1)[0][0]
    rest = [index for index in everything if columns[index].family != largest]
    own = [index for index in everything if columns[index].family == largest]
    tables: list[tuple[str, Sequence[int]]] = []
    for title, picked in (("Overview", rest), (words(largest), own)):
        parts = -(-len(picked) // _WIDEST)
        for part in range(parts):
            start, end = (len(picked) * cut // parts for cut in (part, part + 1))
            number = f" ({part + 1} of {parts})" if parts > 1 else ""
            tables.append((title + number, picked[start:end]))
    return tables


def _cells(ledger: _Ledger, nets: Sequence[Net], column: Column) -> list[Cell]:
    """A column from top to bottom. The best is taken on the values as displayed, ties and all;
    what its interval over seeds does not set apart from it counts as well, a single seed never. A
    flagged number is not marked, nor is the next best in its place."""
    pairs = [_cell(ledger, net, column) for net in nets]
    means = [shown.mean for _, shown in pairs if shown is not None]
    if len(means) < 2 or column.info.better == "neither":  # nothing to be better than
        return [cell for cell, _ in pairs]
    best = max(means) if column.info.better == "higher" else min(means)
    spreads = [
        _spread([*ledger.values[Key(*net, column.measure, column.metric)].values()], column)
        for net, (_, shown) in zip(nets, pairs, strict=True)
        if shown is not None
    ]
    found = unbeaten(spreads, column.info.better)
    told = any(found)
    leads = iter(
        [
            leading or (told and mean == best and own.low is not None)
            for leading, mean, own in zip(found, means, spreads, strict=True)
        ]
    )
    return [
        replace(cell, best=shown is not None and next(leads) and not ledger.is_flagged(net, column))
        for net, (cell, shown) in zip(nets, pairs, strict=True)
    ]


def _spread(values: Sequence[float], column: Column) -> Spread:
    """Over seeds; costs are measured on one of them, for no weight changes them."""
    found = spread(values, exact=column.is_exact)
    if column.family == COST and found.low is None:
        return Spread(found.mean, found.mean, found.mean)
    return found


def _cell(ledger: _Ledger, net: Net, column: Column) -> tuple[Cell, Shown | None]:
    failed, missing = ledger.lost(net, column.measure)
    seeds = ledger.values.get(Key(*net, column.measure, column.metric))
    if not seeds:
        return (Cell("failed", "failed") if failed else Cell("–", "missing")), None
    shown = show(summarize([*seeds.values()]), column.info)
    # A mean over fewer seeds than planned says so; a measure of one's own may leave numbers out.
    wanted = failed | missing | ledger.measured[net, column.measure]
    note = f" (n = {len(seeds)})" if wanted - seeds.keys() else ""
    return Cell(shown.text + note), shown
