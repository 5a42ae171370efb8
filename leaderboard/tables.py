"""Results for other programs: tidy CSV, and JSON with everything that is not an image."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

from leaderboard.files import write_atomic
from leaderboard.numbers.derived import derived_rows
from leaderboard.results import Results, Row

COLUMNS = tuple(field.name for field in fields(Row))


def render_csv(results: Results, path: Path) -> Path:
    """Write the tidy rows: one line per number, columns as in `Row`; infinity is "inf"."""
    return _csv(results.rows, path)


def render_derived(results: Results, path: Path) -> Path:
    """As `render_csv`, of what pages derive from recorded cells (`leaderboard.numbers.derived`)."""
    return _csv(derived_rows(results), path)


def _csv(rows: Iterable[Row], path: Path) -> Path:
    lines = [",".join(COLUMNS)]
    lines += [",".join(_field(getattr(row, name)) for name in COLUMNS) for row in rows]
    return write_atomic(path, "\n".join(lines) + "\n")


def render_json(results: Results, path: Path) -> Path:
    """Write rows, metrics, failures, missing and damaged cells, searches and provenance as strict
    JSON.

    JSON has no infinity: an infinite value is the string "inf", which `float` reads in most
    languages. There are no NaNs.
    """
    document = {
        "format": "topdown-bench results",
        "version": 1,
        "title": results.title,
        "rows": [_strict(row) for row in results.rows],
        "derived": [_strict(row) for row in derived_rows(results)],
        "metrics": [
            {"measure": measure, "metric": metric, **asdict(info)}
            for (measure, metric), info in results.metrics.items()
        ],
        "failures": [asdict(failure) for failure in results.failures],
        "missing": [asdict(gone) for gone in results.missing],
        "searches": [asdict(search) for search in results.searches],
        "attacks": {label: asdict(info) for label, info in results.attacks.items()},
        "notes": list(results.notes),
        "damaged": list(results.damaged),
        "provenance": dict(results.provenance),
    }
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    return write_atomic(path, text + "\n")


def _field(value: object) -> str:
    # The shortest digits that read back as the same number; integers stay integers.
    text = repr(float(value)) if isinstance(value, float) else str(value)
    # Not `csv`: with plain line ends it leaves a carriage return in a name unquoted, and the line
    # is then two for whoever reads it.
    quoted = text.replace('"', '""')
    return f'"{quoted}"' if any(mark in text for mark in ',"\r\n') else text


def _strict(row: Row) -> dict[str, object]:
    record = asdict(row)
    if math.isinf(row.value):
        record["value"] = "inf"
    return record
