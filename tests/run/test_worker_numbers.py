"""Results do not depend on the number of workers."""

from __future__ import annotations

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
