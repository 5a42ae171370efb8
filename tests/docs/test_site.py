"""The site is built without a warning and asks nothing of others; generated pages are current."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from documents import ROOT

# An element that a browser loads something for by itself.
LOADED = re.compile(
    r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=[\"']?(https?://[^\"'> ]+)"
)


def test_generated_pages_are_current() -> None:
    """Else: python docs/generate/reference.py"""
    made = runpy.run_path(str(ROOT / "docs" / "generate" / "reference.py"))["pages"]()
    assert len(made) == 3
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, path
    assert "| `bn_momentum` | number, above 0, at most 1; or null | null |" in "".join(
        made.values()
    )


@pytest.mark.parametrize(
    ("key", "takes"),
    [
        ("timeout", "seconds, or text like `30m`; or null"),
        ("memory", "text like `8GiB`; or null"),  # a plain number is refused
        ("claims", "list of: `Claim`; or the name of a file of them; or null"),
    ],
)
def test_the_reference_says_what_a_suite_takes(key: str, takes: str) -> None:
    page = (ROOT / "docs" / "reference" / "suite.md").read_text(encoding="utf-8")
    assert f"| `{key}` | {takes} | null |" in page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("mkdocs", "material", "mkdocstrings"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package} (extra docs)")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_what_docstrings_say(site: Path) -> None:
    arches = (site / "reference" / "arches.html").read_text(encoding="utf-8")
    assert "side in pixels of the images it is wanted and checked for" in arches
    assert ":func:" not in arches
    plugins = (site / "reference" / "plugins.html").read_text(encoding="utf-8")
    assert "how far candidates are from the images" in plugins


def test_links_out_of_the_folder_lead_to_copies(site: Path) -> None:
    page = (site / "results.html").read_text(encoding="utf-8")
    assert 'href="leaderboard/published/quickstart/leaderboard.html"' in page
    assert (site / "leaderboard/published/quickstart/figures/fashion-mnist-mini.png").is_file()
    assert (site / "suites" / "paper.yaml").is_file()
    assert not (site / "generate").exists()


def test_the_site_asks_nothing_of_others(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        assert not LOADED.findall(page.read_text(encoding="utf-8")), page
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import )[\"']?https?:", sheet.read_text("utf-8")), sheet
