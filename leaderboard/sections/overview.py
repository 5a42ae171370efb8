"""The overview at the top of a page: every network in one line, with its rank.

Accuracy with the interval over seeds, the places that it leaves open, one figure for each family
of attacks, localization, and cost against the bottom-up network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from leaderboard.blocks import Block, Cell, Grid, Heading, State, Text
from leaderboard.numbers.board import COST, Column, Net, Section
from leaderboard.numbers.doubts import doubts
from leaderboard.numbers.flags import Flag, badges_of
from leaderboard.numbers.ranking import Spread, spread
from leaderboard.numbers.robustness import Attacks, Estimate
from leaderboard.numbers.standings import Standing, standings
from leaderboard.numbers.summary import BASELINE, Key, by_seed, summarize
from leaderboard.quantity import show
from leaderboard.results import MetricInfo, Results
from leaderboard.rounding import fixed
from leaderboard.text import capital, said

# Cost is told as a multiple of the bottom-up network's.
_COSTS = {"flops": "FLOPs", "train_memory": "training memory"}
_PERCENT = MetricInfo("", "%", decimals=1)
_GONE = Cell("–", "missing")
_FEWER = " (n = "
# Why a network has no number to be ranked by.
_WITHOUT: dict[State, str] = {
    "failed": "failed: its cells ended in an error, as listed at the end of the page, and such a "
    "network has no rank; its other figures are those that were measured.",
    "missing": "–: not measured, or nothing to compare with.",
}


def overview_blocks(
    results: Results,
    found: Sequence[Section],
    attacks: Mapping[str, Attacks],
    raised: Mapping[str, Sequence[Flag]],
) -> Iterator[Block]:
    """Heading, table and how to read it; nothing where no network has a number to be ranked by."""
    stood = {section.dataset: standings(results, section) for section in found}
    headings = _headings(stood)
    if not headings:
        return
    families = {name: _families(results, attacks[name]) for name in stood}
    names = list(dict.fromkeys(f for of in families.values() for f in of))
    aims = {name: _localization(results, section) for name, section in _by_name(found).items()}
    costs = [(metric, title) for metric, title in _COSTS.items() if _measured(results, metric)]
    any_aim = next((column for column in aims.values() if column), None)
    flagged = any(raised.values())
    # Where networks are told by what they cost alone, as a rule from one seed, nothing is ranked.
    placed = any(one.rank for _, ranked in stood.values() for one in ranked)
    bare = _is_bare(stood)
    lines = []
    for dataset, (column, ranked) in stood.items():
        for one in ranked:
            assert column is not None  # noqa: S101
            cells = [Cell(dataset), Cell(one.net.backbone), Cell(one.net.variant)]
            cells += [] if bare else [Cell(one.rank.text if one.rank else "–")]
            cells += [Cell(str(one.seeds)), _accuracy(results, one, column)]
            cells += [] if bare else [Cell(_interval(one.spread, column.info))]
            cells += [_attacked(families[dataset].get(f, {}).get(one.net[1:]), one) for f in names]
            cells += [_aim(results, one, aims[dataset])] if any_aim else []
            cells += [_ratio(results, one.net, metric) for metric, _ in costs]
            cells += [_flags(raised.get(dataset, ()), one.net)] if flagged else []
            lines.append(tuple(cells))
    yield Heading(2, "Overview")
    yield Grid(
        "Overview",
        ("Data set", "Backbone", "Variant"),
        (
            *([] if bare else ["Rank"]),
            "Seeds (n)",
            headings[0] if len(headings) == 1 else "Result",
            *([] if bare else ["95 % interval"]),
            *(f"{capital(family)}: accuracy ↑ (%)" for family in names),
            *([any_aim.heading] if any_aim else []),
            *(f"{capital(title)} ↓ (× {BASELINE})" for _, title in costs),
        ),
        tuple(lines),
        ("Flags",) if flagged else (),
    )
    fewer = any(_FEWER in cell.text for line in lines for cell in line[3:])
    equal = _equal_by_chance(results)
    text = _legend([] if bare else headings, placed, names, bool(costs), fewer, equal)
    text = said(text, _without(stood))
    if text:
        yield Text(text)


Stood = Mapping[str, tuple[Column | None, Sequence[Standing]]]  # by data set


def _headings(stood: Stood) -> list[str]:
    """Of the columns that some network has a number in."""
    known = (c for c, ranked in stood.values() if c and any(one.spread for one in ranked))
    return list(dict.fromkeys(column.heading for column in known))


def _is_bare(stood: Stood) -> bool:
    """Whether networks are told by what they cost alone, and without intervals."""
    return all(
        column.family == COST
        and all(not one.rank and (not one.spread or one.spread.low is None) for one in ranked)
        for column, ranked in stood.values()
        if column
    )


def _without(stood: Stood) -> str:
    """Why some networks have no number to be ranked by."""
    states = {one.cell.state for _, ranked in stood.values() for one in ranked if not one.spread}
    return said(*(text for state, text in _WITHOUT.items() if state in states))


def _legend(
    headings: Sequence[str],
    placed: bool,
    families: Sequence[str],
    costs: bool,
    fewer: bool,
    equal: str,
) -> str:
    return said(
        _on_ranks(headings) if placed else "",
        "Nothing is ranked: that takes two networks with an interval, Student's t over seeds, and "
        "one seed has none (–)."
        if headings and not placed
        else "",
        "Seeds that are equal by chance, as those of few images often are, tell nothing of others: "
        f"such a {equal} has no interval and no rank (–), counts in no other's, is not bold, and "
        "if the best is such a number, nothing is."
        if equal
        else "",
        "Under attack, figures are the mean accuracy up to the L₂ size B at which each "
        "attack is summed up, over all attacks of the family; in brackets the difference to "
        f"{BASELINE} in points, over the seeds that both have. Each attack's own figures, with "
        "intervals, stand below."
        if families
        else "",
        "(n = 1), (n = 2), …: a mean over fewer seeds than the line's." if fewer else "",
        f"Costs are multiples of the {BASELINE} network of the same backbone." if costs else "",
    )


def _equal_by_chance(results: Results) -> str:
    """What has seeds that do not differ, of the numbers that have a best; empty if none has."""
    ranked = {
        place
        for place, info in results.metrics.items()
        if info.headline
        and info.better != "neither"
        and not Column(*place, info.title, info).is_exact
    }
    several = (
        (spread([*seeds.values()]), results.metrics[key[3:]].unit)
        for key, seeds in by_seed(results.rows).items()
        if key[3:] in ranked and len(seeds) > 1
    )
    units = {unit for one, unit in several if one.low is None and math.isfinite(one.mean)}
    if not units:
        return ""
    return "percentage" if units == {"%"} else "number"


def _on_ranks(headings: Sequence[str]) -> str:
    return (
        f"Ranked within a data set by {' or '.join(headings)}. The interval is Student's t over "
        "seeds; a rank such as 1–3 means that intervals overlap, so that seeds alone do not tell "
        "these networks apart. Ranks are careful for each pair of networks, not for a whole table: "
        "of 16 networks that are all alike, with 4 seeds each, chance sets some two apart in more "
        "than a quarter of tables. Where one seed was measured there is no interval and no rank "
        "(–), and other ranks do not count that network. Bold, in the column ranked by alone, are "
        "all whose interval overlaps that of the best, none where the best has one measured seed."
    )


def _by_name(found: Sequence[Section]) -> dict[str, Section]:
    return {section.dataset: section for section in found}


@dataclass(frozen=True, slots=True)
class _Mean:
    """A network's mean accuracy up to B over a family's attacks, in percent; its difference to the
    bottom-up network, paired by seed, in points; the seeds that every attack has at least."""

    value: float
    gap: float | None
    seeds: int


def _families(results: Results, attacks: Attacks) -> dict[str, dict[tuple[str, str], _Mean]]:
    """Family to (backbone, variant) to its mean."""
    groups: dict[str, list[dict[tuple[str, str], Estimate]]] = {}
    for summary in attacks.summaries:
        info = results.attacks.get(summary.attack)
        family = (info.family if info else "") or "attacks"
        found = {(one.backbone, one.variant): one for one in summary.estimates}
        groups.setdefault(family, []).append(found)
    return {family: _means(attacks) for family, attacks in groups.items()}


def _means(attacks: Sequence[Mapping[tuple[str, str], Estimate]]) -> dict[tuple[str, str], _Mean]:
    # A network that lacks an attack of the family has a mean that cannot be compared.
    nets = set.intersection(*(set(estimates) for estimates in attacks))
    found = {}
    for net in nets:
        own = [estimates[net] for estimates in attacks]
        gaps = [one.against.value for one in own if one.against]
        found[net] = _Mean(
            sum(one.area.value for one in own) / len(own),
            sum(gaps) / len(gaps) if len(gaps) == len(own) else None,
            min(one.seeds for one in own),
        )
    return found


def _attacked(mean: _Mean | None, one: Standing) -> Cell:
    if mean is None:
        return _GONE
    gap = "" if mean.gap is None else f" ({fixed(mean.gap, 1, sign=True)})"
    return Cell(f"{fixed(mean.value, 1)}{gap}{_of(mean.seeds, one)}")


def _of(seeds: int, one: Standing) -> str:
    """Of how many seeds a figure is, where these are fewer than its line says."""
    return f"{_FEWER}{seeds})" if seeds < one.seeds else ""


def _localization(results: Results, section: Section) -> Column | None:
    """Precision, which the paper's claim is about; without it the first there is."""
    columns = [column for table in section.tables for column in table.columns]
    found = [c for c in columns if c.family == "localization" and c.metric]
    return next((c for c in found if c.metric == "precision"), found[0] if found else None)


def _aim(results: Results, one: Standing, column: Column | None) -> Cell:
    seeds = column and by_seed(results.rows).get(Key(*one.net, column.measure, column.metric))
    if not (column and seeds):
        return _GONE
    text = show(summarize([*seeds.values()]), column.info).text
    return Cell(f"{text}{_of(len(seeds), one)}")


def _measured(results: Results, metric: str) -> bool:
    return any(
        key.measure.partition("/")[0] == "efficiency" and key.metric == metric
        for key in by_seed(results.rows)
    )


def _ratio(results: Results, net: Net, metric: str) -> Cell:
    values = by_seed(results.rows)
    mine = values.get(Key(*net, "efficiency", metric))
    base = values.get(Key(net.dataset, net.backbone, BASELINE, "efficiency", metric))
    if not (mine and base):
        return _GONE
    below = summarize([*base.values()]).mean
    if below <= 0:
        return _GONE
    return Cell(fixed(summarize([*mine.values()]).mean / below, 2))


def _accuracy(results: Results, one: Standing, column: Column) -> Cell:
    if one.spread is None:
        return one.cell
    seeds = by_seed(results.rows)[Key(*one.net, column.measure, column.metric)]
    text = show(summarize([*seeds.values()]), column.info).text
    key = Key(*one.net, column.measure, column.metric)
    return Cell(text, best=one.unbeaten and not doubts(results, key))


def _interval(one: Spread | None, info: MetricInfo) -> str:
    if one is None or one.low is None or one.high is None:
        return "–"
    ends = (max(one.low, 0.0), min(one.high, 100.0)) if info.unit == "%" else (one.low, one.high)
    low, high = (show(summarize([end]), info).text for end in ends)
    return f"[{low}, {high}]"


def _flags(raised: Sequence[Flag], net: Net) -> Cell:
    names = ", ".join(badges_of(raised, (net.backbone, net.variant)))
    return Cell(names, "flag") if names else _GONE
