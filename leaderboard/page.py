"""What the Markdown and the HTML page have in common: what is on them, in order."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from leaderboard.blocks import Block, Bullets, Cell, Figure, Grid, Heading, Text
from leaderboard.kept import Kept, fingerprint
from leaderboard.numbers.board import Section, Table, sections
from leaderboard.quantity import SOME_INFINITE
from leaderboard.results import Missing, Results
from leaderboard.text import capital, said, slug

if TYPE_CHECKING:
    from leaderboard.numbers.flags import Flag
    from leaderboard.numbers.robustness import Attacks
    from leaderboard.sections.drawn import Order

NOTHING = "No results yet."
LEGEND = (
    "Values are mean ± sample standard deviation over seeds. ↑: higher is better, ↓: lower is "
    "better; bold is the best of a column within its data set, and every value whose interval over "
    "seeds overlaps that of the best. A network with one measured seed is not bold, and if the "
    "best is such a network, nothing is; costs, which do not depend on seeds, are an exception."
)
GAPS = (
    "failed: tried, and ended in an error; –: not measured. Failed cells and those never reached "
    "are listed at the end of the page."
)
_LISTED = 20  # names of missing cells: a list of thousands tells no more than its length
_MANY = 10_000  # rows
_SIDE_BY_SIDE = 4  # data sets in one figure


def blocks(results: Results, kept: Kept, tables: bool = True) -> list[Block]:
    """Everything between the page's head and what failed; empty without results. Without `tables`,
    those of each data set's headline metrics and what is said of them are left to the caller."""
    with _results_stay(results):
        return _blocks(results, kept, tables)


@contextmanager
def _results_stay(results: Results) -> Iterator[None]:
    """Look for garbage among what is made within, not among a hundred thousand rows each time."""
    # The second question takes as long as it has objects to count.
    if len(results.rows) < _MANY or gc.get_freeze_count():  # somebody else's
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _blocks(results: Results, kept: Kept, tables: bool) -> list[Block]:
    # Numerics and drawing load only where a page is made.
    from leaderboard.claims.page import claim_blocks
    from leaderboard.numbers.flags import flags
    from leaderboard.numbers.robustness import attacks_of
    from leaderboard.sections.best import best_blocks
    from leaderboard.sections.drawn import order
    from leaderboard.sections.overview import overview_blocks
    from leaderboard.sections.overview_figures import across_figures
    from leaderboard.sections.tuning import tuning_blocks
    from leaderboard.sections.variants import variant_blocks

    taken: set[str] = set()
    parts = sections(results)
    names = [section.dataset for section in parts]
    attacks = {name: attacks_of(results, name, kept) for name in names}
    raised = {name: flags(results, name) for name in names}
    orders = {section.dataset: order(results, section) for section in parts}
    found = [*overview_blocks(results, parts, attacks, raised), *claim_blocks(results)]
    found += variant_blocks(results)
    found += best_blocks(results)
    found += across_figures(results, parts, taken, kept)
    for section in parts:
        name = section.dataset
        found.append(Heading(2, name))
        if tables:
            found += _board(section, raised[name])
        found += _section(results, name, attacks[name], raised[name], orders[name], taken, kept)
    return [*found, *tuning_blocks(results), *_across(results, orders, taken, kept)]


def listed(missing: Sequence[str]) -> tuple[Sequence[str], str]:
    """The names of missing cells to print, and what to say of the rest (nothing, if none)."""
    rest = len(missing) - _LISTED
    return missing[:_LISTED], f"… and {rest} more" if rest > 0 else ""


def gone_by_reason(missing: Iterable[Missing]) -> dict[str, list[str]]:
    """The names of missing cells by why they are: "never reached", "not selected (--only)"."""
    found: dict[str, list[str]] = {}
    for gone in missing:
        found.setdefault(gone.reason, []).append(gone.cell)
    return dict(sorted(found.items()))


def heading(key: str) -> str:
    """A provenance key as a heading."""
    return capital(key.replace("_", " "))


def _board(section: Section, raised: Sequence[Flag]) -> Iterator[Block]:
    """A data set's tables of headline metrics."""
    for number, table in enumerate(section.tables):
        if table.title:
            yield Heading(3, table.title)
        yield _grid(table, [] if number else raised)
    if section.has_infinities:
        yield Text(SOME_INFINITE)
    if section.has_gaps:
        yield Text(GAPS)


def _section(
    results: Results,
    dataset: str,
    attacks: Attacks,
    raised: Sequence[Flag],
    order: Order,
    taken: set[str],
    kept: Kept,
) -> Iterator[Block]:
    from leaderboard.numbers.batches import cost_notes
    from leaderboard.sections.corruptions import corruption_blocks
    from leaderboard.sections.cost import cost_blocks
    from leaderboard.sections.faithfulness import faithfulness_blocks
    from leaderboard.sections.localization import localization_blocks
    from leaderboard.sections.memory_depth import memory_blocks
    from leaderboard.sections.robustness import robustness_blocks
    from leaderboard.sections.training import training_blocks

    notes = cost_notes(results, dataset)
    if notes:
        yield Bullets(tuple(("", note) for note in notes))
    yield from robustness_blocks(results, dataset, attacks, raised, order, taken, kept)
    yield from corruption_blocks(results, dataset, order, taken, kept)
    yield from localization_blocks(results, dataset, taken, kept)
    yield from faithfulness_blocks(results, dataset, taken, kept)
    yield from training_blocks(results, dataset, order, taken, kept)
    yield from cost_blocks(results, dataset)
    yield from memory_blocks(results, dataset, order, taken, kept)


def _grid(table: Table, raised: Sequence[Flag]) -> Grid:
    """The board's table, with a column for flags where there are any."""
    from leaderboard.numbers.flags import badges_of

    lines = []
    for line in table.lines:
        cells = [Cell(line.net.backbone), Cell(line.net.variant), Cell(line.seeds), *line.cells]
        if raised:
            names = ", ".join(badges_of(raised, (line.net.backbone, line.net.variant)))
            cells.append(Cell(names, "flag") if names else Cell("–", "missing"))
        lines.append(tuple(cells))
    return Grid(
        table.title or "Results",
        ("Backbone", "Variant"),
        ("Seeds (n)", *(column.heading for column in table.columns)),
        tuple(lines),
        ("Flags",) if raised else (),
    )


def _across(
    results: Results, orders: Mapping[str, Order], taken: set[str], kept: Kept
) -> Iterator[Block]:
    """All attacks on all data sets in one figure, as in the paper; nothing for a single one."""
    datasets = list(dict.fromkeys(sample.dataset for sample in results.samples))
    if len(datasets) < 2:
        return
    from leaderboard.figures.loss_curves import grid_figure
    from leaderboard.numbers.curves import caption, panels
    from leaderboard.sections.drawn import together

    yield Heading(2, "Attacks on all data sets")
    for start in range(0, len(datasets), _SIDE_BY_SIDE):
        some = datasets[start : start + _SIDE_BY_SIDE]
        shown = [sample for sample in results.samples if sample.dataset in some]
        pick = together([orders[name] for name in some]).pick(
            (s.backbone, s.variant) for s in shown
        )
        columns = {name: panels(shown, name, results.attacks, pick.nets) for name in some}
        attacks = sorted(results.attacks.items())
        depends = ("grid figure", some, fingerprint(shown), attacks, pick.nets)
        yield Figure(
            slug("attacks-on-all-data-sets", taken),
            kept.figure(depends, lambda columns=columns: grid_figure(columns)),  # type: ignore[misc]
            f"Accuracy loss against L₂ size of the perturbation, on {', '.join(some)}",
            said(
                pick.note,
                "A column for each data set, a row for each attack.",
                caption([panel for found in columns.values() for panel in found]),
            ),
        )
