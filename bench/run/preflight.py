"""Before anything is trained: are the data there, can every network be built, do recipes fit?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn

from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.foreign import contained
from bench.measures import base as measures
from bench.models import backbones
from bench.plan import guard
from bench.plan.cell import Cell, Training
from bench.run.notes import notes_on
from bench.run.place import Place, load_dataset
from bench.run.probe import FaultError, Probe, network_of
from bench.train.trainer import require_enough


@contained()
def check(cells: Iterable[Cell], place: Place) -> list[str]:
    """Load every data set and build every network once; return what is worth a note.

    What is worth a note of networks of one's own as they are is told when they are trained.

    Raises:
        BenchError: what is missing or cannot be built, all of it at once, a line each.
    """
    problems: dict[str, None] = {}
    faults: dict[str, str] = {}
    notes: dict[str, None] = {}
    seen: set[str] = set()
    broken: dict[str, str] = {}
    costs, probe = guard.Guard(), Probe()
    cells = list(cells)
    layers: dict[str, set[str]] = {}
    for cell in cells:
        if isinstance(layer := getattr(cell.options, "layer", None), str):
            layers.setdefault(cell.training.pair, set()).add(layer)
    suits = {
        (cell.training.dataset.label, cell.title): cell
        for cell in cells
        if cell.measure is not None
    }
    for cell in suits.values():
        dataset = _loaded(cell.training, place, broken)
        reason = dataset and measures.load(str(cell.measure)).refusal(cell.options, dataset)
        if reason:
            problems[f"{cell.training.dataset.label}/{cell.title}: {reason}"] = None
    # Trials last: what is said of a network is said of its own schedule.
    for cell in sorted(cells, key=lambda cell: cell.training.trial):
        training = cell.training
        if training.pair in seen:
            continue
        seen.add(training.pair)
        if (dataset := _loaded(training, place, broken)) is None:
            continue
        try:
            asked = layers.get(training.pair, set())
            notes.update(dict.fromkeys(_check_training(training, dataset, costs, probe, asked)))
        except FaultError as error:
            line = f"{training.place}: {training.pair}: {error}"
            # Once, however many data sets of that shape there are.
            if faults.setdefault(network_of(training, dataset), line) == line:
                problems[line] = None
        except BenchError as error:
            problems[f"{training.place}: {training.pair}: {error}"] = None
    if broken or problems:
        raise BenchError("\n".join(dict.fromkeys([*broken.values(), *problems])))
    return list(notes)


def _loaded(training: Training, place: Place, broken: dict[str, str]) -> Dataset | None:
    """The data set; None if it is one of the `broken` (what is wrong, by label), to which it is
    added: to find out again may take hours, which is how long many images take to decode."""
    label = training.dataset.label
    if label not in broken:
        try:
            return load_dataset(training, place)
        except BenchError as error:
            broken[label] = str(error)
    return None


def _check_training(
    training: Training, dataset: Dataset, costs: guard.Guard, probe: Probe, layers: set[str]
) -> Iterator[str]:
    if training.weights is None:
        _require_images(training, dataset)
    # What is known to cost far too much is not even built.
    _require_consent(training, guard.listed(training, dataset.image_size))
    if backbones.is_plugin(training.backbone.name) and training.variant == "bu":
        fault = probe.fault(training, dataset)
        if fault:
            raise FaultError(fault)
        probe.require_sizes(training, dataset)
        if layers - {"last"}:
            _require_layers(probe.build(training, dataset), dataset, layers)
        return
    network = probe.build(training, dataset)
    probe.require_sizes(training, dataset, network)
    _require_layers(network, dataset, layers)
    if guard.is_guarded(training) and not training.backbone.allow_cost:
        _require_consent(training, costs.measure(training, network.backbone, dataset))
    yield from notes_on(training, dataset, network)


def _require_images(training: Training, dataset: Dataset) -> None:
    """Enough of them are left to train on, and they are large enough for the crops."""
    require_enough(dataset, training.recipe.validation)
    if text := training.recipe.augment.misfit(min(dataset.train.images.shape[2:])):
        raise BenchError(text)


def _require_layers(network: nn.Module, dataset: Dataset, layers: set[str]) -> None:
    """Layers that the network does not have, or that give no map, are told before hours of
    training."""
    from bench.explain.cam import require_maps

    named = sorted(layers - {"last"})
    if not named:
        return
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    size = (2, dataset.channels, *dataset.test.images.shape[2:])
    try:
        require_maps(network, torch.zeros(size, device=device), named)
    except BenchError:
        raise
    except Exception:  # noqa: S110 - what fails on an image is told when it is trained
        pass


def _require_consent(training: Training, over: guard.Over | None) -> None:
    refused = guard.objection(training, over)
    if refused:
        raise BenchError(refused)
