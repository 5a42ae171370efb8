"""Which costs are of other batches than asked for: memory ran out, or one image would not do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from leaderboard.numbers.summary import Key, by_seed
from leaderboard.numbers.timing import NOT_BOLD, listed, timing_notes
from leaderboard.remembered import remembered
from leaderboard.results import Results
from leaderboard.text import capital, words

OTHER_BATCH = "of another batch"
_MEASURE = "efficiency"
# The figures that have a column, with the metric of their batch, and how a sentence on them begins.
BATCHES = {"images_per_second": "batch_size", "train_memory": "train_batch_size"}
_BEGIN = {"images_per_second": "images/s are", "train_memory": "training memory is"}
_ASKED = "asked_batch_size"

Column = tuple[str, str, str]  # data set, measure, metric
Net = tuple[str, str]  # backbone and variant


@dataclass(frozen=True, slots=True)
class Batches:
    """Of one column: the batch that was asked for (of runs of earlier versions, the largest that
    was used), and the batch of each network."""

    asked: float
    used: Mapping[Net, float]

    @property
    def differ(self) -> bool:
        """Whether networks do not all have the same."""
        return len({*self.used.values()}) > 1


def cost_notes(results: Results, dataset: str) -> list[str]:
    """Sentences on the networks of a data set whose costs do not compare with those of others."""
    return [*timing_notes(results, dataset), *_batch_notes(results, dataset)]


def _batch_notes(results: Results, dataset: str) -> Iterator[str]:
    for (of, measure, metric), batches in _columns(results).items():
        if of != dataset:
            continue
        told = [
            f"but where {why}: {listed(nets)}"
            for why, nets in (
                ("that did not fit into memory", _named(batches, fewer=True)),
                ("the statistics of a batch need more", _named(batches, fewer=False)),
            )
            if nets
        ]
        if told:
            begin, mode = _BEGIN[metric], measure.partition("/")[2]
            begin = f"{words(mode)}: {begin}" if mode else capital(begin)
            more = f" {NOT_BOLD}" if batches.differ else ""
            yield f"{begin} of batches of {batches.asked:.0f}, {'; '.join(told)}.{more}"


def asked_batch(results: Results, dataset: str) -> float | None:
    """The batch that the costs of a data set are to be of; None where none were measured."""
    found = [batches.asked for (of, *_), batches in _columns(results).items() if of == dataset]
    return max(found, default=None)


def batch_of(results: Results, key: Key) -> float | None:
    """The batch that a number is of, if that is known."""
    column = _columns(results).get((key.dataset, key.measure, key.metric))
    return column.used.get((key.backbone, key.variant)) if column else None


def is_of_another_batch(results: Results, key: Key) -> bool:
    """Whether a number is of another batch than was asked for, and its column is not all of one."""
    column = _columns(results).get((key.dataset, key.measure, key.metric))
    batch = batch_of(results, key)
    return column is not None and batch not in (None, column.asked) and column.differ


def _named(batches: Batches, fewer: bool) -> dict[str, str]:
    return {
        " ".join(net): f"{batch:.0f}"
        for net, batch in batches.used.items()
        if (batch < batches.asked if fewer else batch > batches.asked)
    }


@remembered  # asked for number by number
def _columns(results: Results) -> dict[Column, Batches]:
    used: dict[Column, dict[Net, float]] = {}
    asked: dict[tuple[str, str], float] = {}
    figures = {batch: figure for figure, batch in BATCHES.items()}
    for key, seeds in by_seed(results.rows).items():
        if key.measure.partition("/")[0] != _MEASURE:
            continue
        least = min(seeds.values())
        if key.metric == _ASKED:
            place = key.dataset, key.measure
            asked[place] = max(least, asked.get(place, 0.0))
        elif key.metric in figures:
            column = key.dataset, key.measure, figures[key.metric]
            used.setdefault(column, {})[key.backbone, key.variant] = least
    return {
        column: Batches(asked.get(column[:2], max(nets.values())), nets)
        for column, nets in used.items()
    }
