"""Whether decoded images in the cache still are what they were: a disk may lose bits unnoticed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from bench.data import cache
from bench.data.dataset import Dataset

_NOTE = "seen-"


def lost(dataset: Dataset, fingerprint: str, key: str) -> bool:
    """Remember the fingerprint of a data set whose images are mapped from the cache. If it is not
    the one that is remembered, the images were damaged there: remove them, say so, and return True;
    loaded again, they are decoded anew.

    Args:
        dataset: as it was loaded.
        fingerprint: of `bench.data.fingerprint`.
        key: says which data set this is: one entry may serve several, such as parts.
    """
    entries = _entries(dataset)
    if not entries:
        return False
    images = fingerprint.partition("+")[0]  # masks and boxes are not cached
    note = entries[0] / (_NOTE + hashlib.sha256(key.encode()).hexdigest()[:16])
    try:
        known = note.read_text(encoding="ascii")
    except (OSError, ValueError):
        known = ""
    if known == images:
        return False
    if not re.fullmatch("[0-9a-f]{64}", known):
        with suppress(OSError):
            part = note.with_name(f"{note.name}.{os.getpid()}")
            part.write_text(images, encoding="ascii")
            part.replace(note)
        return False
    text = f"note: {entries[0]}: the decoded images of {dataset.name} were damaged; decoding anew"
    print(text, file=sys.stderr, flush=True)
    for entry in entries:
        # A part was copied from the whole, which may be damaged as well.
        for folder in (entry, entry.with_name(entry.name.rsplit("-", 2)[0])):
            shutil.rmtree(folder, ignore_errors=True)
    return True


def _entries(dataset: Dataset) -> list[Path]:
    files = [split.file for split in (dataset.train, dataset.test) if split.file is not None]
    return sorted({file.parent for file in files if file.parent.parent == cache.folder()})
