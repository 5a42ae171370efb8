"""Networks of trainings: built, loaded with their weights, and whether those are all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.data.dataset import Dataset
from bench.errors import BenchError, WeightsLostError
from bench.identity import hash_now
from bench.models import backbones, weights
from bench.models.cudnn import exact
from bench.models.logits import check_logits
from bench.models.network import Network, wrap
from bench.models.predict import as_input
from bench.models.settings import is_known_code, settle
from bench.plan.cell import Training
from bench.seeding import seeded

# Images that a trained network and its loaded twin are asked for, and by how much of the largest
# logit their answers may differ: on a GPU equal sums need not have equal bits.
ASKED = 8
EQUAL = 1e-3

_OTHER_CODE = (
    ". Another version of the code or of a library built this network otherwise when it was "
    "trained; go on with that one, begin another run with --out, or delete this file, and the "
    "network is trained and measured anew"
)


def load_network(training: Training, file: Path, dataset: Dataset, device: torch.device) -> Network:
    """The network of a training with weights from a file, ready to predict on the device.

    Raises:
        WeightsLostError: the file is one of the run, and cannot be read.
        BenchError: it cannot be built, or the file cannot be read or does not fit it.
    """
    own = training.weights is None  # of the run; else a file of the suite
    # What is drawn as it is built and is not among the weights has to be what it was in training.
    with seeded(training.seed):
        network = build_network(training, dataset)
    _require_unchanged(training, file)
    try:
        tensors = weights.read(file)
    except BenchError as error:
        if not own:  # nobody here can make it anew
            raise
        raise WeightsLostError(str(error)) from None
    # Files of a run hold the normalisation too; files of others hold the backbone alone, which may
    # have one of its own.
    whole = "normalize.mean" in tensors and not weights.fits(network.backbone, tensors)
    target = network if whole else network.backbone
    try:
        weights.load_into(target, tensors, str(file))
    except BenchError as error:
        raise BenchError(f"{error}{_OTHER_CODE if own else ''}") from None
    check_logits(network, dataset)
    # As a training leaves it: measures must not tell the two apart.
    settings = settle(training.recipe, device, network.backbone)
    return network.to(device).to(memory_format=settings.memory_format).eval()


def _require_unchanged(training: Training, file: Path) -> None:
    wanted = training.weights_sha256
    if wanted is not None and file.is_file() and hash_now(file) != wanted:
        raise BenchError(
            f"{training.weights}: it changed while the run was at work; run the same command "
            "again to measure what it holds now"
        )


def build_network(training: Training, dataset: Dataset) -> Network:
    """The untrained network of a training, normalisation included, on the CPU."""
    backbone = backbones.build(
        training.backbone.name,
        training.variant,
        dataset.channels,
        dataset.num_classes,
        training.backbone.options,
        dataset.image_size,
    )
    return wrap(backbone, dataset, training.recipe)


def require_whole(
    network: Network,
    state: Mapping[str, Tensor],
    training: Training,
    dataset: Dataset,
    device: torch.device,
) -> None:
    """Make sure that weights are all that a training has changed, so that every session measures
    the same network; those of known code (`is_known_code`) are.

    Args:
        network: trained, on the device.
        state: what is kept of it.
        training: that it comes from.
        dataset: whose test images, of which no label counts, both are asked for.
        device: where.

    Raises:
        BenchError: one that is built anew and has the same weights predicts otherwise.
    """
    if is_known_code(network.backbone):
        return
    with seeded(training.seed):
        again = build_network(training, dataset)
    weights.load_into(again, state, "its own weights")
    settings = settle(training.recipe, device, again.backbone)
    again = again.to(device).to(memory_format=settings.memory_format)
    images = as_input(dataset.test.images[:ASKED], device)
    # Before the images: to predict may change them, too.
    lost = sorted(_unkept(network) & _differing(network, again))
    with torch.no_grad(), exact():
        ours, theirs = (_logits(each.eval(), images, training.seed) for each in (network, again))
    if torch.allclose(theirs, ours, rtol=0, atol=_tolerance(ours), equal_nan=True):
        return
    what = f" ({', '.join(lost[:5])})" if lost else ""
    raise BenchError(
        "the network predicts otherwise once its weights are saved and loaded again: its training "
        f"changes something{what} that is neither a parameter nor a persistent buffer; keep it by "
        "register_buffer(name, tensor)"
    )


def _logits(network: nn.Module, images: Tensor, seed: int) -> Tensor:
    with seeded(seed):  # a network may draw numbers when it predicts, too
        logits: Tensor = network(images)
    return logits


def _tolerance(logits: Tensor) -> float:
    finite = logits[logits.isfinite()].abs()
    return EQUAL * float(finite.max()) if len(finite) else 0.0


def _unkept(network: nn.Module) -> set[str]:
    """The names of the buffers that are not saved."""
    return {name for name, _ in network.named_buffers()} - network.state_dict().keys()


def _differing(one: nn.Module, other: nn.Module) -> set[str]:
    """The names of the buffers of which two networks have other values."""
    theirs = dict(other.named_buffers())
    return {
        name
        for name, tensor in one.named_buffers()
        if name not in theirs or not torch.equal(tensor, theirs[name])
    }
