"""`bench run SUITE`: plan, do what is not done yet, render the leaderboard."""

from __future__ import annotations

import argparse
import errno
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import identity
from bench.commands.run_place import check_flags, check_start, joined, place_of, resolve_devices
from bench.errors import BenchError, visible
from bench.plan.attacks import attack_infos
from bench.plan.cell import Cell, Plan
from bench.plan.check import read_suite
from bench.plan.expand import expand, named, select
from bench.plan.plugins import plugin_code, plugin_sources
from bench.store.database import KEPT, Store
from bench.store.files import write_whole
from bench.store.outcome import error_text
from bench.store.selection import FACT, unselected

if TYPE_CHECKING:
    from bench.run.cluster.join import Cluster
    from bench.run.events import Event
    from bench.run.executor import Watch
    from bench.run.place import Place
    from leaderboard.results import Results


FAILED = """SELECT p.name, min(p.position), c.error_kind, c.error, c.traceback
    FROM planned p JOIN cells c USING (identity) WHERE c.status = 'failed'
    GROUP BY p.identity ORDER BY p.name"""
# How often a training is done again whose weights are lost while the run is at work.
ROUNDS = 2
# What a disk says that is full or cannot be written.
UNWRITABLE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EIO,
    errno.EACCES,
    errno.EPERM,
}


def main(args: argparse.Namespace) -> int:
    """Run a suite; 0 if every cell is done, 1 if some failed."""
    from bench.run.place import forget_datasets
    from bench.run.redo import damaged, discard, redo

    check_flags(args)
    forget_datasets()
    plan = expand(read_suite(args.suite))
    chosen = select(plan, *args.only)
    if not args.quiet:
        tell(plan.unfit, {})
    folder: Path = args.out or Path("runs") / plan.suite
    with ExitStack() as stack:
        cluster = stack.enter_context(joined(args, plan)) if args.scheduler else None
        device = cluster.device if cluster else resolve_devices(args.device)
        store = Store.create_or_open(folder)
        stack.callback(store.close)
        stack.enter_context(told_if_unwritable(folder))
        if args.fresh:
            # Only when the new run can start, and nobody else is at work there.
            check_start(chosen, place_of(args, plan, device))
            if not args.only:
                store.clear()
        for table in store.mend_tables().tables:
            print(f"{folder}: the table {table} was damaged and is written anew", file=sys.stderr)
        claim(store, plan, device, chosen)
        if args.fresh and args.only:
            discard(named(plan, *args.only), store)

        def do(cells: Iterable[Cell], damaged: Mapping[str, str]) -> bool:
            return run_cells(args, plan, cells, store, device, cluster, damaged)

        wrong, known = damaged(store)
        if do(chosen, wrong):
            known = None
        return finish(store, chosen, redo(plan, chosen, store, do, known), quiet=args.quiet)


@contextmanager
def told_if_unwritable(folder: Path) -> Iterator[None]:
    """A full or failing disk as one line; of cells, such errors are outcomes.

    Raises:
        BenchError: the run directory cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise BenchError(
            f"{folder}: cannot be written: {error}; what was finished is kept: make room and run "
            "the same command again"
        ) from None


def claim(store: Store, plan: Plan, device: str, chosen: Iterable[Cell]) -> None:
    """Tell the store what the run consists of now; a run stays on one kind of device.

    Raises:
        BenchError: the directory belongs to another suite or another kind of device.
    """
    kind = device.partition(":")[0]
    facts = store.facts()
    for key, mine in (("suite", plan.suite), ("device", kind)):
        if facts.get(key, mine) != mine:
            raise BenchError(
                f"{store.folder}: belongs to {key} '{facts[key]}', not '{mine}'; "
                "choose another --out, or --fresh (without --only) to discard it"
            )
    planned, wanted = ([cell.identity for cell in cells] for cells in (plan.cells, chosen))
    store.set_facts(
        {
            FACT: json.dumps(unselected(store, planned, wanted)),
            "suite": plan.suite,
            "device": kind,
            "suite_text": plan.text,
            "base": str(plan.base),
            "notes": json.dumps(plan.notes),
            "attacks": json.dumps(attack_infos(plan)),
            "claims": json.dumps([claim.model_dump(mode="json") for claim in plan.claims]),
            "searches": json.dumps(plan.searches),
        }
    )
    rows = [
        (cell.identity, cell.name, t.dataset.label, t.backbone.label, t.variant, t.seed, cell.title)
        for cell in plan.cells
        for t in (cell.training,)
    ]
    store.set_plan(identity.digest(rows), rows)


def run_cells(
    args: argparse.Namespace,
    plan: Plan,
    chosen: Iterable[Cell],
    store: Store,
    device: str,
    cluster: Cluster | None,
    damaged: Mapping[str, str],
    rounds: int = ROUNDS,
) -> bool:
    """Do what is left to do, and again what is `damaged`; whether there was anything. Where weights
    are lost meanwhile, they are trained again, in so many rounds."""
    from bench.observe.log import RunLog
    from bench.run import borrow, changed_data, changed_plugins, executor, pending, redo
    from bench.run.progress import display
    from bench.run.remaining import remaining

    chosen = pending.distinct(chosen)
    known = {cell.identity for cell in chosen}.intersection(damaged)
    left, again = pending.left_to_do(chosen, store, args.retry == "failed", known)
    if not left:
        if not args.quiet:
            print(f"{plan.suite}: {_nothing_left(chosen, store.statuses())}")
        return False
    notes = check_start(left, place := place_of(args, plan, device))
    plugins = plugin_code(plan)
    changed = changed_data.moved(plan, store) + changed_plugins.since(store, plugins)
    place = replace(changed_data.pinned(left, place, store), code=plugin_sources(plan))
    workers, reason = cluster.size if cluster else how_many(args, left, place)
    # Now that all is ready: of a run that cannot begin, what is known stays.
    pending.take_back(again, store)
    tell_damage(chosen, damaged)
    facts = {"plugins": plugins, "workers": workers, "notes": notes}
    session = store.begin(circumstances(plan, device, cluster, **facts))
    wanted = len(left)
    if cluster is None or device == "cpu":  # else it is not this machine that has such a device
        left = borrow.borrow_trainings(left, store, session, place)
    if not args.quiet:
        if len(left) < wanted:
            print(f"{_counted(wanted - len(left))} taken over from runs beside this one")
        if reason:
            print(f"workers: {workers} ({reason})")
        tell([*notes, *changed], pending.carried_on(left, store.folder))
        count = f"{len(left)} of {len(chosen)} cells to do"
        print(f"{plan.suite}: {count}, in {store.folder}", flush=True)
    took, over = remaining(chosen, left, store), len(chosen) - len(left)
    shown = display(took, len(left), over, args.quiet, args.verbose, notes)
    log = RunLog(store.folder, session, suite=plan.suite, cells=len(left), workers=workers)
    engine = cluster.engine(plan.limits, own_data=args.data is None) if cluster else None
    lost: list[Cell] | None = [] if rounds else None
    with shown, log:
        watch = _both(log, shown)
        executor.run(left, store, session, place, workers, watch, plan.limits, engine, lost)
    store.end(session)
    if lost:
        rest = redo.trained_again(lost, plan, store)
        # What else has failed just now would fail again.
        args = argparse.Namespace(**{**vars(args), "retry": None})
        run_cells(args, plan, rest, store, device, cluster, {}, rounds - 1)
    return True


def _both(first: Watch, second: Watch) -> Watch:
    """Who tells one of an event tells both."""

    def watch(event: Event) -> None:
        first(event)
        second(event)

    return watch


def circumstances(plan: Plan, device: str, cluster: Cluster | None, **facts: Any) -> dict[str, Any]:
    """The provenance of a session; a cluster has hardware of its own."""
    from bench.store import provenance

    if cluster:
        device, facts = "cpu", {**facts, "hardware": cluster.hardware}
    return provenance.collect(plan.suite, device, suite_text=plan.text, **facts)


def tell_damage(chosen: Iterable[Cell], damaged: Mapping[str, str]) -> None:
    """Say which cells are done again, and what is wrong with what is recorded of them."""
    for cell in chosen:
        if cell.identity in damaged:
            text = f"{cell.name}: {damaged[cell.identity]}; it is done again"
            print(visible(text), file=sys.stderr)


def _nothing_left(chosen: Collection[Cell], statuses: Mapping[str, str]) -> str:
    """Why there is nothing to do: all is done, or what is not has failed or needs what has."""
    found = Counter(statuses.get(cell.identity, "waiting") for cell in chosen)
    if found["done"] == len(chosen):
        return f"all {len(chosen)} cells are there; nothing to do"
    waiting = found["waiting"]
    behind = f", {waiting} need{'s' * (waiting == 1)} a training that failed" if waiting else ""
    return (
        f"{found['done']} of {len(chosen)} cells are there, {found['failed']} failed{behind}; "
        "--retry failed tries again"
    )


def _counted(trainings: int) -> str:
    return f"{trainings} identical training{'s' if trainings > 1 else ''}"


def tell(notes: Iterable[str], carried_on: Mapping[str, int]) -> None:
    """Print what is worth a note, and the cells that carry on after some finished parts."""
    for note in notes:
        print(visible(f"note: {note}"))
    for name, count in carried_on.items():
        print(f"{name}: carries on after {count} finished part{'s' if count > 1 else ''}")


def how_many(args: argparse.Namespace, left: Iterable[Cell], place: Place) -> tuple[int, str]:
    """The number of workers, and why, if the command line leaves it open."""
    if args.workers is None:
        return max(1, len(place.gpus)), f"one on each of {len(place.gpus)} GPUs" * bool(place.gpus)
    if args.workers != "auto":
        return args.workers, ""
    from bench.run import workers

    chosen = workers.choose(left, place)
    return chosen.count, chosen.reason


def finish(store: Store, chosen: Iterable[Cell], found: Results, quiet: bool) -> int:
    """Render the leaderboard, show it, and say what failed."""
    import leaderboard

    page = leaderboard.render_markdown(found, store.folder, store.folder / KEPT)
    if not quiet:
        from rich.console import Console

        Console().print(leaderboard.terminal_table(found))
        print(f"leaderboard: {page}")
    statuses = store.statuses()
    bad = [cell for cell in chosen if statuses.get(cell.identity) == "failed"]
    log = write_failures(store)
    # A search may go too far; what is chosen is not harmed by that.
    failed = [cell for cell in bad if not cell.training.trial]
    if len(failed) < len(bad):
        text = f"failed trials, which count as the worst: {len(bad) - len(failed)}"
        print(f"{text}; tracebacks: {log}", file=sys.stderr)
    if failed:
        reasons = {failure.cell: failure.text for failure in found.failures}
        print(f"{len(failed)} cell{'s' * (len(failed) > 1)} failed:", file=sys.stderr)
        for cell in failed:
            print(visible(f"  {reasons.get(cell.name, cell.name)}"), file=sys.stderr)
        print(f"tracebacks: {log}; mend the cause and add --retry failed", file=sys.stderr)
        return 1
    return 0


def write_failures(store: Store) -> Path:
    """Write the tracebacks of all planned cells that failed to one file, or remove it if there are
    none."""
    path = store.folder / "failures.log"
    rows = store.rows(FAILED)
    texts = [
        f"{row['name']}: {error_text(row['error_kind'], row['error'])}\n{row['traceback']}"
        for row in rows
    ]
    if texts:
        write_whole(path, "\n".join(texts).encode())
    else:
        path.unlink(missing_ok=True)
    return path
