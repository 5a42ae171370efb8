"""Decimals are the same whatever the last bits of a number say, and pages on any processor."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.cli import main
from leaderboard.rounding import fixed, rounded

PAPER_SMALL = Path(__file__).parents[2] / "leaderboard" / "published" / "paper-small"
# Of one less than any that can run this project, so that it differs from the machine's own: sums
# and products are then added up in another order.
OTHER_PROCESSOR = {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1"}


def shaken(value: float, bits: int) -> float:
    """`value` and so many of the next numbers further."""
    for _ in range(abs(bits)):
        value = math.nextafter(value, math.copysign(math.inf, bits))
    return value


# Half way between two decimals, as half of all means of two seeds of 1,000 images are.
@given(st.integers(-200_000, 200_000), st.sampled_from([0, 1, 2, 3]), st.integers(-32, 32))
def test_the_last_bits_do_not_decide(halves: int, decimals: int, bits: int) -> None:
    value = halves / 2 / 10**decimals
    assert fixed(shaken(value, bits), decimals) == fixed(value, decimals)
    assert abs(rounded(value, decimals) - value) <= 0.5 / 10**decimals + 1e-9


@given(st.integers(-2_000, 2_000), st.integers(-500, 500), st.integers(-32, 32))
def test_those_of_a_difference_do_not_either(first: int, second: int, bits: int) -> None:
    before, after = first / 20, (first + second) / 20
    known = fixed((second / 20), 1, sign=True)
    assert fixed(shaken(after, bits) - before, 1, sign=True) == known


@given(st.floats(-1e15, 1e15), st.sampled_from([0, 1, 2, 6]))
def test_other_numbers_are_rounded_as_ever(value: float, decimals: int) -> None:
    assert rounded(value, decimals) == pytest.approx(round(value, decimals), rel=1e-12, abs=1e-8)


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (82.05, 1, "82.0"),  # as Python rounds it
        (82.05 + 3e-14, 1, "82.0"),
        (-1e-15, 1, "0.0"),
        (1234567.891, 2, "1,234,567.89"),
        (1234567890123456.0, 0, "1,234,567,890,123,456"),
        (123456789012.3, 1, "123,456,789,012.3"),
        (math.inf, 1, "inf"),
        (-math.inf, 1, "-inf"),
        (math.nan, 1, "nan"),
    ],
)
def test_texts(value: float, decimals: int, text: str) -> None:
    assert fixed(value, decimals) == text


@pytest.mark.parametrize(("value", "text"), [(0.31, "+0.3"), (-0.31, "-0.3"), (-0.01, "+0.0")])
def test_texts_with_a_sign(value: float, text: str) -> None:
    assert fixed(value, 1, sign=True) == text


@pytest.mark.slow
def test_another_processor_makes_the_same_page(tmp_path: Path) -> None:
    """The one whose committed page was another on another processor."""
    run, out = tmp_path / "run", tmp_path / "page"
    assert main(["unpack", str(PAPER_SMALL / "run.tar.xz"), "--out", str(run)]) == 0
    command = [sys.executable, "-m", "bench", "report", str(run), "--out", str(out)]
    subprocess.run(command, check=True, env={**os.environ, **OTHER_PROCESSOR})
    page = (PAPER_SMALL / "leaderboard.md").read_bytes()
    assert (out / "leaderboard.md").read_bytes() == page
