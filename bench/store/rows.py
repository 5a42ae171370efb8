"""A cell's outcome as a file and as rows of the tables `cells` and `metrics`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.store import files
from bench.store.outcome import Outcome

CellRow = tuple[str | int | float | None, ...]
MetricRow = tuple[str, int, str, float, str, str]


def write_file(folder: Path, identity: str, outcome: Outcome) -> tuple[str | None, str | None]:
    """Write a cell's weights or arrays; give the file, relative to the run directory `folder`, and
    its SHA-256, or two None if it has neither."""
    if outcome.weights is not None:
        relative = files.cell_file(identity, "weights")
        facts = {"identity": identity, **outcome.facts}
        checksum = files.write_weights(folder / relative, outcome.weights, facts)
    elif outcome.arrays:
        relative = files.cell_file(identity, "arrays")
        checksum = files.write_arrays(folder / relative, outcome.arrays)
    else:
        return None, None
    return relative.as_posix(), checksum


def cell_row(
    session: int, identity: str, name: str, outcome: Outcome, file: str | None, sha256: str | None
) -> CellRow:
    """The row of a finished cell; `file` is relative to the run directory."""
    error = outcome.error
    return (
        identity,
        name,
        "failed" if error else "done",
        session,
        outcome.started,
        outcome.seconds,
        outcome.cpu_seconds,
        _text(error.kind) if error else None,
        _text(error.message) if error else None,
        _text(error.traceback) if error else None,
        file,
        sha256,
        json.dumps(dict(outcome.facts), sort_keys=True),
    )


def metric_rows(identity: str, outcome: Outcome) -> Iterator[MetricRow]:
    """The rows of its numbers, in order."""
    for position, metric in enumerate(outcome.metrics):
        whole, bracket, _ = metric.partition("[")
        info = outcome.infos.get(metric) or outcome.infos.get(whole)
        unit, shown = "", "{}"
        if info is not None:
            if bracket:  # a part of a declared metric, like one class's accuracy: no column
                info = replace(info, title=metric, headline=False)
            fields = {name: getattr(info, name) for name in info.__dataclass_fields__}
            unit, shown = info.unit, json.dumps(fields, sort_keys=True)
        yield identity, position, _text(metric), outcome.metrics[metric], _text(unit), shown


def _text(text: str) -> str:
    """What UTF-8, and with it SQLite, cannot hold (half a surrogate pair, out of a foreign file
    name) as an escape, rather than losing the cell over it."""
    return text.encode("utf-8", "backslashreplace").decode()
