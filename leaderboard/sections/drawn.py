"""Which networks a figure draws: of many, the best on the board, and what it says of the others.

A dozen lines or bars beside each other can still be told apart; the tables have all networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from leaderboard.numbers.board import Section
from leaderboard.numbers.standings import ranked_by
from leaderboard.numbers.summary import Key, by_seed, summarize
from leaderboard.results import Results
from leaderboard.text import capital

NetName = tuple[str, str]

MOST = 12  # networks in one figure


@dataclass(frozen=True, slots=True)
class Pick:
    """The networks that a figure draws, and a sentence on those it leaves out ("" if none)."""

    nets: tuple[NetName, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Order:
    """Networks from the best to the worst by what `title` says; last are those without a value, in
    the board's order."""

    title: str
    nets: tuple[NetName, ...]

    def pick(self, nets: Iterable[NetName]) -> Pick:
        """The best of these networks, in the order in which they are given."""
        given = list(dict.fromkeys(nets))
        rest = len(given) - MOST
        if rest <= 0:
            return Pick(tuple(given), "")
        place = {net: number for number, net in enumerate(self.nets)}
        best = sorted(given, key=lambda net: place.get(net, len(place)))[:MOST]
        which = f"{MOST} best by {self.title}" if self.title else f"first {MOST}"
        return Pick(
            tuple(net for net in given if net in best),
            f"Of {len(given)} networks, the {which} are drawn and {rest} left out: more could not "
            "be told apart. The tables have them all.",
        )

    def pick_backbones(self, backbones: Iterable[str]) -> tuple[tuple[str, ...], str]:
        """Of a figure with a row for each backbone those whose best network is best, in the order
        in which they are given, and a sentence on the others ("" if none)."""
        given = list(dict.fromkeys(backbones))
        rest = len(given) - MOST
        if rest <= 0:
            return tuple(given), ""
        ranked = [*dict.fromkeys(backbone for backbone, _ in self.nets)]
        place = {backbone: number for number, backbone in enumerate(ranked)}
        best = sorted(given, key=lambda backbone: place.get(backbone, len(place)))[:MOST]
        which = f"{MOST} with the best networks by {self.title}" if self.title else f"first {MOST}"
        return (
            tuple(backbone for backbone in given if backbone in best),
            f"Of {len(given)} backbones, the {which} are drawn and {rest} left out; a CSV file of "
            "bench report has them all.",
        )


def order(results: Results, section: Section) -> Order:
    """A data set's networks by the mean of the column that the overview ranks by."""
    nets = [line.net for line in section.tables[0].lines] if section.tables else []
    column = ranked_by(section)
    if column is None:
        return Order("", tuple((net.backbone, net.variant) for net in nets))
    values = by_seed(results.rows)
    sign = -1.0 if column.info.better == "higher" else 1.0
    means: dict[NetName, float] = {}
    for net in nets:
        seeds = values.get(Key(*net, column.measure, column.metric))
        if seeds:
            means[net[1:]] = sign * summarize([*seeds.values()]).mean
    ranked = sorted(means, key=means.__getitem__)
    others = [net[1:] for net in nets if net[1:] not in means]
    return Order(capital(column.title), (*ranked, *others))


def together(orders: Sequence[Order]) -> Order:
    """Networks by their mean place on several data sets."""
    nets = dict.fromkeys(net for one in orders for net in one.nets)
    places = [{net: number for number, net in enumerate(one.nets)} for one in orders]
    total = {net: sum(place.get(net, len(place)) for place in places) for net in nets}
    titles = list(dict.fromkeys(one.title for one in orders if one.title))
    title = f"mean place in {' or '.join(titles)}" if titles else ""
    return Order(title, tuple(sorted(nets, key=total.__getitem__)))
