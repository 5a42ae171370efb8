"""The HTML page of 500 networks: small, quick to load, quick to sort."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
from pages import column, large, opened, write

pytestmark = pytest.mark.browser
# What is promised, in milliseconds, of an idle machine of today; others take up to three times as
# long, shared ones for hours.
LOAD, SORT = 1000, 100
SLOWER = 3

_SORTS = """() => {
  const times = [];
  for (const head of document.querySelectorAll('#board thead th')) {
    for (let press = 0; press < 2; press += 1) {
      const start = performance.now();
      head.querySelector('button').click();
      document.getElementById('board').getBoundingClientRect(); // with its layout
      times.push(performance.now() - start);
    }
  }
  return times;
}"""
_FILTERS = """() => [...'backbone_1 td'].map((_, end, letters) => {
  const box = document.querySelector('input[type=search]');
  const start = performance.now();
  box.value = letters.slice(0, end + 1).join('');
  box.dispatchEvent(new Event('input'));
  document.getElementById('board').getBoundingClientRect();
  return performance.now() - start;
})"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(large(), tmp_path_factory.mktemp("large"))


def test_it_is_small(path: Path) -> None:
    assert path.stat().st_size < 1_000_000


def test_it_loads_in_no_time(
    browser: Any, path: Path, record_property: pytest.RecordProperty
) -> None:
    times = []
    for _ in range(5):
        with opened(browser, path) as page:
            # From the start of the navigation until the script has run and all rows are laid out.
            times.append(
                page.evaluate(
                    "() => { document.body.getBoundingClientRect();"
                    " return performance.getEntriesByName('ready')[0].startTime }"
                )
            )
            assert len(column(page, "Backbone")) == 500
    record_property("load_ms", times)
    print(f"\nload: median {statistics.median(times):.0f} ms of {[round(t) for t in times]}")
    assert statistics.median(times) < LOAD * SLOWER


def least(page: Any, script: str) -> list[float]:
    """The least of three times of each step: what other programs take comes on top."""
    rounds = [page.evaluate(script) for _ in range(3)]
    return [min(times) for times in zip(*rounds, strict=True)]


def test_it_sorts_in_no_time(
    browser: Any, path: Path, record_property: pytest.RecordProperty
) -> None:
    with opened(browser, path) as page:
        sorts, filters = least(page, _SORTS), least(page, _FILTERS)
        assert len(column(page, "Backbone")) > 0
    for name, times in (("sort_ms", sorts), ("filter_ms", filters)):
        record_property(name, times)
        print(f"\n{name}: median {statistics.median(times):.1f}, at most {max(times):.1f}")
        assert statistics.median(times) < SORT * SLOWER
