"""A data set's section on localization: which variant's heatmaps lie on the objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from leaderboard.blocks import Block, Bullets, Cell, Figure, Grid, Heading, Text
from leaderboard.kept import Kept
from leaderboard.numbers.summary import by_seed, summarize
from leaderboard.quantity import show
from leaderboard.results import MetricInfo, Results
from leaderboard.rounding import fixed
from leaderboard.text import slug

if TYPE_CHECKING:
    from leaderboard.numbers.bootstrap import Interval
    from leaderboard.numbers.localization import Comparison, Localizer

_MEASURE = "localization"
_ONE_SEED = " (one seed: nothing is known of others)"
_PERCENT = MetricInfo("", "%", decimals=1)
_TITLES = {
    "precision": "Precision, micro ↑ (%)",
    "recall": "Recall, micro ↑ (%)",
    "precision_macro": "Precision, macro ↑ (%)",
    "recall_macro": "Recall, macro ↑ (%)",
    "iou": "IoU, micro ↑ (%)",
    "iou_macro": "IoU, macro ↑ (%)",
    "pxap": "PxAP ↑ (%)",
    "max_box_acc_v2": "MaxBoxAccV2 ↑ (%)",
    "box_acc": "Box accuracy, IoU {} ↑ (%)",
    "pointing": "Pointing game ↑ (%)",
    "undefined": "Undefined maps ↓ (%)",
}
_TABLES = {
    "Precision and recall of all pixels together (micro)": ("precision", "recall"),
    "Precision and recall, mean over images (macro)": ("precision_macro", "recall_macro"),
    "Overlap with the object": ("iou", "iou_macro", "pxap"),
}
_JUDGED = {"precision": "precision", "recall": "recall", "iou": "IoU", "pxap": "PxAP"}
_Net = tuple[str, str, str]  # backbone, variant, item


def localization_blocks(
    results: Results, dataset: str, taken: set[str], kept: Kept
) -> Iterator[Block]:
    """The section; nothing where localization was not measured."""
    apart = _unpaired(results, dataset)
    paired = any(one.dataset == dataset for one in results.localized)
    if not (paired or apart):
        return
    yield Heading(3, "Localization")
    if paired:
        yield from _paired(results, dataset, taken, kept)
    if apart:
        yield from _apart(apart)


def _paired(results: Results, dataset: str, taken: set[str], kept: Kept) -> Iterator[Block]:
    # Numerics and drawing load only where there is something to show.
    from leaderboard.figures.localization import bar_figure, sweep_figure
    from leaderboard.numbers.bootstrap import REPLICATES
    from leaderboard.numbers.localization import compare

    found = compare(results, dataset)
    yield Text(
        "As in the paper (section 4.3), heatmaps of the predicted class are held against the "
        "objects' pixels, and variants are compared on the images that all of them classify "
        f"correctly with the same seed. A pixel is predicted where the heatmap is above "
        f"{_thresholds(found)}: precision is the share of predicted pixels that are the object's, "
        "recall the share of the object's pixels that are predicted. (The table at the top has "
        "each network's figures on the images that it classifies correctly itself: other images "
        "for each, and so no comparison.)"
    )
    yield Bullets((*(_images(one) for one in found), *_verdicts(found)))
    yield Figure(
        slug(f"{dataset}-localization", taken),
        kept.picture(bar_figure(dataset, found)),
        f"Precision and recall of the heatmaps on {dataset}",
        "Precision and recall of all pixels together, mean over seeds; whiskers are one standard "
        "deviation over seeds. Longer is better.",
    )
    for caption, names in _TABLES.items():
        yield _grid(found, caption, names)
    yield Text(
        "Micro: pixels of all images are summed before the ratio is taken. Macro: the mean of the "
        "images' own ratios; an image where nothing is predicted has no precision and is left out "
        "of that mean. IoU (intersection over union) is the share of the pixels predicted or the "
        "object's that are both. PxAP (pixel average precision; Choe et al., 2020) sums precision "
        "times the gain in recall over all thresholds, and so depends on none. Values are mean ± "
        "sample standard deviation over seeds; brackets hold 95 % intervals of a two-level "
        f"bootstrap over seeds and images ({REPLICATES:,} replicates, widened for the small number "
        "of seeds by Student's t; those of a single seed are over images only). Against bu: the "
        "difference to the bottom-up network, seed by seed and image by image. Each interval "
        "stands for itself: of many, some miss."
    )
    swept = [one for one in found if len(one.thresholds) > 1]
    if swept:
        yield Figure(
            slug(f"{dataset}-localization-thresholds", taken),
            kept.picture(sweep_figure(dataset, swept)),
            f"Precision and recall of the heatmaps on {dataset} at all thresholds",
            "Precision and recall of all pixels together at every threshold, on the same images; "
            "bands are one standard deviation over seeds. A line ends where a network predicts "
            "nothing any more. On the right, the network whose curve is above another's has the "
            "better heatmaps whatever the threshold.",
        )


def _thresholds(found: Sequence[Comparison]) -> str:
    return " or ".join(f"{value:g}" for value in sorted({one.threshold for one in found}))


def _images(one: Comparison) -> tuple[str, str]:
    """What is compared, on how many images of each seed."""
    variants = " and ".join(", ".join(net.variant for net in one.networks).rsplit(", ", 1))
    counts = ", ".join(
        f"{images:,} (seed {seed})" for images, seed in zip(one.images, one.seeds, strict=True)
    )
    said = f"on {counts} of {one.looked_at:,} images"
    alone = len(one.networks) == 1
    text = f"{variants} alone, {said}" if alone else f"{variants} are compared {said}"
    if one.share is not None:
        text += (
            f"; a heatmap that marks every pixel would have a precision and an IoU of "
            f"{fixed(one.share, 1)} % (micro) and a recall of 100 %"
        )
    return _named(one.backbone, one.item), text


def _named(backbone: str, item: str, variant: str = "") -> str:
    net = f"{backbone} {variant}".rstrip()
    return f"{net}, {item}" if item else net


def _verdicts(found: Sequence[Comparison]) -> Iterator[tuple[str, str]]:
    for one in found:
        for network in one.networks:
            said = [*_clauses(network, of_several=len(one.seeds) > 1)]
            if said:
                more = "" if len(one.seeds) > 1 else _ONE_SEED
                name = _named(one.backbone, one.item, network.variant)
                yield f"{name} against bu", "; ".join(said) + more


def _clauses(network: Localizer, *, of_several: bool) -> Iterator[str]:
    """A clause for each figure, and for means over images where they say otherwise. Of several
    seeds, one may be all that has the figure: the clause says so."""
    from leaderboard.numbers.pairing import verdict

    for name, title in _JUDGED.items():
        gap = _gap(network, name)
        if gap is not None:
            yield f"{title} {_verdict(gap)}{_alone(network, name, of_several)}"
    for name, title in _JUDGED.items():
        gap, macro = _gap(network, name), _gap(network, f"{name}_macro")
        if gap is not None and macro is not None and verdict(gap) != verdict(macro):
            alone = _alone(network, f"{name}_macro", of_several)
            yield f"but {title} as mean over images {_verdict(macro)}{alone}"


def _alone(network: Localizer, name: str, of_several: bool) -> str:
    return _ONE_SEED if of_several and network.figures[name].paired == 1 else ""


def _verdict(gap: Interval) -> str:
    from leaderboard.numbers.pairing import verdict

    found = verdict(gap)
    if found == "inconclusive":
        return f"inconclusive, {_told(gap, sign=True)}"
    size = sorted((abs(gap.low), abs(gap.high)))
    return f"{found} by {_number(abs(gap.value))} points [{_number(size[0])}, {_number(size[1])}]"


def _grid(found: Sequence[Comparison], caption: str, names: Sequence[str]) -> Grid:
    """Means with intervals, each beside its difference to the bottom-up network."""
    networks = [(one, network) for one in found for network in one.networks]
    has_items = any(one.item for one in found)
    has_gaps = any(_gap(network, name) for _, network in networks for name in names)
    columns = ["Seeds (n)", "Images per seed"]
    for name in names:
        columns += [_TITLES[name], "… against bu (points)"] if has_gaps else [_TITLES[name]]
    tells_empty = "precision_macro" in names
    lines = []
    for one, network in networks:
        cells = [str(len(one.seeds)), _range(one.images)]
        for name in names:
            cells.append(_mean(network, name, len(one.seeds)))
            if has_gaps:
                gap = _gap(network, name)
                cells.append("–" if gap is None else _told(gap, sign=True))
        if tells_empty:
            cells.append(_range(network.empty))
        head = _head((one.backbone, network.variant, one.item), has_items)
        lines.append(tuple(map(Cell, (*head, *cells))))
    more = ("Nothing predicted (images)",) if tells_empty else ()
    return Grid(caption, _names(has_items), (*columns, *more), tuple(lines))


def _gap(network: Localizer, name: str) -> Interval | None:
    return network.figures[name].against if name in network.figures else None


def _mean(network: Localizer, name: str, seeds: int) -> str:
    """ "62.3 ± 1.2 [58.1, 66.0]", and of how many seeds if not of all."""
    if name not in network.figures:
        return "–"
    estimate = network.figures[name]
    mean = show(estimate.summary, _PERCENT).text
    some = "" if estimate.summary.n == seeds else f" (n = {estimate.summary.n})"
    return f"{mean} {_ends(estimate.interval)}{some}"


def _told(interval: Interval, *, sign: bool = False) -> str:
    """ "62.3 [58.1, 66.0]"."""
    return f"{_number(interval.value, sign=sign)} {_ends(interval, sign=sign)}"


def _ends(interval: Interval, *, sign: bool = False) -> str:
    return f"[{_number(interval.low, sign=sign)}, {_number(interval.high, sign=sign)}]"


def _number(value: float, *, sign: bool = False) -> str:
    return fixed(value, 1, sign=sign)


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _head(net: _Net, has_items: bool) -> tuple[str, ...]:
    return net if has_items else net[:2]


def _names(has_items: bool) -> tuple[str, ...]:
    return ("Backbone", "Variant", "Heatmap") if has_items else ("Backbone", "Variant")


def _unpaired(results: Results, dataset: str) -> dict[_Net, dict[str, list[float]]]:
    """Each network's metrics, seed by seed."""
    found: dict[_Net, dict[str, list[float]]] = {}
    for key, seeds in by_seed(results.rows).items():
        measure, _, item = key.measure.partition("/")
        if key.dataset == dataset and measure == _MEASURE:
            metrics = found.setdefault((key.backbone, key.variant, item), {})
            metrics[key.metric] = [*seeds.values()]
    return found


def _apart(found: Mapping[_Net, Mapping[str, list[float]]]) -> Iterator[Block]:
    """What each network comes to on the images that it classifies correctly itself."""
    has_items = any(item for *_, item in found)
    known = dict.fromkeys(metric for metrics in found.values() for metric in metrics)
    columns = [
        (metric, title.format(metric.partition("[")[2].rstrip("]")))
        for name, title in _TITLES.items()
        for metric in known
        if metric.partition("[")[0] == name
    ]
    lines = []
    for net, metrics in found.items():
        images = [round(number) for number in metrics.get("images", [])]
        cells = [str(max(map(len, metrics.values()))), _range(images) if images else "–"]
        for metric, _ in columns:
            values = metrics.get(metric)
            cells.append(show(summarize(values), _PERCENT).text if values else "–")
        lines.append(tuple(map(Cell, (*_head(net, has_items), *cells))))
    yield Heading(4, "Each network by itself")
    yield Grid(
        "Unpaired: each network on all images that it classifies correctly itself",
        _names(has_items),
        ("Seeds (n)", "Images per seed", *(title for _, title in columns)),
        tuple(lines),
    )
    yield Text(
        "Unpaired figures are of each network's own correctly classified images, and so of other "
        "images for each: they tell how good a network's heatmaps are, not which network's are "
        "better. Box accuracy is the share of images in which the box around a connected part of "
        "the heatmap, cut at the threshold that is best for this network, reaches the given IoU "
        "with the object's box; MaxBoxAccV2 is the mean of the box accuracies (Choe et al., 2020). "
        "The pointing game is won where the heatmap's maximum lies on the object. Undefined maps "
        "are 0/0 and count as if they predicted nothing. Values are mean ± sample standard "
        "deviation over seeds."
    )
