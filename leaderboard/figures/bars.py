"""Bar charts: results by data set, vulnerable scales, errors on corruptions, memory by depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from leaderboard.figures.looks import (
    WIDTH,
    Look,
    Looks,
    NetName,
    blank,
    legend,
    legend_height,
    looks,
    styled,
)
from leaderboard.numbers.board import Net
from leaderboard.numbers.corruptions import Corrupted
from leaderboard.numbers.scales import Vulnerability
from leaderboard.numbers.summary import Summary
from leaderboard.quantity import in_prefix, show, unit
from leaderboard.results import MetricInfo
from leaderboard.text import one_line, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK = "#16191f"
_GROUP = 0.8  # of the distance between two groups of bars


@dataclass(frozen=True, slots=True)
class _Bars:
    """The bars of one network: one for each group, None where there is no number."""

    net: NetName
    values: Sequence[Summary | None]


def scale_figure(title: str, found: Sequence[Vulnerability], combinations: Sequence[str]) -> Figure:
    """Accuracy with the perturbation in some of the inputs: a panel for each combination, a group
    of bars for each attack, a mark where the clean accuracy is (figures 5 and 12 of the paper)."""
    attacks = list(dict.fromkeys(one.attack for one in found))
    look = looks((one.backbone, one.variant) for one in found)
    rows = _rows(combinations)
    columns = max(map(len, rows))
    thickness = 0.09 + 0.11 * len(look)
    with styled():
        height = len(rows) * (thickness * len(attacks) + 0.55) + legend_height(look) + 0.6
        figure = blank(WIDTH, height)
        for row, names in enumerate(rows):
            below = len(rows[row + 1]) if row + 1 < len(rows) else 0
            for column, name in enumerate(names):
                axes = figure.add_subplot(len(rows), columns, row * columns + column + 1)
                _draw(axes, _perturbed(found, look, attacks, name), look)
                concerned = [one for one in found if name in one.perturbed]
                _mark_clean(axes, concerned, list(look), attacks)
                axes.set_title(name.replace("+", " + "))
                axes.set_xlim(0, 100)
                _label_groups(axes, [words(attack) for attack in attacks], named=not column)
                if column >= below:
                    axes.set_xlabel("Accuracy (%)")
        figure.suptitle(one_line(title, 80), fontsize=11, fontweight="bold")
        patches = [_patch(one) for one in look.values()]
        legend(figure, look, patches, beside=False, more={"clean accuracy": _tick()})
    return figure


def _perturbed(
    found: Sequence[Vulnerability], looks: Looks, attacks: Sequence[str], name: str
) -> list[_Bars]:
    """A panel's bars: accuracy by attack with the inputs `name` perturbed."""
    of = {(one.backbone, one.variant, one.attack): one.perturbed.get(name) for one in found}
    return [_Bars(net, [of.get((*net, attack)) for attack in attacks]) for net in looks]


def corruption_figure(title: str, found: Sequence[Corrupted]) -> Figure:
    """Error on corrupted images: a group of bars for each corruption, a bar for each network."""
    corruptions = list(dict.fromkeys(name for one in found for name in one.errors))
    look = looks((one.backbone, one.variant) for one in found)
    of = {(one.backbone, one.variant): one for one in found}
    with styled():
        thickness = 0.1 + 0.12 * len(look)
        figure = blank(WIDTH, thickness * len(corruptions) + legend_height(look) + 0.9)
        axes = figure.add_subplot()
        _draw(
            axes,
            [_Bars(net, [of[net].errors.get(name) for name in corruptions]) for net in look],
            look,
        )
        clean = [(number, one) for number, net in enumerate(look) if (one := of[net].clean)]
        groups = range(len(corruptions))
        _mark(axes, [(one.mean, g, number) for number, one in clean for g in groups], len(look))
        axes.set_xlim(0, None)
        axes.set_xlabel("Error (%), mean over severities")
        _label_groups(axes, [words(name) for name in corruptions], named=True)
        figure.suptitle(one_line(title, 80), fontsize=11, fontweight="bold")
        more = {"clean error": _tick()} if any(one.clean for one in found) else {}
        patches = [_patch(one) for one in look.values()]
        legend(figure, look, patches, beside=False, more=more)
    return figure


def result_figure(
    title: str, found: Mapping[str, Mapping[Net, Summary]], info: MetricInfo
) -> Figure:
    """A quantity by data set: a group of bars for each, a bar for each network (figure 4 of the
    paper), from zero on; differences that bars do not show are in the numbers beside them."""
    look = looks((net.backbone, net.variant) for nets in found.values() for net in nets)
    most = max(value.mean + (value.sd or 0) for nets in found.values() for value in nets.values())
    factor, prefix = unit(most, info)
    with styled():
        figure = blank(WIDTH, (0.15 + 0.19 * len(look)) * len(found) + legend_height(look) + 0.7)
        axes = figure.add_subplot()
        bars = [
            _Bars(name, [nets.get(Net(dataset, *name)) for dataset, nets in found.items()])
            for name in look
        ]
        _draw(axes, [_scaled(one, factor) for one in bars], look)
        _write_values(axes, bars, factor, info)
        axes.set_xlim(0, 1.12 * most / factor)
        axes.set_xlabel(one_line(in_prefix(title, prefix), 80))
        _label_groups(axes, list(found), named=True)
        legend(figure, look, [_patch(one) for one in look.values()], beside=False)
    return figure


def _scaled(bars: _Bars, factor: float) -> _Bars:
    return _Bars(
        bars.net,
        [
            value and Summary(value.mean / factor, value.sd and value.sd / factor, value.n)
            for value in bars.values
        ],
    )


def _write_values(axes: Axes, bars: Sequence[_Bars], factor: float, info: MetricInfo) -> None:
    each = _GROUP / len(bars)
    for number, one in enumerate(bars):
        for group, value in enumerate(one.values):
            if value is not None:
                place = group + (number + 0.5) * each - _GROUP / 2
                axes.annotate(
                    show(value, info).text, ((value.mean + (value.sd or 0)) / factor, place),
                    (4, 0), textcoords="offset points", va="center", fontsize=7.5, color=_INK,
                )  # fmt: skip


def memory_figure(title: str, found: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Kibibytes by depth: a panel for each variant, a row for each backbone."""
    look = looks((backbone, variant) for backbone, of in found.items() for variant in of)
    variants = list(dict.fromkeys(variant for of in found.values() for variant in of))
    deepest = [max(map(len, of.values())) for of in found.values()]
    with styled():
        figure = blank(WIDTH, sum(0.5 + 0.22 * deep for deep in deepest) + 0.9)
        rows = figure.add_gridspec(
            len(found), len(variants), height_ratios=[0.5 + 0.22 * deep for deep in deepest]
        )
        for row, (backbone, of) in enumerate(found.items()):
            most = max(max(values) for values in of.values()) / 1024
            for column, variant in enumerate(variants):
                if variant not in of:
                    continue
                axes = figure.add_subplot(rows[row, column])
                sizes = [size / 1024 for size in of[variant]]
                places = range(1, len(sizes) + 1)
                axes.barh(places, sizes, height=0.8, **_paint(look[backbone, variant]))
                axes.set_xlim(0, 1.05 * most)
                axes.set_ylim(deepest[row] + 0.6, 0.4)
                axes.set_yticks(range(1, deepest[row] + 1))
                axes.grid(visible=False, axis="y")
                axes.set_title(f"{one_line(backbone, 30)} · {one_line(variant, 20)}")
                if not column:
                    axes.set_ylabel("Depth")
        figure.suptitle(one_line(title, 80), fontsize=11, fontweight="bold")
        under = "Kept for the backward pass (KiB per image)"
        figure.supxlabel(under, fontsize=9, color="#333842")
    return figure


def _rows(combinations: Sequence[str]) -> list[list[str]]:
    """A row of panels for one perturbed input, and for all of them, one for two, and so on."""
    sizes: dict[int, list[str]] = {}
    for name in combinations:
        sizes.setdefault(name.count("+"), []).append(name)
    rows = [names for _, names in sorted(sizes.items())]
    return [row[start : start + 4] for row in rows for start in range(0, len(row), 4)]


def _draw(axes: Axes, bars: Sequence[_Bars], looks: Looks) -> None:
    each = _GROUP / len(bars)
    for number, one in enumerate(bars):
        look = looks[one.net]
        offset = (number + 0.5) * each - _GROUP / 2
        known = [(group, value) for group, value in enumerate(one.values) if value is not None]
        axes.barh(
            [group + offset for group, _ in known],
            [value.mean for _, value in known],
            height=each * 0.92,
            xerr=[value.sd or 0.0 for _, value in known],
            error_kw={"elinewidth": 0.9, "ecolor": _INK},
            **_paint(look),
        )


def _mark_clean(
    axes: Axes, found: Sequence[Vulnerability], nets: Sequence[NetName], attacks: Sequence[str]
) -> None:
    """A line across each network's bar where its clean accuracy is."""
    places = {net: number for number, net in enumerate(nets)}
    marks = [
        (one.clean.mean, attacks.index(one.attack), places[one.backbone, one.variant])
        for one in found
        if one.clean is not None
    ]
    _mark(axes, marks, len(nets))


def _mark(axes: Axes, marks: Sequence[tuple[float, int, int]], count: int) -> None:
    """Lines at values across the bars: of each the value, the group, and the number of the network
    of `count`."""
    each = _GROUP / count
    starts = [group + number * each - _GROUP / 2 for _, group, number in marks]
    ends = [start + each for start in starts]
    axes.vlines([value for value, *_ in marks], starts, ends, color=_INK, linewidth=1.4)


def _tick() -> Line2D:
    return Line2D([], [], color=_INK, marker="|", markersize=11, markeredgewidth=1.4, lw=0)


def _label_groups(axes: Axes, names: Sequence[str], *, named: bool) -> None:
    axes.set_yticks(range(len(names)), [one_line(name, 28) for name in names])
    axes.tick_params(axis="y", length=0, labelleft=named)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def _patch(look: Look) -> Patch:
    return Patch(**_paint(look))


def _paint(look: Look) -> dict[str, Any]:
    return {"facecolor": look.color, "hatch": look.hatch, "edgecolor": "white", "linewidth": 0.0}
