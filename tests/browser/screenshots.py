"""Screenshots of both pages for docs/: the HTML page on a desktop in light colours, sorted and
with the details of a cell, and its curves on a phone in dark colours; the Markdown page as a
code-hosting site sets it.

    bench report RUN --format html --out page.html
    PYTHONPATH=tests/browser python tests/browser/screenshots.py page.html RUN/leaderboard.md FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from conftest import executable
from markdown_it import MarkdownIt
from pages import opened
from playwright.sync_api import sync_playwright

# About what code-hosting sites do: a column of text, ruled tables, pictures no wider than it.
_STYLE = """body { font: 16px/1.5 system-ui, sans-serif; color: #1f2328; max-width: 1012px;
  margin: 32px auto; padding: 0 32px } table { border-collapse: collapse; display: block;
  overflow: auto } th, td { border: 1px solid #d1d9e0; padding: 6px 13px } tr:nth-child(2n) {
  background: #f6f8fa } h1, h2 { border-bottom: 1px solid #d1d9e0; padding-bottom: .3em }
  img { max-width: 100% }"""


def hosted(markdown: Path) -> Path:
    """The page as HTML beside it, where its figures are."""
    body = MarkdownIt("commonmark").enable("table").render(markdown.read_text("utf-8"))
    path = markdown.with_name("hosted.html")
    path.write_text(f"<!DOCTYPE html><meta charset=utf-8><style>{_STYLE}</style>{body}", "utf-8")
    return path


def main(path: Path, markdown: Path, folder: Path) -> None:
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
        page = browser.new_page(viewport={"width": 1100, "height": 1150})
        picture = hosted(markdown)
        page.goto(picture.as_uri())
        page.screenshot(path=folder / "markdown.png")
        picture.unlink()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), Path(sys.argv[3]))
