"""Results do not depend on the number of workers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from drivers import rows

from bench.cli import main

Tiny = Callable[..., Path]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", ["[0]", "[0, 1, 2, 3, 4]"])
def test_four_workers_give_the_numbers_of_one(tiny: Tiny, seeds: str) -> None:
    """Also where there are fewer trainings than workers, and cells are shared among them."""
    suite = str(tiny(("seeds: [0]", f"seeds: {seeds}")))
    assert main(["run", suite, "--out", "one/run"]) == 0
    assert main(["run", suite, "--out", "four/run", "--workers", "4"]) == 0
    assert rows(Path("four/run")) == rows(Path("one/run"))


@pytest.mark.slow
def test_timings_of_a_failed_training_fail_with_it(tiny: Tiny) -> None:
    """They wait until all else is done; that they come too late must not leave them out."""
    changes = ("tiny_nets:linear", "tiny_nets:Broken"), ("  - accuracy\n", "  - efficiency\n")
    suite = str(tiny(*changes))
    found = []
    for workers in ("1", "2"):
        run = Path(workers) / "run"
        assert main(["run", suite, "--out", str(run), "--workers", workers]) == 1
        with sqlite3.connect(run / "results.sqlite") as db:
            found.append(sorted(db.execute("SELECT name, status, error_kind, error FROM cells")))
    one, two = found
    assert len(one) == 3
    assert two == one
