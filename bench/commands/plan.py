"""`bench plan SUITE`: the cells, which are done, and what the rest will cost."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.data import catalog
from bench.errors import BenchError, visible
from bench.plan.cell import Cell, Plan
from bench.plan.check import read_suite
from bench.plan.expand import expand, select
from bench.plan.plugins import plugin_code
from bench.plan.tuning import budget
from bench.run import borrow, changed_data, changed_plugins, pending, redo
from bench.store.connect import is_there
from bench.store.database import NAME, Store

AGAIN = "again"  # of a cell with a result that the next run does once more


def main(args: argparse.Namespace) -> int:
    """Print the plan.

    Raises:
        BenchError: there is no such cell, a network costs so much that the suite has to say yes, or
            images of one's own are not square.
    """
    plan = expand(read_suite(args.suite))
    chosen = select(plan, *args.only)
    folder: Path = args.out or Path("runs") / plan.suite
    statuses, left, changed = _standing(folder, plan, chosen)
    for cell in chosen:
        print(f"{statuses.get(cell.identity, 'to do'):<6}  {cell.name}")
    counts = Counter(statuses.get(cell.identity) for cell in chosen)
    again = f" ({counts[AGAIN]} of them again: their results are lost or damaged)"
    print(
        f"{len(chosen)} cells: {counts['done']} done, {counts['failed']} failed, "
        f"{len(left)} to do{again if counts[AGAIN] else ''}; results in {folder}"
    )
    planned = budget(chosen)
    if planned is not None:
        trials = sum(cell.training.trial for cell in left)
        done = f" ({planned.total - trials} of them over)" if trials < planned.total else ""
        print(f"{planned}{done}; {planned.fairness}")
    gone = missing_data(left, plan.base, args.data or catalog.default_root())
    for note in (*plan.unfit, *gone, *changed):
        print(visible(f"note: {note}"))
    taken = _taken_over(left, folder)
    left = [cell for cell in left if cell.identity not in taken]
    if left:
        from bench.plan import cost

        timed = not args.no_cost
        looks = cost.look(left, plan.base, timed)
        for line in cost.lines(left, looks, timed):
            print(visible(line))
        objections = [
            f"{look.place}: {pair}: {look.objection}"
            for pair, look in looks.items()
            if look.objection
        ]
        if objections:
            raise BenchError("\n".join(objections))
    return 0


def _standing(
    folder: Path, plan: Plan, chosen: Sequence[Cell]
) -> tuple[dict[str, str], list[Cell], list[str]]:
    """What is recorded of the chosen cells, or that they are to be done again; those that a run
    does; and a sentence for whatever has changed since, so that its cells are new ones.

    Nothing is changed on the disk.
    """
    if not is_there(folder / NAME):
        return {}, list(chosen), []
    store = Store.open(folder)
    try:
        recorded = store.statuses()
        left, again = pending.left_to_do(chosen, store, damaged=redo.damaged(store)[0])
        changed = [
            *changed_data.moved(plan, store),
            *changed_plugins.since(store, plugin_code(plan)),
        ]
    finally:
        store.close()
    # Neither recorded nor done by a run is only what needs a training that failed.
    doing = {cell.identity for cell in left}
    hopeless = {cell.identity: "failed" for cell in chosen if cell.identity not in doing}
    return {**hopeless, **recorded, **dict.fromkeys(again, AGAIN)}, left, changed if left else []


def _taken_over(left: list[Cell], folder: Path) -> set[str]:
    """Identities of the trainings that a run takes over from runs beside it; prints how many."""
    from bench.commands.run_place import resolve_device

    if not left:
        return set()
    found = borrow.borrowed(left, folder, resolve_device("auto"))
    if found:
        names = ", ".join(dict.fromkeys(str(folder.parent / f.name) for f in found.values()))
        print(visible(f"{len(found)} of the trainings will be taken over from {names}"))
    return set(found)


def missing_data(cells: Iterable[Cell], base: Path, root: Path) -> list[str]:
    """A line for each data set of the cells of which a file is not below `root`."""
    names = dict.fromkeys(cell.training.dataset.name for cell in cells)
    found = (catalog.missing(name, root, base) for name in names)
    return [text for text in found if text]
