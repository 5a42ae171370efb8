"""The trials of a suite with `tune:`: which recipes each network is tried with, their budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from bench.plan.cell import Cell, Training
from bench.suite.recipe import Recipe, RecipeKeys
from bench.suite.schema import Tune
from bench.suite.search import Axis, axes, candidates, values_text

# The first part of the title of a trial.
TITLE = "tune"


@dataclass(frozen=True, slots=True)
class Search:
    """The search of a suite: what is searched, and the candidates, the same for every network.

    `edges` are, of each candidate, the values that lie at an end of what was tried.
    """

    tune: Tune
    axes: Mapping[str, Axis]
    candidates: tuple[Mapping[str, Any], ...]
    edges: tuple[list[str], ...] = ()

    def fits(self, pair: str) -> bool:
        """Whether the recipe of a `dataset/backbone/variant` is searched."""
        return fnmatchcase(pair, self.tune.match)

    def recipe(self, base: Recipe, number: int) -> Recipe:
        """The recipe of a trial: the network's own with a candidate and the trials' schedule.

        Raises:
            pydantic.ValidationError: they do not fit together.
        """
        values = dict(self.candidates[number])
        if self.tune.epochs is not None:
            values["epochs"] = self.tune.epochs
        return base.overridden(RecipeKeys(**values))

    def rest(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """What of a recipe is not searched."""
        return {key: value for key, value in recipe.items() if key not in self.axes}

    def facts(self, training: Training) -> dict[str, Any]:
        """The search for one network as plain data; `training` is one that it is for."""
        tuning = training.tuning
        epochs = None if "epochs" in self.axes else training.recipe.epochs
        return {
            "dataset": training.dataset.label,
            "backbone": training.backbone.label,
            "variant": training.variant,
            "trials": list(tuning.trials) if tuning else [],
            "values": [values_text(values, ", ") for values in self.candidates],
            "edges": list(self.edges),
            "search": self.tune.search,
            "axes": {key: str(axis) for key, axis in self.axes.items()},
            "seed": self.tune.seed,
            "epochs": self.tune.epochs or epochs,
            "own_epochs": epochs,
            "validation": training.recipe.validation,
        }


def read(tune: Tune | None) -> Search | None:
    """The search of a suite without mistakes."""
    if tune is None:
        return None
    found, _ = axes(tune.values)
    tried = candidates(tune, found)
    return Search(tune, found, tried, tuple(_edges(found, tried)))


def _edges(found: Mapping[str, Axis], tried: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Of each candidate, the keys whose value is at an end: "lr (highest)"."""
    columns = {key: [values[key] for values in tried] for key in found}
    for values in tried:
        ends = ((key, axis.edge(values[key], columns[key])) for key, axis in found.items())
        yield [f"{key} ({end})" for key, end in ends if end]


@dataclass(frozen=True, slots=True)
class Budget:
    """How many trials each network has, the networks that are tuned and those that are not, and
    the number of all trials."""

    trials: tuple[int, ...]
    tuned: tuple[str, ...]
    others: tuple[str, ...]
    total: int

    def __str__(self) -> str:
        each = " or ".join(str(count) for count in self.trials)
        some = len(self.tuned) > 1
        return (
            f"tuning: {each} trial{'' if each == '1' else 's'} for {'each of ' if some else ''}"
            f"{len(self.tuned)} dataset/backbone/variant combination{'s' if some else ''}, "
            f"{self.total} training{'' if self.total == 1 else 's'}"
        )

    @property
    def fairness(self) -> str:
        """A sentence on whether every network has the same budget."""
        if not self.others:
            return "every variant gets the same budget and the same candidates"
        names = ", ".join(self.others[:3]) + (" and others" if len(self.others) > 3 else "")
        verb = "keeps" if len(self.others) == 1 else "keep"
        return f"not every network is tuned: {names} {verb} the suite's recipe"


def budget(cells: Iterable[Cell]) -> Budget | None:
    """The budget of cells; None where nothing is tuned. Trials that two networks have in common
    count once in the total."""
    counts: dict[str, int] = {}
    others: dict[str, None] = {}
    trials: set[str] = set()
    for cell in cells:
        training = cell.training
        if training.trial:
            trials.add(cell.identity)
        elif training.tuning is not None:
            counts[training.pair] = len(training.tuning.trials)
        elif training.weights is None:
            others[training.pair] = None
    if not trials and not counts:
        return None
    return Budget(tuple(sorted(set(counts.values()))), tuple(counts), tuple(others), len(trials))
