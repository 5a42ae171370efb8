"""Every relative link and every anchor of the pages leads somewhere, on a code-hosting site too."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from documents import PAGES, ROOT, prose

LINK = re.compile(r"\]\(([^)\s]+)\)")


@cache
def anchors(page: Path) -> frozenset[str]:
    """What headings are called in addresses; mkdocs and code-hosting sites agree on plain ones."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return frozenset(
        re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-") for head in heads
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(re.sub(r"`[^`]*`(?!\])", "", prose(page))):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path).resolve() if path else page
        assert aim.exists(), f"{page}: no {target}"
        assert aim.is_relative_to(ROOT), f"{page}: {target} is outside of the repository"
        assert not anchor or anchor in anchors(aim), f"{page}: no anchor {target}"


def test_pages_are_reached_from_the_index() -> None:
    """By links alone: who reads on a code-hosting site has no menu."""
    left, seen = [ROOT / "docs" / "index.md"], set()
    while left:
        page = left.pop()
        if page not in seen and page in PAGES:
            seen.add(page)
            targets = (target.partition("#")[0] for target in LINK.findall(prose(page)))
            left += [(page.parent / target).resolve() for target in targets if target]
    assert seen >= {page for page in PAGES if page.parent != ROOT}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
