"""What pages show beyond recorded numbers can be had as CSV and JSON, and computed anew."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_results import results

import leaderboard
from leaderboard import Row
from leaderboard.numbers.curves import limit
from leaderboard.numbers.robustness import summaries
from leaderboard.results import Results


def written(found: Results, folder: Path) -> dict[tuple[str, ...], float]:
    """Derived values by data set, backbone, variant, seed, measure and metric."""
    path = leaderboard.render_derived(found, folder / "t.csv")
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))[1:]
    return {tuple(line[:6]): float(line[6]) for line in lines}


def test_areas_are_those_of_the_page(tmp_path: Path) -> None:
    found = results(attacks=("gaussian_blur", "single_pixel"))
    table = written(found, tmp_path)
    for one in summaries(found.samples, "fashion-mnist-mini", {}):
        for net in one.estimates:
            name = ("fashion-mnist-mini", net.backbone, net.variant)
            of = f"robustness/{one.attack}"
            seeds = [table[*name, str(seed), of, "area"] for seed in (0, 1)]
            assert np.mean(seeds) == pytest.approx(net.area.value)
            assert table[*name, "0", of, "area_limit"] == one.limit


def test_a_loss_is_clean_accuracy_less_the_area(tmp_path: Path) -> None:
    found = results(attacks=("gaussian_blur",))
    table = written(found, tmp_path)
    end = limit(found.samples)
    for sample in found.samples:
        name = (sample.dataset, sample.backbone, sample.variant, str(sample.seed))
        clean = 100 * np.mean(sample.l2 > 0)
        area = 100 * np.mean(np.minimum(sample.l2, end)) / end
        assert table[*name, "robustness/gaussian_blur", "loss"] == pytest.approx(clean - area)


def test_json_has_them_beside_the_rows(tmp_path: Path) -> None:
    found = results(attacks=("gaussian_blur",))
    document = json.loads(leaderboard.render_json(found, tmp_path / "t.json").read_text("utf-8"))
    assert len(document["rows"]) == len(found.rows)
    assert {row["metric"] for row in document["derived"]} == {"area", "area_limit", "loss"}


def test_mean_corruption_errors(tmp_path: Path) -> None:
    """Of two corruptions and severities, against the bottom-up network of the same seed."""
    errors = {("bu", 0): (10.0, 20.0), ("td", 0): (5.0, 30.0), ("bu", 1): (10.0, 40.0)}
    rows = tuple(
        Row("d", "net", variant, seed, "corruptions", f"error[{name}/{severity}]", value, "%")
        for (variant, seed), values in errors.items()
        for name, value in zip(("fog", "blur"), values, strict=True)
        for severity in (1, 2)
    )
    table = written(replace(results(), rows=rows, samples=()), tmp_path)
    place = ("corruptions", "mce")
    assert table["d", "net", "td", "0", *place] == pytest.approx((50.0 + 150.0) / 2)
    assert table["d", "net", "bu", "1", *place] == pytest.approx(100.0)
    assert ("d", "net", "td", "1", *place) not in table
