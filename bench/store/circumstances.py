"""Under which circumstances a run was measured, as the leaderboard shows it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from bench.store.database import Store
from bench.store.outcome import NOTES
from bench.store.seals import Broken

_NAMED = 6  # networks in one sentence
# A fact of the run: cells of several runs were put together in it.
MERGED = "merged"
PRECISIONS = """SELECT c.identity, c.facts, p.dataset, p.backbone, p.variant
    FROM planned p JOIN cells c USING (identity)
    WHERE p.measure = 'train' AND c.status = 'done' ORDER BY p.position"""
MEASURED = """SELECT session, count(*) FROM cells WHERE status = 'done'
    AND identity IN (SELECT identity FROM planned) GROUP BY session"""
TRAININGS = """SELECT c.identity, c.facts FROM planned p JOIN cells c USING (identity)
    WHERE p.measure = 'train' AND c.status = 'done' ORDER BY p.position"""
NAMED = """SELECT c.identity, c.name, c.facts, p.dataset, p.backbone FROM planned p
    JOIN cells c USING (identity) WHERE p.measure = 'train' AND c.status = 'done'
    ORDER BY p.position"""

TIMED = """SELECT p.dataset, p.backbone, p.variant, s.id, s.provenance
    FROM planned p JOIN cells c USING (identity) JOIN sessions s ON s.id = c.session
    WHERE c.status = 'done' AND (p.measure = 'efficiency' OR p.measure LIKE 'efficiency/%')
    ORDER BY p.position"""


def shown(
    store: Store, facts: Mapping[str, str], broken: Broken
) -> tuple[dict[str, str], dict[str, Any]]:
    """Headings to text, from the last session whose record is whole, and that record."""
    rows = store.rows("SELECT * FROM sessions ORDER BY id")
    count = len(rows) + len(broken.lost_sessions)
    # A repaired run has sessions without a record.
    whole = [(row, _record(row)) for row in rows if row["id"] not in broken.sessions]
    whole = [(row, record) for row, record in whole if record]
    if not whole:
        return {"sessions": f"{count} (their records are damaged)"}, {}
    # Another suite of the same name may have been run there since, and be put back by this one.
    suite = facts.get("suite_text")
    own = [(row, record) for row, record in whole if record.get("suite_text") == suite]
    row, last = (own or whole)[-1]
    found = _of_session(row["started"], last)
    counts = dict(store.tuples(MEASURED))
    records = [(counts.get(row["id"], 0), record) for row, record in whole]
    found["versions"] += _other_versions(records, last, sum(counts.values()))
    if commits := _commits(records):
        found["commits"] = commits
    found["sessions"] = str(count)
    if len(whole) < count:
        found["sessions"] += f" (the records of {count - len(whole)} are damaged)"
    if trainings := _trainings(store, broken.cells):
        found["training"] = trainings
    hosts = {_kind(record["hardware"]) for _, record in whole}
    if len(hosts) > 1 or MERGED in facts:
        found["machines"] = _machines([(counts.get(row["id"], 0), row, r) for row, r in whole])
    found["suite"] = facts.get("suite_text", "")
    if len(hosts) > 1:
        found["hardware"] += f" (the run used {len(hosts)} different machines)"
    if MERGED in facts:  # no session has looked at all networks
        notes = (note for count, record in records if count for note in record.get("notes", ()))
        last = {**last, "notes": list(dict.fromkeys(notes))}
    return found, last


def _other_versions(
    records: Iterable[tuple[int, Mapping[str, Any]]], last: Mapping[str, Any], total: int
) -> str:
    """What was measured with other versions than the last session's, which the page names; packages
    that only one of the two names say nothing. `records`: the cells of each session, and it."""
    now, found = _versions(last), Counter[str]()
    for count, record in records:
        then = _versions(record)
        others = [
            f"{name} {then[name]}" for name in then if now.get(name, then[name]) != then[name]
        ]
        if others and count:
            found[", ".join(others)] += count
    told = (f"{count} of {total} measured cells with {names}" for names, count in found.items())
    return f" ({'; '.join(told)})" if found else ""


def _commits(records: Iterable[tuple[int, Mapping[str, Any]]]) -> str:
    """How many cells were measured at each commit of the code, where that is more than one."""
    found = Counter[str]()
    for count, record in records:
        found[record["git_commit"]] += count
    told = [f"{commit} ({count})" for commit, count in found.items() if count]
    return f"{', '.join(told)} (measured cells)" if len(told) > 1 else ""


def _machines(sessions: Iterable[tuple[int, Any, Mapping[str, Any]]]) -> str:
    """What was measured on which hardware, and when: `AMD EPYC, 2 cores; 24 GiB: 12 measured cells,
    2026-11-28 to 2026-11-29`. `sessions`: the cells of each, its row, and its record."""
    cells, days = Counter[str](), dict[str, list[str]]()
    for count, row, record in sessions:
        if count:
            cells[record["hardware"]] += count
            day = datetime.fromtimestamp(row["started"], UTC).strftime("%Y-%m-%d")
            days.setdefault(record["hardware"], []).append(day)
    return ". ".join(
        f"{name}: {cells[name]} measured cell{'' if cells[name] == 1 else 's'}, "
        + " to ".join(dict.fromkeys((min(when), max(when))))
        for name, when in days.items()
    )


def _kind(hardware: str) -> str:
    """Hardware without the number of its GPUs: each cell works on one."""
    return re.sub("^[0-9]+ x ", "", hardware)


def timed_on(store: Store, broken: Broken) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """The hardware that each network (data set, backbone, variant) was timed on, as far as the
    records of its sessions are whole; on a cluster of several kinds it may be any of these.
    Machines of the same processors have one name, for speeds compare whatever memory is beside."""
    found: dict[tuple[str, str, str], dict[str, None]] = {}
    names: dict[str, str] = {}
    for dataset, backbone, variant, session, text in store.tuples(TIMED):
        hardware = "" if session in broken.sessions else json.loads(text).get("hardware", "")
        for name in filter(None, map(_kind, hardware.split(" | "))):
            name = names.setdefault(re.sub("; [^;]+ GiB$", "", name), name)
            found.setdefault((dataset, backbone, variant), {})[name] = None
    return {net: tuple(names) for net, names in found.items()}


def _versions(record: Mapping[str, Any]) -> dict[str, str]:
    return {"Python": record["python"], **record["versions"]}


def _record(row: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row["provenance"])
    return found


def _of_session(started: float, provenance: Mapping[str, Any]) -> dict[str, str]:
    versions = ", ".join(f"{name} {number}" for name, number in provenance["versions"].items())
    found = {
        "command": provenance["command"],
        "date": datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "hardware": provenance["hardware"],
        "versions": f"Python {provenance['python']}, {versions}",
        "commit": provenance["git_commit"],
    }
    if provenance.get("power"):
        found["power"] = provenance["power"]
    if provenance.get("plugins"):
        plugins = sorted(provenance["plugins"].items())
        found["plugins"] = ", ".join(f"{name} ({code})" for name, code in plugins)
    return found


def _trainings(store: Store, damaged: Container[str]) -> str:
    """How the trainings computed: `4 trainings: deterministic mode, bf16, channels_last, ...`."""
    texts = (text for identity, text in store.tuples(TRAININGS) if identity not in damaged)
    facts = [json.loads(text).get("training") for text in texts]
    # Runs of earlier versions do not tell.
    ways = Counter(_way(found) for found in facts if found)
    return "; ".join(
        f"{count} training{'s' if count > 1 else ''}: {way}" for way, count in ways.items()
    )


def mixed_precisions(store: Store, damaged: Container[str]) -> Iterator[str]:
    """A note for each data set on which networks were trained in several precisions: what tells
    them apart may be that."""
    found: dict[str, dict[str, dict[str, None]]] = {}
    for identity, text, dataset, backbone, variant in store.tuples(PRECISIONS):
        if identity in damaged:  # its text need not be JSON
            continue
        precision = json.loads(text).get("training", {}).get("precision")
        if precision:
            nets = found.setdefault(dataset, {}).setdefault(precision, {})
            nets[f"{backbone} {variant}"] = None
    for dataset, by_precision in found.items():
        if len(by_precision) > 1:
            told = "; ".join(f"{name}: {_named(nets)}" for name, nets in by_precision.items())
            yield (
                f"{dataset}: networks were trained in different precisions ({told}), so compare "
                "across them with care; `precision: fp32` in the recipe trains all alike"
            )


def noted(store: Store, damaged: Container[object]) -> dict[str, None]:
    """What was noted of the trainings, which the last session need not have looked at, under the
    labels that they have now: they may have been trained under others."""
    found: dict[str, None] = {}
    for identity, name, text, dataset, backbone in store.tuples(NAMED):
        # Most have none, and their losses are long to parse.
        if identity in damaged or f'"{NOTES}"' not in text:
            continue
        before, now = name.rsplit("/", 3)[0], f"{dataset}/{backbone}"
        for note in json.loads(text).get(NOTES, ()):
            rest = note.removeprefix(before)
            found[now + rest if rest != note and rest[:1] in ("/", ":") else note] = None
    return found


def _named(nets: Collection[str]) -> str:
    some = ", ".join([*nets][:_NAMED])
    return f"{some} and {len(nets) - _NAMED} more" if len(nets) > _NAMED else some


def _way(facts: Mapping[str, Any]) -> str:
    apart = facts.get("grouped_convolutions")
    precision = facts["precision"] + (f" (grouped convolutions {apart})" if apart else "")
    parts = [f"{facts['mode']} mode", precision, facts["memory_format"]]
    threads = facts["threads"]
    parts.append(f"{threads} CPU thread{'s' if threads > 1 else ''}")
    if facts["cuda_graph"]:
        parts.append("steps replayed as a CUDA graph")
    if "note" in facts:
        parts.append(facts["note"])
    if "parts" in facts:
        parts.append(f"batches in {facts['parts']} parts")
    return ", ".join(parts)
