"""Renders benchmark results: Markdown, HTML, CSV, JSON, terminal tables and figures.

Knows nothing of how numbers were measured: everything comes in one `Results`. Names load their
module on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leaderboard.html.page import render_html
    from leaderboard.markdown import render_markdown
    from leaderboard.numbers.summary import Summary, aggregate, summarize
    from leaderboard.results import (
        AttackInfo,
        Claim,
        Failure,
        Localized,
        MetricInfo,
        Missing,
        Removed,
        Results,
        Row,
        Sample,
    )
    from leaderboard.tables import render_csv, render_derived, render_json
    from leaderboard.terminal import terminal_table

__all__ = [
    "AttackInfo",
    "Claim",
    "Failure",
    "Localized",
    "MetricInfo",
    "Missing",
    "Removed",
    "Results",
    "Row",
    "Sample",
    "Summary",
    "aggregate",
    "render_csv",
    "render_derived",
    "render_html",
    "render_json",
    "render_markdown",
    "summarize",
    "terminal_table",
]

_HOMES = {
    "AttackInfo": "results",
    "Claim": "results",
    "Failure": "results",
    "Localized": "results",
    "MetricInfo": "results",
    "Missing": "results",
    "Removed": "results",
    "Results": "results",
    "Row": "results",
    "Sample": "results",
    "Summary": "numbers.summary",
    "aggregate": "numbers.summary",
    "render_csv": "tables",
    "render_derived": "tables",
    "render_html": "html.page",
    "render_json": "tables",
    "render_markdown": "markdown",
    "summarize": "numbers.summary",
    "terminal_table": "terminal",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
