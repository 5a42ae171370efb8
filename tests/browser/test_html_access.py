"""The HTML page under axe-core's rules."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from pages import DESKTOP, PHONE, opened, small, write

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(small(), tmp_path_factory.mktemp("access"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_axe_finds_nothing(browser: Any, path: Path, scheme: str, size: tuple[int, int]) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="needs axe-playwright-python: pip install 'topdown-bench[browser]'",
    )
    with opened(browser, path, size, scheme) as page:
        page.locator("#board tbody tr").nth(1).locator("td").nth(1).click()
        assert page.locator("#details").is_visible()
        found = axe.Axe().run(page)
    assert len(found.response["passes"]) > 20
    assert found.violations_count == 0, found.generate_report()


def test_landmarks_and_headings_are_in_order(browser: Any, path: Path) -> None:
    with opened(browser, path) as page:
        for role in ("banner", "navigation", "main", "search"):
            assert page.get_by_role(role).count() == 1
        levels = page.evaluate(
            "[...document.querySelectorAll('h1,h2,h3,h4')].map(one => Number(one.tagName[1]))"
        )
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
        page.keyboard.press("Tab")
        skip = page.locator(":focus")
        assert skip.text_content() == "Skip to the results"
        assert skip.bounding_box()["x"] >= 0
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        targets = page.evaluate(
            "[...document.querySelectorAll('nav a')].map(a => !!document.querySelector(a.hash))"
        )
        assert targets
        assert all(targets)
