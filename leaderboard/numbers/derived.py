"""Numbers that pages show and no cell has recorded, seed by seed, for other programs.

Of every attack the mean accuracy under it up to L2 `area_limit` (`area`, percent of all attacked
images: the area under the curve of accuracy) and the accuracy lost to it (`loss`, clean accuracy on
these images less the area), as the tables of robustness and claims have them; of corruptions the
mean corruption error (`mce`).
"""

from __future__ import annotations

from collections.abc import Iterator

from leaderboard.numbers.aligned import align, areas
from leaderboard.numbers.corruptions import mce_by_seed
from leaderboard.numbers.curves import by_attack, by_net, limit
from leaderboard.numbers.summary import AREA
from leaderboard.results import Results, Row


def derived_rows(results: Results) -> Iterator[Row]:
    """Rows as those that cells record."""
    yield from _areas(results)
    for dataset in dict.fromkeys(row.dataset for row in results.rows):
        for (backbone, variant), seeds in mce_by_seed(results, dataset).items():
            for seed, value in seeds.items():
                yield Row(dataset, backbone, variant, seed, "corruptions", "mce", value, "%")


def _areas(results: Results) -> Iterator[Row]:
    for dataset in dict.fromkeys(sample.dataset for sample in results.samples):
        for attack, some in by_attack(results.samples, dataset).items():
            end = limit(some, results.attacks.get(attack))
            for net, samples in by_net(some).items():
                found = align(samples)
                kept = areas(found.l2, end).mean(1)
                clean = 100.0 * (found.l2 > 0).mean(1)
                for seed, area, right in zip(found.seeds, kept, clean, strict=True):
                    place = (dataset, *net, seed, f"robustness/{attack}")
                    yield Row(*place, "area_limit", end, "")
                    yield Row(*place, AREA, float(area), "%")
                    yield Row(*place, "loss", float(right - area), "%")
