"""From suite to cells: dataset x backbone x variant x seed, a training each, then its measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bench import identity
from bench.data.sources import REGISTRY as DATASETS
from bench.data.sources import OwnData, find
from bench.measures import base as measures
from bench.models import stages
from bench.models.backbones import REGISTRY as BACKBONES
from bench.plan.cell import Cell, Limits, Plan, Training, weights_path
from bench.plan.check import CheckedSuite
from bench.suite.recipe import Recipe
from bench.suite.schema import BackboneRef, DatasetRef, MeasureRef, Suite

# Raise when training changes what comes out of the same recipe.
TRAINING_VERSION = 2
# Normalisation and numerics of a network that comes with its own weights.
USED_WITH_WEIGHTS = ("mean", "test_mean", "std", "mode")

Part = tuple[MeasureRef, measures.Measure, measures.Item, str]


def expand(checked: CheckedSuite) -> Plan:
    """Multiply a suite out; the order is the suite's, each training right before its measures."""
    parts = list(_parts(checked.suite))
    cells: list[Cell] = []
    done: set[str] = set()
    for training in _trainings(checked):
        if training.weights is None and training.identity not in done:
            name = f"{training.label}/train"
            cells.append(Cell(name, training.identity, "train", training, None, None, None))
            done.add(training.identity)
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
    notes = tuple(dict.fromkeys(_notes(checked.suite)))
    limits = Limits(checked.suite.timeout, checked.suite.memory)
    suite = checked.suite.name
    return Plan(suite, checked.base, checked.text, tuple(cells), notes, limits, checked.claims)


def _parts(suite: Suite) -> Iterator[Part]:
    """Every measure's items with the part of the identity that does not depend on the network."""
    for ref in suite.measures:
        measure = measures.load(ref.name)
        entry = measures.REGISTRY.find(ref.name)
        for item in measure.items(measure.options.model_validate(ref.options)):
            owner = identity.reference_key(entry, {})
            yield ref, measure, item, identity.digest(owner, measure.version, dict(item.key))


def _notes(suite: Suite) -> Iterator[str]:
    for ref in suite.measures:
        measure = measures.load(ref.name)
        text = measure.note(measure.options.model_validate(ref.options))
        if text:
            yield text


def _trainings(checked: CheckedSuite) -> Iterator[Training]:
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
                pair = f"{dataset.label}/{backbone.label}/{variant}"
                recipe = _recipe(suite, pair)
                recipe_key = recipe.model_dump(mode="json")
                for number, seed in enumerate(suite.seeds):
                    if backbone.seeds is not None and seed not in backbone.seeds:
                        continue
                    weights = _weights(backbone, number, checked.base)
                    how = _file_key(weights, recipe_key) if weights else recipe_key
                    yield Training(
                        identity=identity.digest(
                            identity.VERSION,
                            TRAINING_VERSION,
                            data_key,
                            net_key,
                            variant,
                            seed,
                            how,
                        ),
                        label=f"{pair}/seed{seed}",
                        dataset=dataset,
                        backbone=backbone,
                        variant=variant,
                        seed=seed,
                        recipe=recipe,
                        weights=weights,
                        place=place,
                    )


def dataset_key(dataset: DatasetRef, base: Path) -> dict[str, Any]:
    """What identifies a data set: name and options; for own files their content, not their path."""
    source = find(dataset.name, base)
    if isinstance(source, OwnData):
        return {"content": identity.folder_key(source.path), "options": dict(dataset.options)}
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


def _file_key(path: Path, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What identifies a network that is loaded: the file, and the keys that still count then."""
    stat = path.stat()
    content = identity.file_hash(path, (stat.st_size, stat.st_mtime_ns))
    return {"weights": content, **{key: recipe[key] for key in USED_WITH_WEIGHTS}}


def select(plan: Plan, pattern: str) -> tuple[Cell, ...]:
    """The cells whose name fits the glob, and the trainings they need."""
    chosen = [cell for cell in plan.cells if fnmatchcase(cell.name, pattern)]
    needed = {cell.training.identity for cell in chosen}
    return tuple(
        cell
        for cell in plan.cells
        if fnmatchcase(cell.name, pattern) or (cell.measure is None and cell.identity in needed)
    )
