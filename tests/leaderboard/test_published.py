"""Boards that are committed are what `report` makes of the runs that are committed beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cli import main
from bench.store.volumes import name_of

PUBLISHED = Path(__file__).parents[2] / "leaderboard" / "published"
# A large one lies there in parts.
RUNS = sorted({name_of(path) for path in PUBLISHED.glob("*/run.tar.xz*")})


def test_the_tour_is_among_them() -> None:
    assert "quickstart" in [path.parent.name for path in RUNS]


@pytest.mark.parametrize("archive", RUNS, ids=lambda path: path.parent.name)
def test_a_committed_page_is_what_its_run_makes(archive: Path, tmp_path: Path) -> None:
    """The page byte for byte, figures pixel by pixel (other fonts move a few)."""
    board, run, out = archive.parent, tmp_path / "run", tmp_path / "page"
    assert main(["unpack", str(archive), "--out", str(run)]) == 0
    assert main(["report", str(run), "--out", str(out)]) == 0
    assert (out / "leaderboard.md").read_bytes() == (board / "leaderboard.md").read_bytes()
    drawn = {path.name for path in (out / "figures").iterdir()}
    assert drawn == {path.name for path in (board / "figures").iterdir()}
    for name in drawn:
        ours, theirs = (
            np.asarray(Image.open(folder / "figures" / name).convert("L"), dtype=np.int16)
            for folder in (board, out)
        )
        assert ours.shape == theirs.shape, name
        assert np.abs(ours - theirs).mean() < 1.0, name


@pytest.mark.parametrize("archive", RUNS, ids=lambda path: path.parent.name)
def test_a_committed_run_passes_against_its_baseline(archive: Path, tmp_path: Path) -> None:
    """So that no change of the gate or of the suite's options makes baselines stale unnoticed."""
    baseline = PUBLISHED.parent / "baselines" / f"{archive.parent.name}.json"
    run = tmp_path / "run"
    assert main(["unpack", str(archive), "--out", str(run)]) == 0
    assert main(["check", str(run), "--baseline", str(baseline)]) == 0
