"""A data set's section on faithfulness: does a class go with the pixels its heatmap marks?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from leaderboard.blocks import Block, Bullets, Cell, Figure, Grid, Heading, Text
from leaderboard.kept import Kept
from leaderboard.quantity import show
from leaderboard.results import MetricInfo, Results
from leaderboard.rounding import fixed
from leaderboard.text import slug

if TYPE_CHECKING:
    from leaderboard.numbers.bootstrap import Interval
    from leaderboard.numbers.faithfulness import Comparison, Removal

_PERCENT = MetricInfo("", "%", decimals=1)
_TITLES = {"deletion_auc": "Deletion AUC ↓ (%)", "insertion_auc": "Insertion AUC ↑ (%)"}
_BETTER = {"deletion_auc": "lower", "insertion_auc": "higher"}


def faithfulness_blocks(
    results: Results, dataset: str, taken: set[str], kept: Kept
) -> Iterator[Block]:
    """The section; nothing where faithfulness was not measured."""
    if not any(one.dataset == dataset for one in results.removed):
        return
    # Numerics and drawing load only where there is something to show.
    from leaderboard.figures.faithfulness import curve_figure
    from leaderboard.numbers.faithfulness import compare

    found = compare(results, dataset)
    yield Heading(3, "Faithfulness")
    yield Text(
        "Pixels are taken away (deletion) or put in (insertion) in the order of the heatmap, the "
        "most salient first, while the probability of the class that was predicted at first is "
        "followed (Petsiuk et al., 2018). Curves are in percent of each image's clean probability, "
        "so that networks of different confidence can be compared: a heatmap that marks what the "
        "network relies on lets the first curve fall and the second rise early."
    )
    verdicts = tuple(_verdicts(found))
    if verdicts:
        yield Bullets(verdicts)
    yield Figure(
        slug(f"{dataset}-faithfulness", taken),
        kept.picture(curve_figure(dataset, found)),
        f"Deletion and insertion curves on {dataset}",
        "Probability of the predicted class, in percent of the clean one, mean over images and "
        "seeds; bands are one standard deviation over seeds.",
    )
    yield _grid(found)
    yield Text(
        "Areas under these curves, of the same images for all variants; values are mean ± sample "
        "standard deviation over seeds, brackets hold 95 % intervals of a two-level bootstrap over "
        "seeds and images. (The table at the top has areas under the plain probability.)"
    )


def _verdicts(found: Sequence[Comparison]) -> Iterator[tuple[str, str]]:
    for one in found:
        for network in one.networks:
            clauses = [
                f"{name.replace('_auc', '')} AUC {_said(gap, name)}, {_told(gap)}"
                for name in _TITLES
                if (gap := network.figures[name].against) is not None
            ]
            if clauses:
                item = f", {one.item}" if one.item else ""
                more = "" if len(one.seeds) > 1 else " (one seed: nothing is known of others)"
                name = f"{one.backbone} {network.variant}{item} against bu"
                yield name, "; ".join(clauses) + more


def _said(gap: Interval, name: str) -> str:
    from leaderboard.numbers.pairing import verdict

    found = verdict(gap)
    if found == "inconclusive":
        return found
    return f"{found} ({'better' if found == _BETTER[name] else 'worse'})"


def _told(gap: Interval) -> str:
    value, low, high = (fixed(one, 1, sign=True) for one in (gap.value, gap.low, gap.high))
    return f"{value} [{low}, {high}]"


def _grid(found: Sequence[Comparison]) -> Grid:
    has_items = any(one.item for one in found)
    heads = ("Backbone", "Variant", "Heatmap") if has_items else ("Backbone", "Variant")
    lines = []
    for one in found:
        for network in one.networks:
            head = (one.backbone, network.variant, *((one.item,) if has_items else ()))
            cells = (str(len(one.seeds)), f"{one.images:,}", *_cells(network))
            lines.append(tuple(map(Cell, (*head, *cells))))
    columns = [part for title in _TITLES.values() for part in (title, "… against bu (points)")]
    caption = "Areas under the curves, in percent of the clean probability"
    return Grid(caption, heads, ("Seeds (n)", "Images", *columns), tuple(lines))


def _cells(network: Removal) -> Iterator[str]:
    for name in _TITLES:
        one = network.figures[name]
        ends = f"[{fixed(one.interval.low, 1)}, {fixed(one.interval.high, 1)}]"
        yield f"{show(one.summary, _PERCENT).text} {ends}"
        yield "–" if one.against is None else _told(one.against)
