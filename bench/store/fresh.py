"""A run directory that is made at once: whole, or not there."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.store.connect import make_folder_lasting


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """Give a folder near the place of `folder`, which must not be there or be empty, and move it
    there when all went well; else nothing is left, not even the parents that were made for it.

    Raises:
        OSError: it cannot be written.
    """
    made = [parent for parent in folder.parents if not parent.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            # A temporary folder is its maker's alone; of one in it the umask decides.
            aside = place / "run"
            aside.mkdir()
            yield aside
            aside.replace(folder)
            make_folder_lasting(folder)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    except BaseException:
        for parent in made:
            # Unless another run has come into it meanwhile.
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise
