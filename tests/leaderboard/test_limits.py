"""A suite may say up to which L2 an attack is summed up, so that other networks change nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_results import results

import leaderboard
from bench.errors import BenchError
from bench.plan.attacks import attack_infos
from bench.plan.check import read_suite
from bench.plan.expand import expand
from leaderboard.numbers.curves import limit
from leaderboard.results import AttackInfo, Results

SUITE = """\
name: s
seeds: [0]
datasets: [fashion-mnist-mini, {name: fashion-mnist-mini, label: large, image_size: 32}]
backbones: [lenet_fc]
variants: [bu]
recipe: {epochs: 1}
measures:
  - robustness:
      attacks: [gaussian_blur, {name: additive_gaussian, label: noise}]
      limits: {LIMITS}
"""
Infos = Callable[[str], dict[str, dict[str, object]]]


@pytest.fixture
def infos(tmp_path: Path) -> Infos:
    def read(limits: str) -> dict[str, dict[str, object]]:
        path = tmp_path / "s.yaml"
        path.write_text(SUITE.replace("{LIMITS}", limits), encoding="utf-8")
        return attack_infos(expand(read_suite(str(path))))

    return read


def test_a_limit_is_for_all_data_sets_or_for_one(infos: Infos) -> None:
    found = infos("{gaussian_blur: 4, large/gaussian_blur: 6, large/noise: 0.5}")
    assert found["gaussian_blur"]["limits"] == {"fashion-mnist-mini": 4.0, "large": 6.0}
    assert found["noise"]["limits"] == {"large": 0.5}


def test_limits_change_no_cell(tmp_path: Path) -> None:
    names = []
    for limits in ("{}", "{gaussian_blur: 4}"):
        path = tmp_path / "s.yaml"
        path.write_text(SUITE.replace("{LIMITS}", limits), encoding="utf-8")
        names.append([cell.identity for cell in expand(read_suite(str(path))).cells])
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("{gaussian_blurr: 4}", "'gaussian_blurr' is none of the attacks here; did you mean"),
        ("{small/noise: 4}", "'small' is no data set of the suite"),
        ("{noise: 0}", "noise"),
        ("{noise: -1}", "noise"),
        ("{noise: many}", "noise"),
    ],
)
def test_limits_of_nothing_are_refused(infos: Infos, limits: str, said: str) -> None:
    with pytest.raises(BenchError, match="limits") as error:
        infos(limits)
    assert said in str(error.value)


def test_a_limit_of_nothing_has_its_line_among_all_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    text = SUITE.replace("{LIMITS}", "{small/noise: 4}").replace("epochs: 1", "epochs: 0")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BenchError) as error:
        read_suite(str(path))
    first, second = str(error.value).splitlines()
    assert first.startswith(f"{path}:6: recipe.epochs: ")
    assert second.startswith(f"{path}:10: measures[0].robustness.limits.small/noise: 'small' is no")


def test_a_limit_is_for_a_label_with_a_slash_too(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    limits = "{far/noise: 4, large/far/noise: 6}"
    text = SUITE.replace("{LIMITS}", limits).replace("label: noise", "label: far/noise")
    path.write_text(text, encoding="utf-8")
    found = attack_infos(expand(read_suite(str(path))))
    assert found["far/noise"]["limits"] == {"fashion-mnist-mini": 4.0, "large": 6.0}


def page(found: Results, folder: Path) -> list[str]:
    text = leaderboard.render_markdown(found, folder).read_text("utf-8")
    return [line for line in text.splitlines() if "| lenet_fc | bu |" in line and ", B = " in line]


def test_with_a_limit_a_number_does_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    """Another network that holds out for longer stretches the figure, unless a limit is given."""
    both = results(attacks=("gaussian_blur",))
    # Far beyond where the bottom-up network has fallen.
    samples = [replace(s, l2=s.l2 * 7) if s.variant == "td" else s for s in both.samples]
    both = replace(both, samples=tuple(samples))
    alone = replace(
        both,
        rows=tuple(row for row in both.rows if row.variant == "bu"),
        samples=tuple(sample for sample in both.samples if sample.variant == "bu"),
    )
    assert page(both, tmp_path / "a") != page(alone, tmp_path / "b")
    info = AttackInfo("decision", family="blur", limits=(("fashion-mnist-mini", 3.0),))
    fixed = {"gaussian_blur": info}
    one, other = (replace(found, attacks=fixed) for found in (both, alone))

    def told(found: Results, folder: str) -> list[str]:
        # Without marks for the best, which one alone is not.
        return [line.replace("**", "") for line in page(found, tmp_path / folder)]

    assert told(one, "c") == told(other, "d")
    assert "B = 3 |" in told(one, "c")[0]


def test_a_limit_is_of_its_data_set() -> None:
    found = results(datasets=("fashion-mnist-mini", "mnist"), attacks=("gaussian_blur",))
    info = AttackInfo("decision", limits=(("mnist", 3.25),))
    for dataset in ("fashion-mnist-mini", "mnist"):
        some = [sample for sample in found.samples if sample.dataset == dataset]
        assert (limit(some, info) == 3.25) == (dataset == "mnist")
        assert np.isfinite(limit(some, info))
