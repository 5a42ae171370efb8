"""Writes what the reference takes from the code, so that it reads well without a build too.

    python docs/generate/reference.py

A test fails when a page is out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"


def pages() -> dict[Path, str]:
    """Every page that has generated parts, as it should be."""
    sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
    import cli
    import fields

    found = {FOLDER / "cli.md": cli.text()}
    for name in ("suite.md", "measures.md"):
        found[FOLDER / name] = fields.filled((FOLDER / name).read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
