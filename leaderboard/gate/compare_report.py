"""A comparison of two runs, as Markdown for people and as JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict

from leaderboard.gate.compare import Change, Comparison, name_of
from leaderboard.gate.shown import alike
from leaderboard.gate.thresholds import kind
from leaderboard.numbers.summary import Key
from leaderboard.statistics.verdict import Verdict
from leaderboard.text import markdown, markdown_prose

_LEGEND = (
    "An interval is of its number alone; p is corrected for all numbers that were tested "
    "(Benjamini and Hochberg, 1995), and verdicts go by it."
)


def as_markdown(found: Comparison, before: str, after: str) -> str:
    """For a pull request's comment: what changed first, then what did not."""
    beyond = [one for one in found.changes if one.verdict in (Verdict.BETTER, Verdict.WORSE)]
    unsure = [one for one in found.changes if one.verdict is Verdict.INCONCLUSIVE]
    same = len(found.changes) - len(beyond) - len(unsure)
    worse = sum(one.verdict is Verdict.WORSE for one in beyond)
    parts = [
        f"### {markdown(after)} against {markdown(before)}",
        f"{worse} worse, {len(beyond) - worse} better, {len(unsure)} inconclusive, {same} the same;"
        f" {len(found.added)} added, {len(found.removed)} removed, {len(found.gone)} not measured"
        " in whole or in part.",
    ]
    if found.notes:
        parts.append("\n".join(f"- ⚠ {markdown_prose(note)}" for note in found.notes))
    for title, some in (("Beyond noise", beyond), ("Inconclusive", unsure)):
        if some:
            parts.append(f"**{title}**\n\n{_table(some)}")
    if beyond or unsure:
        parts.append(_LEGEND)
    lists = (("Added", found.added), ("Removed", found.removed), ("Not measured", found.gone))
    for title, names in lists:
        if names:
            parts.append(f"**{title}**\n\n" + "\n".join(f"- {markdown(name)}" for name in names))
    return "\n\n".join(parts) + "\n"


def as_json(found: Comparison, before: str, after: str) -> str:
    """Everything, for programs."""
    document = {"format": "topdown-bench compare", "version": 1, "before": before, "after": after}
    plain = {**document, **asdict(found)}
    plain["changes"] = [
        {**c, **dict(zip(Key._fields, c.pop("key"), strict=True))} for c in plain["changes"]
    ]
    return json.dumps(_strict(plain), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _strict(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in value.items()}
    return [_strict(item) for item in value] if isinstance(value, list | tuple) else value


def _table(changes: list[Change]) -> str:
    lines = [
        "| number | before | after | difference (95 % interval) | corrected p | verdict |",
        "|:---|---:|---:|---:|---:|:---|",
    ]
    for one in changes:
        *numbers, verdict = _said(one)
        shown = (*alike(one.before, one.after), *numbers)
        lines.append(
            f"| {markdown(name_of(one.key))} | {' | '.join(shown)} | {markdown(verdict)} |"
        )
    return "\n".join(lines)


def _said(one: Change) -> tuple[str, str, str]:
    found = one.compared
    if found is None:
        return "", "", f"{one.verdict} ({one.reason})"
    times, unit = (
        (100.0, "%") if kind(one.key) == "speed" else (1.0, one.unit.replace("%", "points"))
    )
    # Numbers are made here and need no escapes; a plugin's unit may.
    text = f"{times * found.difference:+.4g} {markdown(unit)}".strip()
    if found.low != found.high:
        text += f" ({times * found.low:+.3g} to {times * found.high:+.3g})"
    return text, f"{found.corrected:.2g}", f"{one.verdict} ({one.reason})"
