"""From trials to the recipe of what they were made for, when that is to be trained or loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.plan.cell import Cell, Training
from bench.run.events import CellFinished, Event
from bench.store.outcome import NO_TUNING, Failed
from bench.store.tuned import choose, recorded_recipe, tried
from bench.suite.recipe import Recipe

if TYPE_CHECKING:
    from bench.run.unit import Unit
    from bench.store.database import Store


def settled(unit: Unit, store: Store) -> Unit | Failed:
    """The unit with the recipe that its network gets, or why it gets none.

    What is trained already keeps the recipe that it was trained with; else the trials decide,
    which must be over.
    """
    training = unit.training
    if training.tuning is None:
        return unit
    found = recorded(training, store) if unit.train is None else chosen(training, store)
    if isinstance(found, Failed):
        return found
    with_recipe = training.settled(found)
    return replace(
        unit,
        training=with_recipe,
        train=None if unit.train is None else replace(unit.train, training=with_recipe),
        cells=tuple(replace(cell, training=with_recipe) for cell in unit.cells),
    )


def recorded(training: Training, store: Store) -> Recipe | Failed:
    """The recipe that a tuned training was done with."""
    found = recorded_recipe(store, training.identity)
    if found is None:
        return Failed("BenchError", "what its training was done with is not recorded", "")
    return Recipe.model_validate(found)


def chosen(training: Training, store: Store) -> Recipe | Failed:
    """The recipe of the best trial of a tuned training."""
    trials = training.tuning.trials if training.tuning else ()
    found = tried(store, trials)
    number = choose(found)
    if number is not None and None not in found:
        return training.recipes[number]
    errors = [one.error for one in found if one is not None]
    if None in found:
        text = (
            f"its tuning is not complete: {found.count(None)} of {len(trials)} trials are not over"
        )
    else:
        text = f"{NO_TUNING}none of its {len(trials)} trials succeeded ({errors[0]})"
    return Failed("BenchError", text, "")


def refused(unit: Unit, error: Failed) -> Iterator[Event]:
    """The ends of all cells of a unit that gets no recipe."""
    for cell in unit.all_cells:
        failed = error if cell.measure is None else error.passed_on()
        yield CellFinished.without_outcome(cell, failed)


def outdated(cells: Iterable[Cell], store: Store) -> list[Cell]:
    """The trainings that were done with another recipe than their trials choose now, and what
    measures them: a trial that had failed may have been tried again and be the best."""
    found: dict[str, bool] = {}
    old = []
    for cell in cells:
        training = cell.training
        if training.tuning is None:
            continue
        if training.identity not in found:
            found[training.identity] = _is_outdated(training, store)
        if found[training.identity]:
            old.append(cell)
    return old


def _is_outdated(training: Training, store: Store) -> bool:
    before = recorded_recipe(store, training.identity)
    now = chosen(training, store)
    return before is not None and isinstance(now, Recipe) and now.model_dump(mode="json") != before
