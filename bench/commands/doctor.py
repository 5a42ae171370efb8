"""`bench doctor RUN`: verify a run directory, row by row and file by file, and mend it."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.errors import BenchError, visible
from bench.observe.log import finished
from bench.store.database import KEPT, Store
from bench.store.doctor import AGAIN, Finding, Seen, examine
from bench.store.read import results

PAGE = "leaderboard.md"


def main(args: argparse.Namespace) -> int:
    """Print a line for each finding; 0 if the run is whole or was mended, 1 if damage is left."""
    damage = count = 0
    try:
        for one in _all(args.run, args.repair):
            count += 1
            damage += not (one.mended or one.finding.harmless)
            print(_line(one))
    except OSError as error:
        raise BenchError(f"{args.run}: cannot be mended: {error}") from None
    print(_summary(args.run, count, damage, args.repair))
    return 1 if damage else 0


def _all(folder: Path, repair: bool) -> Iterator[Seen]:
    broken = False
    for one in examine(folder, repair):
        broken = broken or not (one.mended or one.finding.harmless)
        yield one
    if not broken:  # else a page would tell less than there is
        for finding in (*_log(folder), *_page(folder)):
            mended = repair and finding.mend is not None
            if finding.mend is not None and mended:
                finding.mend()
            yield Seen(finding, mended)


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
    for name in lost.values():
        text = f"{folder}: {name}: done, as the log tells, but its result is lost or taken back"
        yield Finding(text, AGAIN, harmless=True)


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
        yield Finding(text, f"`bench report {folder}` makes it anew", again, harmless=True)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.read_bytes() == other.read_bytes()
    except OSError:
        return False


def _line(one: Seen) -> str:
    word = "mended" if one.mended else "note" if one.finding.harmless else "DAMAGE"
    remedy = f"; {one.finding.remedy}" if one.finding.remedy else ""
    return visible(f"{word:<6}  {one.finding.text}{remedy}")


def _summary(folder: Path, count: int, damage: int, repair: bool) -> str:
    if not count:
        return f"{folder}: whole"
    if damage:
        hint = "" if repair else f"; `python -m bench doctor {folder} --repair` mends it"
        return f"{folder}: {damage} damaged{hint}"
    if repair:
        return f"{folder}: mended; run the same suite again for what is missing"
    return f"{folder}: whole, {count} notes (--repair tidies up)"
