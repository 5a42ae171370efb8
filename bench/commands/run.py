"""`bench run SUITE`: plan, do what is not done yet, render the leaderboard."""

from __future__ import annotations

import argparse
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
from bench.errors import BenchError
from bench.plan.cell import Cell, Plan
from bench.plan.check import read_suite
from bench.plan.expand import expand, select
from bench.registry import Entry, Registry
from bench.store.database import KEPT, Store
from bench.store.files import write_whole
from bench.store.outcome import error_text

if TYPE_CHECKING:
    from bench.run.place import Place


def main(args: argparse.Namespace) -> int:
    """Run a suite; 0 if every cell is done, 1 if some failed."""
    if args.workers != "auto" and args.workers < 1:
        raise BenchError(f"--workers {args.workers}: must be 1 or more")
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
        claim(store, plan, device)
        run_cells(args, plan, chosen, store, device)
        return finish(store, chosen, quiet=args.quiet)
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
    from bench.run import executor
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
    left = executor.borrow_trainings(left, store, session, device)
    if not args.quiet:
        if len(left) < wanted:
            print(f"{wanted - len(left)} identical trainings taken over from runs beside this one")
        for note in notes:
            print(f"note: {note}")
        if reason:
            print(f"workers: {workers} ({reason})")
        for name, count in executor.carried_on(left, store.folder).items():
            print(f"{name}: carries on after {count} finished part{'s' if count > 1 else ''}")
        print(
            f"{plan.suite}: {len(left)} of {len(chosen)} cells to do, in {store.folder}", flush=True
        )
    with display(left, len(chosen) - len(left), args.quiet) as watch:
        executor.run(left, store, session, place, workers, watch, plan.limits)
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


def finish(store: Store, chosen: Iterable[Cell], quiet: bool) -> int:
    """Render the leaderboard, show it, and say what failed."""
    import leaderboard
    from bench.store.read import results

    found = results(store)
    page = leaderboard.render_markdown(found, store.folder, store.folder / KEPT)
    if not quiet:
        from rich.console import Console

        Console().print(leaderboard.terminal_table(found))
        print(f"leaderboard: {page}")
    failed = [cell.name for cell in chosen if store.statuses().get(cell.identity) == "failed"]
    log = write_failures(store)
    if failed:
        reasons = {failure.cell: failure.error for failure in found.failures}
        print(f"{len(failed)} cells failed:", file=sys.stderr)
        for name in failed:
            print(f"  {name}: {reasons.get(name, '?')}", file=sys.stderr)
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
