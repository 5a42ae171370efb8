"""The folders that data sets lie in, and that what is made of them is kept in."""

from __future__ import annotations

import os
from pathlib import Path

# Names the folder of data sets.
DATA = "BENCH_DATA"


def default_root() -> Path:
    """Return `$BENCH_DATA`, else the folder `topdown-bench/data` of the user's cache directory."""
    chosen = os.environ.get(DATA)
    if chosen:
        return Path(chosen).expanduser()
    return _user_cache() / "data"


def cache_home() -> Path:
    """Return `$BENCH_CACHE`, else the folder `topdown-bench` of the user's cache directory."""
    chosen = os.environ.get("BENCH_CACHE")
    return Path(chosen).expanduser() if chosen else _user_cache()


def _user_cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("topdown-bench", appauthor=False))
