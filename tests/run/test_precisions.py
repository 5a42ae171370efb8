"""A board whose networks were trained in several precisions says so, and which."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import main

SUITE = """\
name: mixed
seeds: [0]
datasets: [{name: fashion-mnist-mini, train_samples: 64, test_samples: 50}]
backbones: [lenet_fc]
variants: [bu, td]
recipe: {epochs: 1, batch_size: 32, precision: fp32}
measures: [accuracy]
"""
OVERRIDE = "overrides: [{match: '*/td', recipe: {precision: bf16}}]\n"


@pytest.mark.parametrize("mixed", [False, True])
def test_different_precisions_are_noted(mixed: bool, tmp_path: Path) -> None:
    path = tmp_path / "mixed.yaml"
    path.write_text(SUITE + OVERRIDE * mixed, encoding="utf-8")
    assert main(["run", str(path), "--out", str(tmp_path / "run"), "--quiet"]) == 0
    page = (tmp_path / "run" / "leaderboard.md").read_text("utf-8").replace("\\", "")
    told = (
        "fashion-mnist-mini: networks were trained in different precisions (fp32: lenet_fc bu; "
        "bf16: lenet_fc td)"
    )
    assert (told in page) == mixed
    assert ("different precisions" in page) == mixed
