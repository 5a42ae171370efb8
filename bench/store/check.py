"""Which recorded files are lost or not what was written."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from bench.errors import BenchError
from bench.store import files
from bench.store.database import Store

# Named as the plan names them now: a label may have been another one when they were measured.
FILES = """SELECT c.identity, coalesce(p.name, c.name) AS told, c.file, c.sha256 FROM cells c
    LEFT JOIN (SELECT identity, name, min(position) FROM planned GROUP BY identity) p
    USING (identity) WHERE c.file IS NOT NULL ORDER BY told"""


def damaged_files(
    store: Store, folder: str, skip: Collection[str] = ()
) -> Iterator[tuple[str, str, str]]:
    """Identity, name and what is wrong for each cell whose file in `folder` ("arrays", "weights")
    cannot be used, except for the identities in `skip`."""
    for identity, name, file, sha256 in store.tuples(FILES):
        if identity in skip or not file.startswith(f"{folder}/"):
            continue
        try:
            files.verified(store.folder / file, sha256)
        except BenchError as error:
            yield identity, name, str(error)
