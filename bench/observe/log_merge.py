"""Logs of runs that are merged: of each what belongs to the cells that were taken from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.observe.log import RUN, lines
from bench.store.files import LOGS, cell_log, write_whole
from bench.store.merge import Merged
from bench.store.merge_source import Source


def merge_logs(merged: Merged, folder: Path) -> None:
    """Write them into the merged run; a run that has none, as an unpacked one, adds none.

    Raises:
        OSError: the folder cannot be written.
    """
    taken: Mapping[str, Source] = {**merged.halves, **merged.taken}
    told: list[str] = []
    for _, one in sorted({run.number: run for run in taken.values()}.items()):
        told += (json.dumps(entry) for entry in _of_run(one, taken, merged.sessions))
    for identity, one in taken.items():
        path = one.folder / cell_log(identity)
        if path.is_file():
            write_whole(folder / cell_log(identity), path.read_bytes())
    if told:
        write_whole(folder / LOGS / RUN, "".join(f"{line}\n" for line in told).encode())


def _of_run(
    one: Source, taken: Mapping[str, Source], sessions: Mapping[tuple[int, int], int]
) -> Iterator[dict[str, Any]]:
    kept = False
    for entry in lines(one.folder / LOGS / RUN):
        number = entry.get("session")
        if number is not None:
            kept = (one.number, number) in sessions
            entry["session"] = sessions.get((one.number, number), number)
        if (taken.get(str(entry["identity"])) is one) if "identity" in entry else kept:
            yield entry
