"""What earlier sessions recorded under other labels, or of code that was mended since."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main

Tiny = Callable[..., Path]
Out = pytest.CaptureFixture[str]
RUN = Path("runs/tiny")
LABEL = ("tiny_nets:linear", '{name: "tiny_nets:linear", label: renamed}')
OWN = ("  - accuracy\n", '  - accuracy\n  - "own:value"\n')
FAILS = "def value(context):\n    raise ValueError('boom')\n"


def test_damage_is_told_by_the_labels_of_today(tiny: Tiny, capsys: Out) -> None:
    assert main(["run", str(tiny()), "--quiet"]) == 0
    assert main(["run", str(tiny(LABEL)), "--quiet"]) == 0
    for path in (*(RUN / "arrays").iterdir(), *(RUN / "weights").iterdir()):
        path.write_bytes(b"")
    capsys.readouterr()
    assert main(["doctor", str(RUN)]) == 1
    said = capsys.readouterr().out
    assert said.count("DAMAGE  blobs/renamed/") == 3, said
    assert main(["merge", str(RUN), str(RUN), "--out", "merged"]) == 0
    assert "blobs/linear" not in capsys.readouterr().err


def test_failures_that_the_plan_has_no_longer_are_not_in_the_log(tiny: Tiny) -> None:
    own = Path("own.py")
    own.write_text(FAILS, encoding="utf-8")
    log = RUN / "failures.log"
    assert main(["run", str(tiny(OWN)), "--quiet"]) == 1
    assert log.read_text().startswith("blobs/linear/bu/seed0/value: ValueError: boom")
    assert main(["run", str(tiny(OWN, LABEL)), "--quiet"]) == 1
    assert log.read_text().startswith("blobs/renamed/bu/seed0/value: ValueError: boom")
    assert main(["run", str(tiny()), "--quiet"]) == 0, "the measure is left out"
    assert not log.exists()
    assert main(["run", str(tiny(OWN)), "--quiet"]) == 1, "and is there again"
    assert log.exists()
