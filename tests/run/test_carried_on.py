"""An attack that is interrupted between its batches goes on behind the last finished one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main

Tiny = Callable[..., Path]

# Interrupted once, in its third batch; it counts the batches it is run on.
STOPPING = """
from pathlib import Path
from bench.attacks.base import Attack

def run(problem):
    log = Path("batches.txt")
    count = len(log.read_text()) if log.exists() else 0
    log.write_text("x" * (count + 1))
    if count == 2:
        raise KeyboardInterrupt
    return problem.images

ATTACK = Attack(run, deterministic=True)
"""


def test_it_says_so_and_repeats_no_batch(
    tiny: Tiny, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("stopping.py").write_text(STOPPING, encoding="utf-8")
    attacks = "attacks: ['stopping:ATTACK'], batch_size: 4"
    suite = tiny(("attacks: [{name: gaussian_blur, epsilons: 20}]", attacks))
    assert main(["run", str(suite), "--only", "*/robustness/*"]) == 130
    capsys.readouterr()
    assert main(["run", str(suite), "--only", "*/robustness/*"]) == 0
    out = capsys.readouterr().out
    name = "blobs/linear/bu/seed0/robustness/ATTACK"
    assert f"{name}: carries on after 2 finished parts\n" in out
    batches = len(Path("batches.txt").read_text())
    assert batches == 1 + 5  # the interrupted one, and 20 images by four


def test_fresh_begins_with_no_parts(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    Path("stopping.py").write_text(STOPPING, encoding="utf-8")
    attacks = "attacks: ['stopping:ATTACK'], batch_size: 4"
    suite = tiny(("attacks: [{name: gaussian_blur, epsilons: 20}]", attacks))
    assert main(["run", str(suite), "--only", "*/robustness/*"]) == 130
    capsys.readouterr()
    assert main(["run", str(suite), "--fresh", "--only", "*/robustness/*"]) == 0
    assert "carries on" not in capsys.readouterr().out
    assert len(Path("batches.txt").read_text()) == 3 + 5
