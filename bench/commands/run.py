"""`bench run SUITE`: plan, do what is not done yet, render the leaderboard."""

from __future__ import annotations

import argparse
import errno
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import identity
from bench.data import catalog
from bench.data.sources import REGISTRY as DATASETS
from bench.data.sources import OwnData, find
from bench.errors import BenchError, visible
from bench.plan.cell import Cell, Plan
from bench.plan.check import read_suite
from bench.plan.expand import expand, select
from bench.registry import Entry, Registry
from bench.store.database import KEPT, Store
from bench.store.files import write_whole
from bench.store.outcome import error_text

if TYPE_CHECKING:
    from bench.run.events import Event
    from bench.run.place import Place
    from leaderboard.results import Results


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
    if args.workers != "auto" and args.workers < 1:
        raise BenchError(f"--workers {args.workers}: must be 1 or more")
    from bench.run.place import forget_datasets
    from bench.run.redo import redo_damaged

    forget_datasets()
    plan = expand(read_suite(args.suite))
    chosen = select(plan, args.only)
    if not chosen:
        raise BenchError(f"--only '{args.only}' fits no cell; `bench plan` lists them")
    device = resolve_device(args.device)
    folder: Path = args.out or Path("runs") / plan.suite
    store = Store.create_or_open(folder)
    try:
        if args.fresh:
            # Only when the new run can start, and nobody else is at work there.
            check_start(chosen, place_of(args, plan, device))
            store.clear()
        for table in store.forget_broken_tables():
            print(f"{folder}: the table {table} was damaged and is written anew", file=sys.stderr)
        claim(store, plan, device)
        run_cells(args, plan, chosen, store, device)
        found = redo_damaged(
            chosen, store, lambda again: run_cells(args, plan, again, store, device)
        )
        return finish(store, chosen, found, quiet=args.quiet)
    except OSError as error:  # of cells these are outcomes; what is left is the run directory
        if error.errno not in UNWRITABLE:
            raise
        raise BenchError(
            f"{folder}: cannot be written: {error}; what was finished is kept: make room and run "
            "the same command again"
        ) from None
    finally:
        store.close()


def resolve_device(wanted: str) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:N` as a device that is there.

    Raises:
        BenchError: no such device here.
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = wanted.partition(":")
    if kind not in ("cpu", "cuda") or (number and (kind == "cpu" or not number.isdigit())):
        raise BenchError(f"--device {wanted}: use auto, cpu, cuda or cuda:N")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise BenchError(f"--device {wanted}: this machine has {count} CUDA devices")
    return wanted


def place_of(args: argparse.Namespace, plan: Plan, device: str) -> Place:
    """Where the cells will work."""
    from bench.run.place import Place

    root = (args.data or catalog.default_root()).expanduser()
    return Place(root, plan.base, device, args.download)


def check_start(cells: Iterable[Cell], place: Place) -> list[str]:
    """Look at data and networks before anything is trained; return what is worth a note.

    Raises:
        BenchError: all that is missing or cannot be built.
    """
    from bench.run import preflight

    return preflight.check(cells, place)


def claim(store: Store, plan: Plan, device: str) -> None:
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
                "choose another --out, or --fresh to discard it"
            )
    store.set_facts(
        {
            "suite": plan.suite,
            "device": kind,
            "suite_text": plan.text,
            "base": str(plan.base),
            "notes": json.dumps(plan.notes),
            "attacks": json.dumps(attack_infos(plan)),
        }
    )
    rows = [
        (cell.identity, cell.name, t.dataset.label, t.backbone.label, t.variant, t.seed, cell.title)
        for cell in plan.cells
        for t in (cell.training,)
    ]
    store.set_plan(identity.digest(rows), rows)


def attack_infos(plan: Plan) -> dict[str, dict[str, Any]]:
    """What kind of attack each label of the plan is, as plain data for `store.read`."""
    from bench.attacks.info import info

    labels = {
        cell.item: attack
        for cell in plan.cells
        if cell.item is not None
        for attack in (getattr(cell.options, "attack", None),)
        if attack is not None
    }
    return {label: asdict(info(ref.name, ref.options)) for label, ref in labels.items()}


def run_cells(
    args: argparse.Namespace, plan: Plan, chosen: Iterable[Cell], store: Store, device: str
) -> None:
    """Do what is left to do, if anything."""
    from bench.observe.log import RunLog
    from bench.run import contents, executor
    from bench.run.progress import display
    from bench.store import provenance

    chosen = executor.distinct(chosen)
    left = executor.to_do(chosen, store, retry_failed=args.retry == "failed")
    if not left:
        if not args.quiet:
            print(f"{plan.suite}: all {len(chosen)} cells are there; nothing to do")
        return
    place = place_of(args, plan, device)
    notes = check_start(left, place)
    place = contents.pinned(left, place, store)
    workers, reason = how_many(args, left, place)
    code = plugin_code(plan)
    session = store.begin(
        provenance.collect(
            plan.suite,
            device,
            suite_text=plan.text,
            plugins=code,
            workers=workers,
            notes=notes,
        )
    )
    wanted = len(left)
    left = executor.borrow_trainings(left, store, session, place)
    if not args.quiet:
        if len(left) < wanted:
            print(f"{wanted - len(left)} identical trainings taken over from runs beside this one")
        for note in notes:
            print(visible(f"note: {note}"))
        if reason:
            print(f"workers: {workers} ({reason})")
        for name, count in executor.carried_on(left, store.folder).items():
            print(f"{name}: carries on after {count} finished part{'s' if count > 1 else ''}")
        print(
            f"{plan.suite}: {len(left)} of {len(chosen)} cells to do, in {store.folder}", flush=True
        )
    shown = display(left, len(chosen) - len(left), args.quiet, args.verbose)
    log = RunLog(store.folder, session, suite=plan.suite, cells=len(left), workers=workers)

    def watch(event: Event) -> None:
        log(event)
        shown(event)

    with shown, log:
        executor.run(left, store, session, place, workers, watch)
    store.end(session)


def how_many(args: argparse.Namespace, left: Iterable[Cell], place: Place) -> tuple[int, str]:
    """The number of workers, and why, if the command line leaves it open."""
    if args.workers != "auto":
        return args.workers, ""
    from bench.run import workers

    chosen = workers.choose(left, place)
    return chosen.count, chosen.reason


def plugin_code(plan: Plan) -> dict[str, str]:
    """Version or source hash of every plugin that the plan uses."""
    from bench.attacks.base import REGISTRY as ATTACKS
    from bench.measures.base import REGISTRY as MEASURES
    from bench.models.backbones import REGISTRY as BACKBONES

    used: set[tuple[Registry, str]] = set()
    for cell in plan.cells:
        used.add((BACKBONES, cell.training.backbone.name))
        if not isinstance(find(cell.training.dataset.name, plan.base), OwnData):
            used.add((DATASETS, cell.training.dataset.name))
        if cell.measure is not None:
            used.add((MEASURES, cell.measure))
        attack = getattr(cell.options, "attack", None)
        if attack is not None:
            used.add((ATTACKS, attack.name))
    entries = [registry.find(name) for registry, name in used]
    return {entry.name: _code(entry) for entry in entries if entry.source != "built in"}


def _code(entry: Entry) -> str:
    """`my-nets 1.0, source:1f2e...`: the distribution that registered a plugin, and its code."""
    code = identity.code_fingerprint(entry.target)
    try:
        return f"{entry.source} {metadata.version(entry.source)}, {code}"
    except metadata.PackageNotFoundError:
        return code


def finish(store: Store, chosen: Iterable[Cell], found: Results, quiet: bool) -> int:
    """Render the leaderboard, show it, and say what failed."""
    import leaderboard
    from bench.observe.log import cell_log

    page = leaderboard.render_markdown(found, store.folder, store.folder / KEPT)
    if not quiet:
        from rich.console import Console

        Console().print(leaderboard.terminal_table(found))
        print(f"leaderboard: {page}")
    statuses = store.statuses()
    failed = [cell for cell in chosen if statuses.get(cell.identity) == "failed"]
    log = write_failures(store)
    if failed:
        reasons = {failure.cell: failure.error for failure in found.failures}
        print(f"{len(failed)} cells failed:", file=sys.stderr)
        for cell in failed:
            where = cell_log(cell.identity)
            text = f"  {cell.name}: {reasons.get(cell.name, '?')} ({where})"
            print(visible(text), file=sys.stderr)
        print(f"tracebacks: {log}; mend the cause and add --retry failed", file=sys.stderr)
        return 1
    return 0


def write_failures(store: Store) -> Path:
    """Write the tracebacks of all failed cells to one file, or remove it if there are none."""
    path = store.folder / "failures.log"
    rows = store.rows("SELECT * FROM cells WHERE status = 'failed' ORDER BY name")
    texts = [
        f"{row['name']}: {error_text(row['error_kind'], row['error'])}\n{row['traceback']}"
        for row in rows
    ]
    if texts:
        write_whole(path, "\n".join(texts).encode())
    else:
        path.unlink(missing_ok=True)
    return path
