"""`bench run SUITE`: plan, do what is not done yet, render the leaderboard."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from bench import identity
from bench.data import catalog
from bench.data.sources import REGISTRY as DATASETS
from bench.data.sources import OwnData, find
from bench.errors import BenchError
from bench.plan.cell import Cell, Plan
from bench.plan.check import read_suite
from bench.plan.expand import expand, select
from bench.registry import Entry, Registry
from bench.store.database import NAME, Store


def main(args: argparse.Namespace) -> int:
    """Run a suite; 0 if every cell is done, 1 if some failed."""
    if args.workers < 1:
        raise BenchError(f"--workers {args.workers}: must be 1 or more")
    plan = expand(read_suite(args.suite))
    chosen = select(plan, args.only)
    if not chosen:
        raise BenchError(f"--only '{args.only}' fits no cell; `bench plan` lists them")
    device = resolve_device(args.device)
    folder: Path = args.out or Path("runs") / plan.suite
    if args.fresh:
        discard(folder)
    store = Store.create_or_open(folder)
    try:
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
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise BenchError(f"--device {wanted}: use auto, cpu, cuda or cuda:N")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise BenchError(f"--device {wanted}: this machine has {count} CUDA devices")
    return wanted


def discard(folder: Path) -> None:
    """Remove a run directory, and only that.

    Raises:
        BenchError: the folder holds something else.
    """
    if not folder.exists():
        return
    if not (folder / NAME).is_file() and any(folder.iterdir()):
        raise BenchError(f"--fresh: {folder} is not a run directory; it is left alone")
    shutil.rmtree(folder)


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
    store.set_facts({"suite": plan.suite, "device": kind})
    rows = [
        (cell.identity, cell.name, t.dataset.label, t.backbone.label, t.variant, t.seed, cell.title)
        for cell in plan.cells
        for t in (cell.training,)
    ]
    store.set_plan(identity.digest(rows), rows)


def run_cells(
    args: argparse.Namespace, plan: Plan, chosen: Iterable[Cell], store: Store, device: str
) -> None:
    """Do what is left to do, if anything."""
    from bench.run import executor, preflight
    from bench.run.progress import display
    from bench.run.unit import Place
    from bench.store import provenance

    chosen = executor.distinct(chosen)
    left = executor.to_do(chosen, store, retry_failed=args.retry == "failed")
    if not left:
        return
    root = (args.data or catalog.default_root()).expanduser()
    place = Place(root, plan.base, device, args.download)
    preflight.check(left, place)
    session = store.begin(
        provenance.collect(
            plan.suite, plan.text, device, plugins=plugin_code(plan), workers=args.workers
        )
    )
    left = executor.borrow_trainings(left, store, session, device)
    if not args.quiet:
        print(
            f"{plan.suite}: {len(left)} of {len(chosen)} cells to do, in {store.folder}", flush=True
        )
    with display(left, len(chosen) - len(left), args.quiet) as watch:
        executor.run(left, store, session, place, args.workers, watch)
    store.end(session)


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
    page = leaderboard.render_markdown(found, store.folder)
    if not quiet:
        from rich.console import Console

        Console().print(leaderboard.terminal_table(found))
        print(f"leaderboard: {page}")
    statuses = store.statuses()
    failed = [cell.name for cell in chosen if statuses.get(cell.identity) == "failed"]
    if failed:
        reasons = {failure.cell: failure.error for failure in found.failures}
        print(f"{len(failed)} cells failed:", file=sys.stderr)
        for name in failed:
            print(f"  {name}: {reasons.get(name, '?')}", file=sys.stderr)
        print("mend the cause and run again with --retry failed", file=sys.stderr)
        return 1
    return 0
