"""Screenshots of a page for the README: on a desktop in light colours, sorted and with the details
of a cell; and the curves on a phone in dark colours.

    bench report RUN --format html --out page.html
    PYTHONPATH=tests/browser python tests/browser/screenshots.py page.html FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from conftest import executable
from pages import opened
from playwright.sync_api import sync_playwright


def main(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=executable(), chromium_sandbox=False)
        with opened(browser, path, (1100, 800)) as page:
            head = page.locator("#board thead th", has_text="median L2").first
            head.get_by_role("button").click()
            page.get_by_label("Search names and flags").fill("lenet")
            page.locator("#board tbody tr").first.locator("td").nth(2).click()
            page.screenshot(path=folder / "html-desktop.png")
        with opened(browser, path, (390, 844), "dark") as page:
            page.locator("h2#curves").scroll_into_view_if_needed()
            page.evaluate("document.querySelector('h2#curves').scrollIntoView()")
            page.wait_for_timeout(700)  # the page scrolls smoothly
            page.screenshot(path=folder / "html-phone.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
