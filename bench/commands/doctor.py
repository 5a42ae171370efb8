"""`bench doctor RUN`: verify a run directory, row by row and file by file, and mend it."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from bench.errors import BenchError, visible
from bench.observe.log import finished, note_lost
from bench.store.database import KEPT, Store
from bench.store.doctor import AGAIN, Finding, Seen, examine, seen
from bench.store.read import results

PAGE = "leaderboard.md"


def main(args: argparse.Namespace) -> int:
    """Print a line for each finding; 0 if the run is whole or was mended, 1 if damage is left or
    cells were lost."""
    found = []
    try:
        for one in _all(args.run, args.repair):
            found.append(one)
            with suppress(BrokenPipeError):  # who stops reading wants the rest mended, too
                print(_line(one))
    except OSError as error:
        what = "mended" if args.repair else "read"
        raise BenchError(f"{args.run}: cannot be {what}: {error}") from None
    with suppress(BrokenPipeError):
        print(_summary(args.run, found, args.repair))
    return 1 if any(one.is_damage for one in found) else 0


def _all(folder: Path, repair: bool) -> Iterator[Seen]:
    broken = False
    for one in examine(folder, repair):
        broken = broken or (one.is_damage and not one.mended)
        yield one
    if not broken:  # else a page would tell less than there is
        for finding in (*_log(folder), *_page(folder)):
            yield seen(finding, repair)


def _log(folder: Path) -> Iterator[Finding]:
    """Cells of the plan that the log tells to be done, and the results do not: as when the
    database's write-ahead log was lost."""
    store = Store.open(folder)
    try:
        planned = {row[0] for row in store.tuples("SELECT identity FROM planned")}
        lost = {i: name for i, name in finished(folder).items() if i in planned}
        for identity in store.statuses().keys() & lost.keys():
            del lost[identity]
    finally:
        store.close()
    for identity, name in lost.items():
        text = f"{folder}: {name}: done, as the log tells, but its result is lost or taken back"
        note = partial(note_lost, folder, identity, name)
        yield Finding(text, f"noted in the log; {AGAIN}", note, harmless=True, without=AGAIN)


def _page(folder: Path) -> Iterator[Finding]:
    """The page and its figures, beside those that the results make now."""
    import leaderboard

    store = Store.open(folder)
    try:
        found = results(store)
    except BenchError:
        return  # nothing was run there yet, or the next run has to write its plan anew
    finally:
        store.close()
    if not (folder / PAGE).exists():
        return
    with tempfile.TemporaryDirectory() as fresh:
        leaderboard.render_markdown(found, Path(fresh), folder / KEPT)
        stale = [
            path.relative_to(fresh)
            for path in sorted(Path(fresh).rglob("*"))
            if path.is_file() and not _same(path, folder / path.relative_to(fresh))
        ]
    if stale:
        names = ", ".join(map(str, stale[:3])) + (", ..." if len(stale) > 3 else "")
        text = f"{folder}: not what the results make now: {names}"
        again = partial(leaderboard.render_markdown, found, folder, folder / KEPT)
        without = f"`bench report {folder}` makes it anew"
        yield Finding(text, "it is made anew", again, harmless=True, without=without)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.read_bytes() == other.read_bytes()
    except OSError:
        return False


def _line(one: Seen) -> str:
    word = "note" if one.finding.harmless else "DAMAGE"
    if one.mended:
        word = "LOST" if one.lost else "mended"
    return visible(f"{word:<6}  {one.finding.text}; {one.remedy}")


def _summary(folder: Path, found: Sequence[Seen], repair: bool) -> str:
    if any(one.lost for one in found):
        again = "run the same suite again for what is missing"
        return f"{folder}: not all cells could be saved; {again}"
    damage = sum(one.is_damage for one in found)
    if damage:
        hint = "" if repair else f"; `python -m bench doctor {folder} --repair` mends it"
        return f"{folder}: {damage} damaged{hint}"
    if any(one.mended for one in found):
        return f"{folder}: mended; run the same suite again for what is missing"
    tidies = any(one.finding.mend is not None for one in found)
    notes = f", {len(found)} note{'s'[: len(found) != 1]}" if found else ""
    return f"{folder}: whole{notes}{' (--repair tidies up)' if tidies else ''}"
