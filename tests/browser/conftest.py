"""A browser for the tests here, or the reason why there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def executable() -> str | None:
    """The system's Chromium; $CHROMIUM names another."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install 'topdown-bench[browser]'"
    )
    path = executable()
    if path is None:
        pytest.skip("needs Chromium (Debian: chromium), or $CHROMIUM with its path")
    with playwright.sync_playwright() as started:
        # A container's root has no sandbox to use; the pages are our own.
        browser = started.chromium.launch(executable_path=path, chromium_sandbox=False)
        yield browser
        browser.close()
