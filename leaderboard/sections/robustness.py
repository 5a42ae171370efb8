"""A data set's section on robustness: curves, numbers, flags, and which scale is vulnerable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from leaderboard.blocks import Block, Cell, Figure, Grid, Heading, Text
from leaderboard.kept import Kept
from leaderboard.numbers.curves import Panel, caption
from leaderboard.numbers.flags import Flag
from leaderboard.numbers.summary import by_seed, summarize
from leaderboard.quantity import show
from leaderboard.results import MetricInfo, Results
from leaderboard.sections.attack_numbers import attack_numbers
from leaderboard.sections.flags import flag_blocks
from leaderboard.text import said, slug, strength, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MplFigure

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
        yield from attack_numbers(results, dataset, attacks)
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
