"""A data set's section on robustness: curves, numbers, flags, and which scale is vulnerable."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from leaderboard.blocks import Block, Cell, Figure, Grid, Heading, Text
from leaderboard.kept import Kept
from leaderboard.numbers.curves import Panel, caption
from leaderboard.numbers.doubts import doubts
from leaderboard.numbers.flags import Flag
from leaderboard.numbers.ranking import Spread, unbeaten
from leaderboard.numbers.summary import Key, by_seed, summarize
from leaderboard.quantity import show
from leaderboard.results import MetricInfo, Results
from leaderboard.rounding import fixed
from leaderboard.sections.flags import flag_blocks
from leaderboard.text import said, slug, strength, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MplFigure

    from leaderboard.numbers.bootstrap import Interval
    from leaderboard.numbers.robustness import Attacks
    from leaderboard.numbers.scales import Vulnerability
    from leaderboard.sections.drawn import Order

_PERCENT = MetricInfo("", "%", decimals=1)


def robustness_blocks(
    results: Results,
    dataset: str,
    attacks: Attacks,
    raised: Sequence[Flag],
    order: Order,
    taken: set[str],
    kept: Kept,
) -> Iterator[Block]:
    """The section; nothing where no attack was run."""
    measured = any(
        row.dataset == dataset and row.measure.startswith("robustness/") for row in results.rows
    )
    if not (measured or attacks.prints):
        return
    yield Heading(3, "Robustness under attack")
    if attacks.prints:
        yield _curves(results, dataset, order, taken, kept, attacks)
        yield from _numbers(results, dataset, attacks)
    yield from _strengths(results, dataset)
    if measured:
        yield from flag_blocks(results, dataset, raised)
        yield from _scales(results, dataset, order, taken, kept)


def _curves(
    results: Results,
    dataset: str,
    order: Order,
    taken: set[str],
    kept: Kept,
    attacks: Attacks,
) -> Figure:
    prints = attacks.prints
    samples = [sample for sample in results.samples if sample.dataset == dataset]
    pick = order.pick((sample.backbone, sample.variant) for sample in samples)

    @cache
    def drawn() -> Sequence[Panel]:
        from leaderboard.numbers.curves import panels

        limits = {summary.attack: summary.limit for summary in attacks.summaries}
        return panels(samples, dataset, results.attacks, pick.nets, limits)

    def picture() -> MplFigure:
        # Drawing libraries load only where there is something to draw.
        from leaderboard.figures.loss_curves import loss_figure

        return loss_figure(dataset, drawn())

    alt = (
        f"Accuracy loss against L₂ size of the perturbation on {dataset}, "
        f"{len(prints)} attack{'s' if len(prints) > 1 else ''}"
    )
    infos = [results.attacks.get(attack) for attack in prints]
    depends = (dataset, list(prints.items()), infos, pick.nets)
    return Figure(
        slug(dataset, taken),
        kept.figure(("loss figure", *depends), picture),
        alt,
        said(pick.note, kept.text(("its caption", *depends), lambda: caption(drawn()))),
    )


def _numbers(results: Results, dataset: str, attacks: Attacks) -> Iterator[Block]:
    """The curves as numbers."""
    from leaderboard.numbers.robustness import SHARES

    budgets = tuple(f"{share:g} B".replace("1 B", "B") for share in SHARES)
    spent = _predictions(results, dataset)
    lines: list[tuple[Cell, ...]] = []
    for summary in attacks.summaries:
        name = f"{words(summary.attack)}, B = {summary.limit:g}"
        rows = [
            (
                (one.clean, 1),
                (one.area, 1),
                (one.against, 1),
                (one.median, 2),
                *((at, 1) for at in one.at),
            )
            for one in summary.estimates
        ]
        measure = f"robustness/{summary.attack}"
        keys = [Key(dataset, one.backbone, one.variant, measure, "") for one in summary.estimates]
        sound = [not doubts(results, key) for key in keys]
        told = _cells(rows, [one.seeds for one in summary.estimates], sound)
        for one, cells in zip(summary.estimates, told, strict=True):
            head = (name, one.backbone, one.variant, str(one.seeds))
            used = spent.get((summary.attack, one.backbone, one.variant))
            last = Cell("–", "missing") if used is None else Cell(used)
            lines.append((*map(Cell, head), *cells, last))
    yield Grid(
        "Accuracy under attack, with 95 % intervals",
        ("Attack", "Backbone", "Variant"),
        (
            "Seeds (n)",
            "Accuracy at L₂ 0 (%)",
            "Mean accuracy to B ↑ (%)",
            "… against bu (points)",
            "Median L₂ ↑",
            *(f"Accuracy at {budget} ↑ (%)" for budget in budgets),
            "Predictions per image",
        ),
        tuple(lines),
    )
    yield Text(
        "B is the L₂ size up to which an attack is summed up, where its panel ends. The mean "
        "accuracy to B is the area under the curve of accuracy against L₂, as a share of that of a "
        "network that is never fooled; against bu: its difference to the bottom-up network of the "
        "same backbone, seed by seed and image by image. The median L₂ is taken of the images "
        "classified correctly. Bold is the best of its attack, and every value whose interval "
        "overlaps that of the best; a network with one measured seed is not bold, and if the best "
        "is such a network, nothing is. Brackets hold 95 % "
        f"intervals of a two-level bootstrap over seeds and images ({attacks.replicates:,} "
        "replicates, widened for the small number of seeds by Student's t); those of a single seed "
        "are over images only. "
        "Predictions per image are those that the attack asked of the network in all repeats, that "
        "of the clean image included."
    )
    yield from _stepped(results, dataset)


def _stepped(results: Results, dataset: str) -> Iterator[Block]:
    """Which curves are of attacks of fixed strengths."""
    stepped = dict.fromkeys(s.attack for s in results.samples if s.dataset == dataset)
    fixed = [(name, results.attacks[name].strengths) for name in stepped if name in results.attacks]
    grids = [f"{words(name)} ({len(grid)} epsilons)" for name, grid in fixed if grid]
    if grids:
        yield Text(
            f"Tried at fixed strengths only: {', '.join(grids)}. Their curves rise in steps at "
            "these, and their medians and accuracies follow the grid: compare them with each "
            "other, not with attacks that look for the smallest perturbation."
        )


def _predictions(results: Results, dataset: str) -> dict[tuple[str, str, str], str]:
    """By attack, backbone and variant, how often the network was asked, mean over seeds."""
    found = {}
    for key, seeds in by_seed(results.rows).items():
        family, _, attack = key.measure.partition("/")
        if (key.dataset, family, key.metric) == (dataset, "robustness", "evaluations"):
            mean = summarize([*seeds.values()]).mean
            found[attack, key.backbone, key.variant] = fixed(mean, 0)
    return found


_CLEAN, _AGAINST = 0, 2  # columns in which nothing is the best


def _cells(
    rows: Sequence[Sequence[tuple[Interval | None, int]]],
    seeds: Sequence[int],
    sound: Sequence[bool],
) -> list[list[Cell]]:
    """Cells of intervals with their decimals, the best of a column marked, and whatever its
    interval does not leave behind; a flagged number is not."""
    columns = []
    for number, column in enumerate(zip(*rows, strict=True)):
        spreads = [
            Spread(one.value, one.low, one.high) if count > 1 else Spread(one.value, None, None)
            for (one, _), count in zip(column, seeds, strict=True)
            if one is not None
        ]
        ranked = number not in (_CLEAN, _AGAINST)
        leads = unbeaten(spreads, "higher") if ranked else [False] * len(rows)
        columns.append(
            [
                Cell(_told(one, decimals, sign=number == _AGAINST), best=lead and may)
                for (one, decimals), lead, may in zip(column, leads, sound, strict=True)
            ]
        )
    return [list(row) for row in zip(*columns, strict=True)]


def _told(one: Interval | None, decimals: int, *, sign: bool = False) -> str:
    """ "62.3 [58.1, 66.0]"."""
    if one is None:
        return "–"
    texts = [
        "∞" if math.isinf(number) else fixed(number, decimals, sign=sign)
        for number in (one.value, one.low, one.high)
    ]
    return f"{texts[0]} [{texts[1]}, {texts[2]}]"


def _strengths(results: Results, dataset: str) -> Iterator[Block]:
    """Accuracy under attacks of fixed strength, a column for each network."""
    table: dict[tuple[str, str], dict[str, str]] = {}
    for key, seeds in by_seed(results.rows).items():
        name, bracket, epsilon = key.metric.partition("[")
        if key.dataset == dataset and name == "robust_top1" and bracket:
            attack = key.measure.partition("/")[2]
            net = f"{key.backbone} · {key.variant}"
            text = show(summarize([*seeds.values()]), _PERCENT).text
            table.setdefault((attack, epsilon.rstrip("]")), {})[net] = text
    if not table:
        return
    nets = list(dict.fromkeys(net for line in table.values() for net in line))
    lines = []
    for (attack, epsilon), line in table.items():
        info = results.attacks.get(attack)
        head = words(attack), strength(info.norm if info else "", float(epsilon))
        lines.append((*map(Cell, head), *(Cell(line.get(net, "–")) for net in nets)))
    yield Grid(
        "Accuracy (%) of all attacked images under attacks of fixed strength",
        ("Attack", "Epsilon"),
        tuple(nets),
        tuple(lines),
    )
    yield Text(
        "Accuracy in percent of all attacked images under attacks of fixed strength (epsilon), "
        "mean ± sample standard deviation over seeds."
    )


def _scales(
    results: Results, dataset: str, order: Order, taken: set[str], kept: Kept
) -> Iterator[Block]:
    """Accuracy with the perturbation in some of the scale inputs."""
    from leaderboard.numbers.scales import combinations, vulnerabilities, weakest

    found = vulnerabilities(results, dataset)
    if not found:
        return
    names = combinations(found)
    pick = order.pick((one.backbone, one.variant) for one in found)
    drawn = [one for one in found if (one.backbone, one.variant) in pick.nets]

    def picture() -> MplFigure:
        from leaderboard.figures.bars import scale_figure

        return scale_figure(dataset, drawn, names)

    lines = []
    for one in found:
        worst = weakest(one)
        head = words(one.attack), one.backbone, one.variant
        clean = "–" if one.clean is None else show(one.clean, _PERCENT).text
        cells = [
            Cell(show(one.perturbed[name], _PERCENT).text, best=name in worst)
            if name in one.perturbed
            else Cell("–", "missing")
            for name in names
        ]
        lines.append((*map(Cell, head), Cell(clean), *cells))
    yield Heading(4, "Which scale is vulnerable")
    yield Grid(
        "Accuracy (%) with the perturbation in some of the scale inputs",
        ("Attack", "Backbone", "Variant"),
        ("Clean", *(name.replace("+", " + ") for name in names)),
        tuple(lines),
    )
    yield Text(
        "Accuracy in percent of all attacked images when the adversarial image is given to some of "
        "the network's scale inputs and the clean one to the rest, mean ± sample standard "
        "deviation over seeds. Bold is the most vulnerable single scale, as displayed."
    )
    yield Figure(
        slug(f"{dataset}-scales", taken),
        kept.figure(("scale figure", dataset, drawn), picture),
        f"Accuracy on {dataset} with the perturbation in some of the scale inputs",
        said(
            pick.note,
            "A panel for each choice of perturbed scale inputs. The line across a bar is the clean "
            "accuracy; whiskers are one standard deviation over seeds. A short bar is a vulnerable "
            "scale, no bar beside such a line an accuracy of 0.",
            _blanks(drawn, names),
        ),
    )


def _blanks(drawn: Sequence[Vulnerability], names: Sequence[str]) -> str:
    """What a place without bar and line is, where there is one."""
    nets = {(one.backbone, one.variant) for one in drawn}
    every = len(drawn) == len(nets) * len({one.attack for one in drawn})
    if every and all(name in one.perturbed for one in drawn for name in names):
        return ""
    return "Where there is neither, the network has no such inputs, or was not measured so."
