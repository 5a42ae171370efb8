"""What is still known of a run whose table of facts or of planned cells is damaged.

Each of these tables has one seal for all its rows, which does not tell the damaged row. The plan
is put together from rows that agree with themselves and from the recorded cells, and the digest of
the plan, which is a fact, proves it where it fits.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, product
from pathlib import Path
from typing import Any

from bench import identity
from bench.store import seals

# A fact of the run: its weights were left out, which is no damage.
LEFT_OUT = "weights_left_out"
PLAN = "plan"
ANEW = "`bench run` of the same suite writes it anew"
_PLAN_LOST = (
    "the list of planned cells was damaged and is what can be read of it and what the cells tell; "
    + ANEW
)
_FACTS_LOST = (
    "the facts of the suite (attacks, claims, notes) were damaged and are left out; " + ANEW
)
_WHOLE = "it is rebuilt, and nothing of it is lost"
_CELLS = """SELECT c.identity, c.name, c.session, coalesce(s.provenance, '{}') FROM cells c
    LEFT JOIN sessions s ON s.id = c.session ORDER BY c.started, c.name"""

Tuple = tuple[Any, ...]
# Dataset, backbone, variant, seed, measure.
Fields = tuple[str, str, str, int, str]
_SEED, _MEASURE = 3, 4


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The tables that were damaged, and in words what became of them."""

    tables: list[str]
    text: str


@dataclass(frozen=True, slots=True)
class _Cells:
    """Recorded cells that are whole: names by identity, in the order in which they may have been
    planned, and those of them that are of the suite as it was last."""

    names: Mapping[str, str]
    current: Collection[str]


def rebuild(
    db: sqlite3.Connection,
    folder: Path,
    broken: Sequence[str],
    facts: Iterable[Tuple],
    planned: Iterable[Tuple],
) -> Rebuilt:
    """Write what is known of both tables into `db`, which has the cells, in its transaction.

    Args:
        folder: the run directory.
        broken: which of the tables `facts` and `planned` do not fit their seals.
        facts, planned: the rows of the tables, as far as they can be read.
    """
    told = {key: value for key, value, *_ in facts if isinstance(key, str)}
    proof = told.get(PLAN)
    kept = {key: value for key, value in told.items() if key not in ("format", PLAN)}
    lost = []
    if "facts" in broken:
        left_out = told.get(LEFT_OUT) == "yes" or _without_weights(db, folder)
        kept = {LEFT_OUT: "yes"} if left_out else {}
        lost.append(_FACTS_LOST)
    rows = [*planned]
    if "planned" in broken:
        rows, proved = _plan(rows, _cells(db, kept.get("suite_text")), proof)
        lost += [] if proved else [_PLAN_LOST]
    else:
        proved = proof == _digest(rows)
    if proved:
        kept[PLAN] = str(proof)
    if lost:
        kept["notes"] = json.dumps([*json.loads(kept.get("notes", "[]")), *map(_sentence, lost)])
    _write(db, kept, rows)
    return Rebuilt([*broken], "; ".join(lost) or _WHOLE)


def _write(db: sqlite3.Connection, facts: Mapping[str, str], planned: Iterable[Tuple]) -> None:
    db.execute("DELETE FROM planned")
    db.execute("DELETE FROM facts WHERE key != 'format'")
    db.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
    db.executemany("INSERT INTO planned VALUES (?, ?, ?, ?, ?, ?, ?, ?)", planned)
    for table in seals.TABLES:
        seals.seal_table(db, table)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _without_weights(db: sqlite3.Connection, folder: Path) -> bool:
    """Whether all weights are gone: as in a run that was packed without them."""
    query = "SELECT 1 FROM cells WHERE file LIKE 'weights/%' LIMIT 1"
    there = any((folder / "weights").glob("*.safetensors"))
    return not there and bool(_tuples(db, query))


def _cells(db: sqlite3.Connection, suite: str | None) -> _Cells:
    """The whole cells; `suite` is the text of the suite, if it is known."""
    found = seals.broken(db)
    rows = [row for row in _tuples(db, _CELLS) if row[0] not in found.cells]
    texts = {
        session: json.loads(provenance).get("suite_text")
        for session, provenance in {(row[2], row[3]) for row in rows}
        if session not in found.sessions
    }
    known = [texts[session] for session in sorted(texts) if texts[session] is not None]
    last = suite if suite is not None else known[-1] if known else None
    # Of an earlier suite there may be cells that the plan has no longer.
    current = {row[0] for row in rows if last is None or texts.get(row[2]) == last}
    # As a plan has them: network by network, each in the order in which it was begun.
    begun: dict[str, int] = {}
    for at, row in enumerate(rows):
        begun.setdefault(_net(row[1]), at)
    rows.sort(key=lambda row: begun[_net(row[1])])
    return _Cells({row[0]: row[1] for row in rows}, current)


def _net(name: str) -> str:
    """The network of a cell by its name, with its seed."""
    net, found, rest = name.partition("/seed")
    return net + found + rest.partition("/")[0]


def _plan(planned: list[Tuple], cells: _Cells, proof: str | None) -> tuple[list[Tuple], bool]:
    """The plan, and whether it is proved to be what it was."""
    at = {row[0]: row for row in planned if isinstance(row[0], int)}
    planned = [at[position] for position in sorted(at)]
    for trusted, renamed in product(("fields", "name"), (False, True)):
        rows = [*_mended(planned, cells, trusted, renamed)]
        for found in (rows, _completed(rows, cells)):
            if _digest(found) == proof:
                return found, True
    return _completed([*_mended(planned, cells, "", False)], cells), False


def _digest(rows: Iterable[Tuple]) -> str:
    """As `bench run` takes it, over the rows without their positions."""
    return identity.digest([row[1:] for row in rows])


def _mended(
    planned: Iterable[Tuple], cells: _Cells, trusted: str, renamed: bool
) -> Iterator[Tuple]:
    """The rows of the plan that agree with themselves, and those that can be made to.

    Args:
        trusted: "fields" or "name" is believed where they disagree and no cell decides it;
            otherwise such a row is left out.
        renamed: whether an identity that no cell has is that of the cell of this name.
    """
    known = {row[1] for row in planned}
    spare = {name: key for key, name in cells.names.items() if key not in known}
    for position, key, name, *fields in planned:
        if not all(
            isinstance(text, str) for text in (key, name, *fields[:_SEED], fields[_MEASURE])
        ):
            continue
        own = _name(fields)
        if own != name:
            recorded = cells.names.get(key) or (name if trusted == "name" else None)
            fitting = _fitting(recorded, fields) if recorded else fields if trusted else None
            if fitting is None:
                continue
            fields, name = [*fitting], _name(fitting)
        if renamed and key not in cells.names:
            key = spare.get(name, key)
        yield position, key, name, *fields


def _completed(rows: list[Tuple], cells: _Cells) -> list[Tuple]:
    """With the recorded cells that the rows lack, in the gaps and after the end."""
    known, named = {row[1] for row in rows}, {row[2] for row in rows}
    times = Counter(cells.names.values())
    nets = {"/".join(row[3:6]): row[3:6] for row in rows}
    places = {row[0] for row in rows}
    free = chain(
        (at for at in range(max(places, default=-1)) if at not in places),
        count(max(places, default=-1) + 1),
    )
    added = []
    for key, name in cells.names.items():
        if key in known or key not in cells.current or name in named or times[name] > 1:
            continue
        fields = _split(name, nets)
        if fields is not None:
            added.append((next(free), key, name, *fields))
    return sorted([*rows, *added])


def _name(fields: Sequence[Any]) -> str:
    """The name of a cell; that of a trial has no seed before its title."""
    dataset, backbone, variant, seed, measure = fields
    between = "" if measure.startswith("tune/") else f"seed{seed}/"
    return f"{dataset}/{backbone}/{variant}/{between}{measure}"


def _fitting(name: str, fields: Sequence[Any]) -> Fields | None:
    """The fields, one of them changed, so that they come to the name."""
    for place in range(len(fields)):
        mark = "\0"
        before, found, after = _name([*fields[:place], mark, *fields[place + 1 :]]).partition(mark)
        if not found or not (name.startswith(before) and name.endswith(after)):
            continue
        middle = name[len(before) : len(name) - len(after)]
        changed: list[Any] = [*fields]
        changed[place] = int(middle) if place == _SEED and middle.isdecimal() else middle
        if _name(changed) == name and isinstance(changed[_SEED], int):
            dataset, backbone, variant, seed, measure = changed
            return dataset, backbone, variant, seed, measure
    return None


def _split(name: str, nets: Mapping[str, Sequence[str]]) -> Fields | None:
    """The fields of a name: by the networks of the plan, or where three parts can be but one."""
    net, found, rest = name.partition("/seed")
    seed, slash, measure = rest.partition("/")
    dataset, backbone, variant = nets.get(net) or (
        net.split("/") if net.count("/") == 2 else [""] * 3
    )
    if not (found and slash and seed.isdecimal() and dataset):
        return None
    return dataset, backbone, variant, int(seed), measure


def _tuples(db: sqlite3.Connection, sql: str) -> list[Any]:
    cursor = db.cursor()
    cursor.row_factory = None
    return cursor.execute(sql).fetchall()
