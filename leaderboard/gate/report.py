"""A judgement for people (terminal, Markdown) and programs (JSON, JUnit XML)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from xml.etree import ElementTree as ET

from leaderboard.gate.finding import Exit, Finding, Judgement, Status
from leaderboard.gate.shown import alike
from leaderboard.rounding import fixed
from leaderboard.text import markdown, markdown_prose, one_line, printable

_ORDER = (
    Status.REGRESSION,
    Status.NOT_MEASURED,
    Status.INCONCLUSIVE,
    Status.NOT_COMPARED,
    Status.PASS,
)
_HEADLINES = {
    Exit.PASS: "pass",
    Exit.REGRESSION: "REGRESSION",
    Exit.INCONCLUSIVE: "inconclusive",
    Exit.NOT_MEASURED: "not measured: what is missing cannot pass",
}
_MARKS = {
    Status.PASS: "✓",
    Status.REGRESSION: "✗",
    Status.INCONCLUSIVE: "?",
    Status.NOT_MEASURED: "✗",
    Status.NOT_COMPARED: "·",
}


def headline(judgement: Judgement) -> str:
    """The result in a line, with how many numbers have which status."""
    counts = [(status, judgement.count(status)) for status in _ORDER]
    said = ", ".join(f"{count} {status.value}" for status, count in counts if count)
    result = _HEADLINES[judgement.exit]
    if judgement.exit is Exit.INCONCLUSIVE:
        result += f": {'; of others, '.join(judgement.remedies)}"
    return f"{result} ({said or 'no number was compared'})"


def as_text(judgement: Judgement, title: str) -> str:
    """Lines for a terminal, the worst first."""
    lines = []
    for finding in _sorted(judgement):
        word = finding.status.value
        lines.append(f"{_MARKS[finding.status]} {word:<12}  {finding.name}  {said(finding)}")
    lines += [f"note  {note}" for note in judgement.notes]
    lines.append(f"{title}: {headline(judgement)}")
    return "\n".join(printable(line).replace("\n", " ") for line in lines)


def as_markdown(judgement: Judgement, title: str) -> str:
    """A comment for a pull request."""
    parts = [f"### Regression gate: {markdown(headline(judgement))}", markdown(title)]
    if judgement.findings:
        lines = ["| | number | baseline | run | gain | reason |", "|---|:---|---:|---:|---:|:---|"]
        for one in _sorted(judgement):
            cells = (_MARKS[one.status], one.name, *_means(one), _gain(one), _reason(one))
            lines.append("| " + " | ".join(map(markdown, cells)) + " |")
        parts.append("\n".join(lines))
    if judgement.notes:
        parts.append("\n".join(f"- {markdown_prose(note)}" for note in judgement.notes))
    return "\n\n".join(parts) + "\n"


def as_json(judgement: Judgement, title: str) -> str:
    """Everything, for programs."""
    document = {
        "format": "topdown-bench check",
        "version": 1,
        "title": title,
        "exit": int(judgement.exit),
        "result": judgement.exit.name.lower().replace("_", " "),
        "counts": {status.value: judgement.count(status) for status in _ORDER},
        "notes": list(judgement.notes),
        "findings": [{**one.key._asdict(), **_plain(asdict(one))} for one in judgement.findings],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_junit(judgement: Judgement, title: str) -> str:
    """JUnit XML: a test case for each number, so that a CI's own pages show them.

    Unmeasured numbers are errors, inconclusive and uncompared ones are skipped.
    """
    bad = judgement.count(Status.NOT_MEASURED)
    # Inconclusive is no failure: whether it may pass is the exit code's to say.
    open_ = judgement.count(Status.INCONCLUSIVE) + judgement.count(Status.NOT_COMPARED)
    empty = not judgement.findings
    suite = ET.Element(
        "testsuite",
        name=one_line(title),
        tests=str(len(judgement.findings) + empty),
        failures=str(judgement.count(Status.REGRESSION)),
        errors=str(bad + empty),
        skipped=str(open_),
    )
    tags = {
        Status.REGRESSION: "failure",
        Status.INCONCLUSIVE: "skipped",
        Status.NOT_MEASURED: "error",
        Status.NOT_COMPARED: "skipped",
    }
    for one in judgement.findings:
        owner = ".".join(one_line(part) for part in one.key[:3])
        name = f"{one.key.measure}/{one.key.metric}"
        case = ET.SubElement(suite, "testcase", classname=owner, name=one_line(name))
        if one.status in tags:
            found = ET.SubElement(case, tags[one.status], message=one_line(said(one)))
            found.set("type", one.status.value)
    if empty:
        case = ET.SubElement(suite, "testcase", classname="gate", name="anything measured")
        ET.SubElement(case, "error", message=one_line("; ".join(judgement.notes) or "nothing"))
    return _document(suite)


def error_as_junit(error: str, title: str) -> str:
    """One test case in error: the gate could not judge (a stale baseline, a damaged run), so
    that a CI that reads nothing but this file does not take silence for a pass."""
    suite = ET.Element("testsuite", name=one_line(title), tests="1", failures="0", errors="1")
    suite.set("skipped", "0")
    case = ET.SubElement(suite, "testcase", classname="gate", name="comparable")
    ET.SubElement(case, "error", message=one_line(error)).set("type", "bad input")
    return _document(suite)


def _document(suite: ET.Element) -> str:
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root, " ")
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{printable(text)}\n'


def said(one: Finding) -> str:
    """The numbers of a finding and its reason, in a line."""
    parts = []
    if one.before is not None and one.after is not None:
        parts.append(" -> ".join(_means(one)))
    if one.gain:
        parts.append(_gain(one))
    return ", ".join(part for part in (*parts, _reason(one)) if part)


def _reason(one: Finding) -> str:
    return f"SUSPICIOUS: {one.reason}" if one.suspicious else one.reason


def _gain(one: Finding) -> str:
    """`-1.50 (at least -1.80; -0.30 is a regression)`, in the unit of the threshold."""
    if one.gain is None:
        return ""
    show: Callable[[float], str] = (
        (lambda x: fixed(100 * x, 1, sign=True) + " %") if one.relative else (lambda x: f"{x:+.3g}")
    )
    inside = []
    if one.bound is not None and one.bound != one.gain:
        inside.append(f"at worst {show(one.bound)}")
    decided = one.margin if one.status is Status.PASS and one.margin else one.delta
    if decided:
        inside.append(f"allowed {show(-decided)}")
    return show(one.gain) + (f" ({', '.join(inside)})" if inside else "")


def _means(one: Finding) -> tuple[str, str]:
    """Those of the baseline and of the run, with their unit; "-" where there is none."""
    known = [value for value in (one.before, one.after) if value is not None]
    texts = iter(alike(*known))
    before, after = (
        "-" if value is None else f"{next(texts)} {one.unit}".strip()
        for value in (one.before, one.after)
    )
    return before, after


def _sorted(judgement: Judgement) -> list[Finding]:
    return sorted(judgement.findings, key=lambda one: _ORDER.index(one.status))


def _plain(found: dict[str, object]) -> dict[str, object]:
    """Without the key, which stands beside it, and with infinity as text."""
    found.pop("key")
    return {
        k: str(v) if isinstance(v, float) and abs(v) == float("inf") else v
        for k, v in found.items()
    }
