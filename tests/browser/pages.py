"""Pages of the leaderboard opened in Chromium, and what is asked of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import leaderboard
from leaderboard import Localized, Missing, Results, Row

sys.path.insert(0, str(Path(__file__).parents[1] / "leaderboard"))
from synthetic_results import failure, results

READY = "html[data-ready]"
DESKTOP, PHONE = (1280, 900), (320, 640)


def large() -> Results:
    """500 networks, five seeds each."""
    names = [f"backbone_{number}" for number in range(25)]
    sets = [f"set-{number}" for number in range(5)]
    variants = ("bu", "td", "td_uni", "td_rev")
    found = results(sets, names, variants, seeds=range(5), images=20)
    return replace(found, samples=())


def small() -> Results:
    """Everything that a page can have: two data sets, curves, figures, maps, gaps, infinities."""
    found = results(("mini", "other"), ("lenet_fc", "resnet"), ("bu", "td"), images=60)
    lost = failure(found, "accuracy", "RuntimeError: <b>no luck</b> & more", "td", 1)
    rows = [
        row
        for row in found.rows
        if not (row.dataset == "mini" and row.backbone == "lenet_fc" and row.measure == "accuracy"
                and ((row.variant, row.seed) == ("td", 1) or row.variant == "bu"))
    ]  # fmt: skip
    failed = [replace(failure(found, "accuracy", "OSError: disk", "bu", s)) for s in (0, 1)]
    gone = Missing("other/resnet/td/seed2/accuracy", "other", "resnet", "td", 2, "accuracy")
    return replace(
        found,
        title="small",
        rows=(*rows, Row("other", "resnet", "td", 7, "robustness/single_pixel", "median_l2",
                         float("inf"), "")),
        failures=(lost, *failed),
        missing=(gone,),
        localized=tuple(_localized(variant) for variant in ("bu", "td")),
    )  # fmt: skip


def _localized(variant: str) -> Localized:
    steps = np.array([0.25, 0.5])
    index, correct = np.arange(4), np.ones(4, dtype=bool)
    tp, fp = np.array([[6, 4]] * 4), np.array([[3, 1]] * 4)
    counts = {"tp": tp, "fp": fp, "fn": 10 - tp}
    return Localized("mini", "lenet_fc", variant, 0, index, correct, **counts, thresholds=steps,
                     threshold=0.5)  # fmt: skip


def write(found: Results, folder: Path) -> Path:
    return leaderboard.render_html(found, folder / "page.html")


@contextmanager
def opened(
    browser: Any, path: Path, size: tuple[int, int] = DESKTOP, scheme: str = "light", **more: Any
) -> Iterator[Any]:
    """The page, with no way out to any network; whatever it reports or requests is a failure."""
    viewport = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=viewport, color_scheme=scheme, **more)
    asked: list[str] = []
    said: list[str] = []

    def refuse(route: Any) -> None:
        url = route.request.url
        if url == path.as_uri():
            route.continue_()
        else:
            asked.append(url)
            route.abort()

    context.route("**/*", refuse)
    page = context.new_page()
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text))
    try:
        page.goto(path.as_uri())
        if more.get("java_script_enabled", True):
            page.wait_for_selector(READY, state="attached", timeout=10_000)
        yield page
        assert not [url for url in asked if not url.startswith("data:")], asked
        assert not said, said
    finally:
        context.close()


def column(page: Any, heading: str) -> list[str]:
    """The texts of a column of the results table, of the rows that are shown, from the top."""
    found: list[str] = page.evaluate(
        """heading => {
          const table = document.getElementById('board');
          const index = [...table.tHead.rows[0].cells]
            .findIndex(cell => cell.textContent.startsWith(heading));
          return [...table.tBodies[0].rows].filter(row => row.offsetParent !== null)
            .map(row => row.cells[index].textContent);
        }""",
        heading,
    )
    return found
