"""What is worth a note of a network and its schedule, whatever comes out of the training."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from bench.data.dataset import Dataset
from bench.models.network import Network
from bench.plan import guard
from bench.plan.cell import Training
from bench.train.trainer import steps_per_epoch

# Running statistics that averaged fewer effective batches lag behind the weights.
SETTLED = 10

USUAL = 0.1
_REMEDIES = {
    True: "set bn_momentum (0.1 is PyTorch's) in the recipe",
    False: "train for more steps",
}


def notes_on(training: Training, dataset: Dataset, network: Network) -> Iterator[str]:
    """Sentences that name the network: on widths that it has not, on a head that is not bu's, on
    parameters that it does not use, and on its batch normalisation.

    Args:
        training: with the recipe that it is trained with.
        dataset: with all training images; their number counts.
        network: not trained yet; on any device, be it `meta`.
    """
    if guard.is_guarded(training):
        for note in guard.inversion_notes(network.backbone):
            yield f"{training.pair}: {note}"
    for note in guard.unused_notes(training, network.backbone, dataset):
        yield f"{training.pair}: {note}"
    if training.weights is None:
        yield from _slow_statistics(training, dataset, network)


def _slow_statistics(training: Training, dataset: Dataset, network: nn.Module) -> Iterator[str]:
    """A note if batch normalisation cannot settle: accuracy would tell of that, not the net."""
    recipe = training.recipe
    own = [m.momentum for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if recipe.bn_momentum is not None:
        own = [recipe.bn_momentum for _ in own]
    momenta = [momentum for momentum in own if momentum]
    steps = recipe.epochs * steps_per_epoch(len(dataset.train), recipe)
    if momenta and steps * min(momenta) < SETTLED:
        yield (
            f"{training.dataset.label}/{training.backbone.label}: batch normalisation averages "
            f"with momentum {min(momenta):g} over {steps} step{'' if steps == 1 else 's'} only, "
            f"so they lag behind and accuracy suffers; {_REMEDIES[min(momenta) < USUAL]}"
        )
