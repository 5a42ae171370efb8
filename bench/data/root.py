"""The folder that data sets lie in."""

from __future__ import annotations

import os
from pathlib import Path


def default_root() -> Path:
    """Return `$BENCH_DATA`, else the folder `topdown-bench/data` of the user's cache directory."""
    chosen = os.environ.get("BENCH_DATA")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("topdown-bench", appauthor=False)) / "data"
