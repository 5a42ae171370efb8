"""Hooks of mkdocs: pages may link to files of the repository that lie outside of `docs/`.

On a code-hosting site `../suites/paper.yaml` is the file itself. On the site built here it has to
be copied, and the link, which leaves the folder of the pages, has to be turned to the copy.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
# What is copied, at the same place relative to the site as to the repository.
SHOWN = (
    "leaderboard/published/**/*.md",
    "leaderboard/published/**/*.png",
    "leaderboard/published/**/*.csv",
    "leaderboard/published/**/*.tar.xz*",
    "leaderboard/baselines/*.json",
    "suites/**/*.yaml",
)
ALSO = ("arches/support.csv",)
_ROLE = re.compile(r":(?:func|data|class|meth|mod|attr):<code>")
_LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the files from outside."""
    paths = [path for pattern in SHOWN for path in sorted(ROOT.glob(pattern))]
    for path in [*paths, *(ROOT / name for name in ALSO)]:
        uri = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links that leave `docs/` to the copies."""
    here = PurePosixPath(page.file.src_uri).parent
    if page.file.src_uri.startswith("leaderboard/"):
        return markdown

    def turned(match: re.Match[str]) -> str:
        target = os.path.normpath(f"docs/{here}/{match[2]}")
        if target.startswith("docs/") or target.startswith(".."):
            return match[0]
        return f"{match[1]}{os.path.relpath(target, here)}{match[3]}"

    return _LINK.sub(turned, markdown)


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Take the roles of docstrings, as in :func:`arches.invert`, off the names that they mark."""
    return _ROLE.sub("<code>", html)
