"""From suite to cells: dataset x backbone x variant x seed, a training each, then its measures.

Where a suite searches recipes (`tune:`), the trials of a network come before its trainings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bench import identity
from bench.data import catalog
from bench.data.content import folder_key
from bench.data.sources import REGISTRY as DATASETS
from bench.data.sources import OwnData, find
from bench.data.subset import OR_FEWER
from bench.errors import BenchError
from bench.measures import base as measures
from bench.models import stages
from bench.models.backbones import REGISTRY as BACKBONES
from bench.models.backbones import is_declared
from bench.plan import tuning
from bench.plan.cell import Cell, Limits, Plan, Training, Tuning, weights_path
from bench.plan.check import CheckedSuite
from bench.plan.tuning import TITLE, Search
from bench.suite.recipe import Recipe
from bench.suite.schema import BackboneRef, DatasetRef, MeasureRef, Suite, Variant
from bench.suite.search import values_text

# Raise when training changes what comes out of the same recipe.
TRAINING_VERSION = 2
# Raise when inversion makes another network of the same model (2: the model's own head).
INVERSION_VERSION = 2
# Normalisation and numerics of a network that comes with its own weights.
USED_WITH_WEIGHTS = ("mean", "test_mean", "std", "mode")

Part = tuple[MeasureRef, measures.Measure, measures.Item, str]


def expand(checked: CheckedSuite) -> Plan:
    """Multiply a suite out; the order is the suite's, each training right before its measures."""
    parts = list(_parts(checked.suite))
    cells: list[Cell] = []
    done: set[str] = set()
    search = tuning.read(checked.suite.tune)
    searches: dict[str, dict[str, Any]] = {}
    for training in _trainings(checked, search):
        if training.weights is None and training.identity not in done:
            cells.append(_train_cell(training))
            done.add(training.identity)
        if training.trial:
            continue
        if search is not None and training.tuning is not None and training.pair not in searches:
            searches[training.pair] = search.facts(training)
        smallest = min(training.backbone.seeds or checked.suite.seeds)
        for ref, measure, item, key in parts:
            if training.seed != smallest and not measure.per_seed:
                continue
            if not any(fnmatchcase(training.pair, pattern) for pattern in ref.only):
                continue
            title = measure.name if item.label is None else f"{measure.name}/{item.label}"
            cells.append(
                Cell(
                    name=f"{training.label}/{title}",
                    identity=identity.digest(identity.VERSION, training.identity, key),
                    title=title,
                    training=training,
                    measure=ref.name,
                    item=item.label,
                    options=item.options,
                    exclusive=measure.exclusive,
                    given=ref.options,
                )
            )
    notes = tuple(dict.fromkeys((*_notes(checked), *_same_weights(cells))))
    limits = Limits(checked.suite.timeout, checked.suite.memory)
    claims = checked.claims, checked.unfit
    suite, found = checked.suite.name, (*claims, tuple(searches.values()))
    return Plan(suite, checked.base, checked.text, tuple(cells), notes, limits, *found)


def _train_cell(training: Training) -> Cell:
    """The cell of a training itself, or of a trial."""
    name = training.label if training.trial else f"{training.label}/train"
    title = name.removeprefix(f"{training.pair}/") if training.trial else "train"
    return Cell(name, training.identity, title, training, None, None, None)


def _parts(suite: Suite) -> Iterator[Part]:
    """Every measure's items with the part of the identity that does not depend on the network."""
    for ref in suite.measures:
        measure = measures.load(ref.name)
        entry = measures.REGISTRY.find(ref.name)
        for item in measure.items(measure.options.model_validate(ref.options)):
            owner = identity.reference_key(entry, {})
            yield ref, measure, item, identity.digest(owner, measure.version, dict(item.key))


def _same_weights(cells: Iterable[Cell]) -> Iterator[str]:
    """Where seeds are one network: the page counts them, and shows a spread of next to nothing."""
    seeds: dict[tuple[str, str], dict[int, None]] = {}
    for training in (cell.training for cell in cells):
        if training.weights_sha256 is not None:
            seeds.setdefault((training.pair, training.weights_sha256), {})[training.seed] = None
    for (pair, _), same in seeds.items():
        if len(same) > 1:
            yield (
                f"{pair}: seeds {', '.join(map(str, same))} have the same weights: their spread "
                "is not that of trainings (give a file for each seed, or `seeds` of its own)."
            )


def _notes(checked: CheckedSuite) -> Iterator[str]:
    sizes = [_test_samples(dataset, checked.base) for dataset in checked.suite.datasets]
    for ref in checked.suite.measures:
        measure = measures.load(ref.name)
        options = measure.options.model_validate(ref.options)
        asked = getattr(options, "samples", None)
        if isinstance(asked, int):
            known = [size for size in sizes if size is not None]
            if len(known) == len(sizes) and max(known) <= asked:
                options = options.model_copy(update={"samples": 0})  # all of them, that is
        text = measure.note(options)
        if isinstance(asked, int) and all(size is not None and size >= asked for size in sizes):
            text = text.replace(OR_FEWER, "")
        if text:
            yield text


def _test_samples(dataset: DatasetRef, base: Path) -> int | None:
    """How many test images a data set has, if that is known without loading it."""
    try:
        info = catalog.info(dataset.name, dataset.options, base)
    except Exception:  # whatever a plugin raises; running it will tell
        return None
    return info.test_samples if info is not None else None


def _trainings(checked: CheckedSuite, search: Search | None) -> Iterator[Training]:
    """Every network's trials, if its recipe is searched, and then its trainings."""
    suite = checked.suite
    for dataset in suite.datasets:
        data_key = dataset_key(dataset, checked.base)
        for backbone, place in zip(suite.backbones, checked.places, strict=True):
            if backbone.datasets is not None and dataset.label not in backbone.datasets:
                continue
            options = stages.resolved(backbone.name, backbone.options, checked.base)
            backbone = backbone.model_copy(update={"options": options})
            net_key = identity.reference_key(BACKBONES.find(backbone.name), backbone.options)
            for variant in backbone.variants or suite.variants:
                found = _Network(checked, dataset, backbone, variant, place, (data_key, net_key))
                yield from found.trainings(search)


@dataclass(frozen=True, slots=True)
class _Network:
    """A `dataset/backbone/variant` and what identifies the first two."""

    checked: CheckedSuite
    dataset: DatasetRef
    backbone: BackboneRef
    variant: Variant
    place: str
    keys: tuple[dict[str, Any], dict[str, Any]]

    def trainings(self, search: Search | None) -> Iterator[Training]:
        """Its trials, if its recipe is searched, and a training for each seed."""
        suite, backbone = self.checked.suite, self.backbone
        recipe = _recipe(suite, self.pair)
        how: dict[str, Any] = recipe.model_dump(mode="json")
        tuning = None
        if search is not None and backbone.weights is None and search.fits(self.pair):
            trials = list(self._trials(search, recipe))
            yield from trials
            tuning = Tuning(search.candidates, tuple(trial.identity for trial in trials))
            # Which of the candidates it will be is not known yet; what decides that is.
            how = {"recipe": search.rest(how), "trials": tuning.trials}
        for number, seed in enumerate(suite.seeds):
            if backbone.seeds is not None and seed not in backbone.seeds:
                continue
            weights = _weights(backbone, number, self.checked.base)
            content = identity.hash_now(weights) if weights else None
            key = _file_key(content, how) if content else how
            more = {"weights": weights, "weights_sha256": content, "tuning": tuning}
            yield self._training(seed, recipe, key, f"seed{seed}", **more)

    def _trials(self, search: Search, recipe: Recipe) -> Iterator[Training]:
        for number, values in enumerate(search.candidates):
            tried = search.recipe(recipe, number)
            key = {"trial": tried.model_dump(mode="json")}
            label = f"{TITLE}/{values_text(values)}"
            yield self._training(search.tune.seed, tried, key, label, trial=True)

    def _training(
        self, seed: int, recipe: Recipe, how: Mapping[str, Any], label: str, **more: Any
    ) -> Training:
        version: tuple[Any, ...] = (identity.VERSION, TRAINING_VERSION)
        if self.variant != "bu" and not is_declared(self.backbone.name):
            version = (*version, {"inversion": INVERSION_VERSION})
        return Training(
            identity=identity.digest(*version, *self.keys, self.variant, seed, how),
            label=f"{self.pair}/{label}",
            dataset=self.dataset,
            backbone=self.backbone,
            variant=self.variant,
            seed=seed,
            recipe=recipe,
            place=self.place,
            **{"weights": None, **more},
        )

    @property
    def pair(self) -> str:
        return f"{self.dataset.label}/{self.backbone.label}/{self.variant}"


def dataset_key(dataset: DatasetRef, base: Path) -> dict[str, Any]:
    """What identifies a data set: name and options; for own files their content, not their path."""
    source = find(dataset.name, base)
    if isinstance(source, OwnData):
        content = folder_key(source.path, source.suffixes)
        return {"content": content, "options": dict(dataset.options)}
    return identity.reference_key(DATASETS.find(dataset.name), dataset.options)


def _recipe(suite: Suite, pair: str) -> Recipe:
    """The suite's recipe with every fitting override, in order."""
    recipe = suite.recipe
    for override in suite.overrides:
        if fnmatchcase(pair, override.match):
            recipe = recipe.overridden(override.recipe)
    return recipe


def _weights(backbone: BackboneRef, number: int, base: Path) -> Path | None:
    if backbone.weights is None:
        return None
    files = backbone.weights
    return weights_path(files[number if len(files) > 1 else 0], base)


def _file_key(content: str, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What identifies a network that is loaded: the file, and the keys that still count then."""
    return {"weights": content, **{key: recipe[key] for key in USED_WITH_WEIGHTS}}


def select(plan: Plan, *patterns: str) -> tuple[Cell, ...]:
    """The cells whose name fits a glob, and the trainings and trials they need; all without one.

    Raises:
        BenchError: a glob fits no cell.
    """
    chosen = named(plan, *patterns)
    wanted = {cell.name for cell in chosen}
    needed = {cell.training.identity for cell in chosen}
    for cell in chosen:
        if cell.training.tuning is not None:
            needed.update(cell.training.tuning.trials)
    return tuple(
        cell
        for cell in plan.cells
        if cell.name in wanted or (cell.measure is None and cell.identity in needed)
    )


def named(plan: Plan, *patterns: str) -> list[Cell]:
    """The cells whose name fits a glob; all without one.

    Raises:
        BenchError: a glob fits no cell.
    """
    fit: set[str] = set()
    for pattern in patterns or ("*",):
        found = {cell.name for cell in plan.cells if fnmatchcase(cell.name, pattern)}
        if not found:
            raise BenchError(
                f"--only '{pattern}' fits no cell of suite '{plan.suite}'; `bench plan` lists them"
            )
        fit |= found
    return [cell for cell in plan.cells if cell.name in fit]
