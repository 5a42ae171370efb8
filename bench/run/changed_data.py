"""A run measures on one content of each data set: whatever changes on the disk, before it carries
on or while it is at work, is noticed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bench import identity
from bench.data.content import key_by_times
from bench.data.fingerprint import difference, is_of_images_alone
from bench.data.sources import OwnData, find
from bench.errors import BenchError
from bench.plan.cell import Cell, Plan
from bench.plan.expand import dataset_key
from bench.run.place import Place, content
from bench.store.database import Store
from bench.suite.schema import DatasetRef

FACT = "contents"
_FILES = "files"  # the fact: what identifies own files, by the label of their data set


def pinned(cells: Iterable[Cell], place: Place, store: Store) -> Place:
    """The place, told what the data sets of the cells contain; the store keeps it too.

    Raises:
        BenchError: a data set is not what the run has measured on so far; all of them at once.
    """
    facts = store.facts()
    known, files = (json.loads(facts.get(fact, "{}")) for fact in (FACT, _FILES))
    found: dict[str, str] = {}
    problems = []
    for cell in cells:
        label = cell.training.dataset.label
        if label in found:
            continue
        found[label] = content(cell.training, place)
        named = dataset_key(cell.training.dataset, place.base)
        if _is_own(cell.training.dataset, place.base):
            files[label] = named["content"]
        key = identity.digest(named)
        if is_of_images_alone(known.get(key, ""), found[label]):
            known[key] = found[label]
        if known.setdefault(key, found[label]) != found[label]:
            what, before, now = difference(known[key], found[label])
            problems.append(
                f"dataset '{label}': its {what} are not those that {store.folder} was "
                f"measured on so far (content {now}, before {before}); put "
                "the old files back (or seed what a function draws), choose another --out, or "
                "--fresh to discard the run"
            )
    if problems:
        raise BenchError("\n".join(problems))
    told = {FACT: known, _FILES: files}
    store.set_facts({fact: json.dumps(value, sort_keys=True) for fact, value in told.items()})
    return replace(place, contents=found)


def moved(plan: Plan, store: Store) -> list[str]:
    """A sentence for each data set of own files that are not those of the last session, so that
    every cell of it is another one and nothing of it is done."""
    files = json.loads(store.facts().get(_FILES, "{}"))
    statuses = store.statuses()
    sets = {cell.training.dataset.label: cell.training.dataset for cell in plan.cells}
    for cell in plan.cells:
        if cell.identity in statuses:
            sets.pop(cell.training.dataset.label, None)
    return [
        told
        for label, ref in sets.items()
        if label in files and (told := _moved(label, ref, plan.base, files[label]))
    ]


def _moved(label: str, ref: DatasetRef, base: Path, known: str) -> str | None:
    source = find(ref.name, base)
    if not isinstance(source, OwnData) or known == dataset_key(ref, base)["content"]:
        return None
    if known == key_by_times(source.path, source.suffixes):
        return (
            f"dataset '{label}': an earlier version knew its images by the times of their files, "
            "this one by what is in them; its cells are new ones"
        )
    return (
        f"dataset '{label}': its files are not what they were in the last session (added, removed "
        "or changed); its cells are new ones, and the old results count again when the old files "
        "are back"
    )


def _is_own(dataset: DatasetRef, base: Path) -> bool:
    return isinstance(find(dataset.name, base), OwnData)
