"""A run measures on one content of each data set: whatever changes on the disk, before it carries
on or while it is at work, is noticed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from bench import identity
from bench.data.fingerprint import difference, is_of_images_alone
from bench.errors import BenchError
from bench.plan.cell import Cell
from bench.plan.expand import dataset_key
from bench.run.place import Place, content
from bench.store.database import Store

FACT = "contents"


def pinned(cells: Iterable[Cell], place: Place, store: Store) -> Place:
    """The place, told what the data sets of the cells contain; the store keeps it too.

    Raises:
        BenchError: a data set is not what the run has measured on so far; all of them at once.
    """
    known = json.loads(store.facts().get(FACT, "{}"))
    found: dict[str, str] = {}
    problems = []
    for cell in cells:
        label = cell.training.dataset.label
        if label in found:
            continue
        found[label] = content(cell.training, place)
        key = identity.digest(dataset_key(cell.training.dataset, place.base))
        if is_of_images_alone(known.get(key, ""), found[label]):
            known[key] = found[label]
        if known.setdefault(key, found[label]) != found[label]:
            what, before, now = difference(known[key], found[label])
            problems.append(
                f"dataset '{label}': its {what} are not those that {store.folder} was "
                f"measured on so far (content {now}, before {before}); put "
                "the old files back, choose another --out, or --fresh to discard the run"
            )
    if problems:
        raise BenchError("\n".join(problems))
    store.set_facts({FACT: json.dumps(known, sort_keys=True)})
    return replace(place, contents=found)
