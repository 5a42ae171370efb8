"""Cost of a module without running it: FLOPs and activation memory, on the meta device.

Nothing is computed, only shapes are followed, so no weights are needed and a large network takes
fractions of a second.
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_leaves

from arches.analysis.attention import fused_attention
from arches.analysis.counter import OperationCounter
from arches.analysis.storages import StorageTracker

# What models raise that read values while they run, which the meta device does not have
# (an operation without shapes is a RuntimeError as well), or that look which device it is.
READS_VALUES = (
    RuntimeError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
)


@dataclass(frozen=True, slots=True)
class PartCost:
    """Cost of one part of a module in one forward pass; all zero where it does not run.

    Attributes:
        shapes: of the tensors that it gives, the last time it runs.
        place: among the parts, by when it ends; from 1.
        flops: twice the multiply-accumulates of convolutions and matrix products, in inference.
        output_bytes: size of the output.
        saved_bytes: what the part keeps for the backward pass and no earlier part kept.
    """

    shapes: tuple[tuple[int, ...], ...] = ()
    place: int = 0
    flops: int = 0
    output_bytes: int = 0
    saved_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a module for one batch.

    Attributes:
        parts: of the parts that were asked for, in their order.
        flops: of inference, as :mod:`arches.analysis.operations` counts them.
        saved_bytes: activations that training keeps from the forward for the backward pass.
        peak_bytes: most that inference holds at once: input, maps and temporary copies.
    """

    parts: tuple[PartCost, ...]
    flops: int
    saved_bytes: int
    peak_bytes: int

    def per_image(self, count: int) -> Cost:
        """The same for one image of a batch of that many."""
        parts = tuple(
            replace(
                part,
                flops=part.flops // count,
                output_bytes=part.output_bytes // count,
                saved_bytes=part.saved_bytes // count,
            )
            for part in self.parts
        )
        totals = (self.flops, self.saved_bytes, self.peak_bytes)
        return Cost(parts, *(total // count for total in totals))


def read_cost(
    network: nn.Module,
    image_size: int,
    in_chans: int,
    parts: Callable[[nn.Module], Sequence[nn.Module]] = lambda network: (),
) -> Cost:
    """Cost of a network for one image, read from a copy.

    The copy is on the meta device; only where that fails, because a model reads values while it
    runs, is it run. Two images serve, for some norms need as many in training.

    Args:
        network: left as it is.
        image_size: side of the image in pixels.
        in_chans: channels of the image.
        parts: of a copy of the network, those whose shares are wanted.
    """
    try:
        twin = without_values(network)
        images = torch.empty(2, in_chans, image_size, image_size, device="meta")
        return measure_cost(twin, images, parts(twin)).per_image(2)
    except READS_VALUES:
        twin = copy.deepcopy(network).cpu()
        # Which convolutions would only take longer without.
        plain = without_onednn() if is_recurrent(network) else nullcontext()
        with torch.random.fork_rng(devices=[]), plain:
            images = torch.randn(2, in_chans, image_size, image_size)
            return measure_cost(twin, images, parts(twin)).per_image(2)


def is_recurrent(network: nn.Module) -> bool:
    """Whether it has recurrent layers (LSTM, GRU), whose kernels keep a work space of their own
    between the passes and hide their products."""
    return any(isinstance(part, nn.RNNBase) for part in network.modules())


@contextmanager
def without_onednn() -> Iterator[None]:
    """oneDNN's kernel for recurrent layers hides their products."""
    with warnings.catch_warnings():
        # PyTorch's own switch also sets one that is for other hardware, and warns of that.
        warnings.filterwarnings("ignore", "TF32 acceleration", UserWarning)
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def without_values(network: nn.Module) -> nn.Module:
    """A copy of a network on the meta device, made without copying weights."""
    memo: dict[int, Any] = {
        id(tensor): torch.empty_like(tensor, device="meta") for tensor in network.buffers()
    }
    for weight in network.parameters():
        hollow = torch.empty_like(weight, device="meta")
        memo[id(weight)] = nn.Parameter(hollow, requires_grad=weight.requires_grad)
    return copy.deepcopy(network, memo).to("meta")


def measure_cost(module: nn.Module, images: Tensor, parts: Sequence[nn.Module] = ()) -> Cost:
    """Cost of a module on a batch of images.

    Args:
        module: on the meta device, or on any other if it may really run. Its mode is left as it
            was, its gradients too; moving statistics change if it is not on the meta device.
        images: N x C x H x W on the same device.
        parts: modules inside whose shares are wanted. What runs inside of another is counted
            there alone.

    Returns:
        The cost; sizes in bytes for the whole batch.
    """
    training = module.training
    try:
        with fused_attention():
            kept, saved = _training_pass(module.train(), images, parts)
            flops, total = _flops(module.eval(), images, parts)
            peak = _inference_peak(module, images)
    finally:
        module.train(training)
    costs = (replace(part, flops=own) for part, own in zip(kept, flops, strict=True))
    return Cost(tuple(costs), total, saved, peak)


def _flops(
    module: nn.Module, images: Tensor, parts: Sequence[nn.Module]
) -> tuple[tuple[int, ...], int]:
    """FLOPs of the parts, and of all, for the whole batch: those of an image times their number,
    for what is computed once for a batch, of weights alone, is computed for a single image too."""
    try:
        own, total = _flops_of_pass(module, images[:1], parts)
    except READS_VALUES:  # statistics of a batch need two images
        return _flops_of_pass(module, images, parts)
    return tuple(len(images) * flops for flops in own), len(images) * total


def _flops_of_pass(
    module: nn.Module, images: Tensor, parts: Sequence[nn.Module]
) -> tuple[tuple[int, ...], int]:
    counter = OperationCounter()
    found: Counter[int] = Counter()

    def ended(part: nn.Module, products: int, _output: Any) -> None:
        found[id(part)] += 2 * products

    with torch.no_grad(), counter, _watched(parts, lambda: counter.products, ended):
        module(images)
    return tuple(found[id(part)] for part in parts), 2 * counter.products


@contextmanager
def _watched(
    parts: Sequence[nn.Module],
    number: Callable[[], int],
    ended: Callable[[nn.Module, int, Any], None],
) -> Iterator[None]:
    """While it lasts, each part that ends is told, with what a number rose by and the output.

    Not what runs inside of another part, which is counted there alone.
    """
    running: list[int] = []

    def begin(part: nn.Module, _inputs: Any) -> None:
        running.append(number())

    def end(part: nn.Module, _inputs: Any, output: Any) -> None:
        before = running.pop()
        if not running:
            ended(part, number() - before, output)

    handles = [part.register_forward_pre_hook(begin) for part in parts]
    handles += [part.register_forward_hook(end) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _training_pass(
    module: nn.Module, images: Tensor, parts: Sequence[nn.Module]
) -> tuple[tuple[PartCost, ...], int]:
    saved = _Saved(module)
    found: dict[int, PartCost] = {}

    def ended(part: nn.Module, kept: int, output: Any) -> None:
        given = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        # A part that runs again comes later.
        before = found.pop(id(part), PartCost())
        found[id(part)] = PartCost(
            shapes=tuple(tuple(tensor.shape) for tensor in given),
            output_bytes=sum(tensor.numel() * tensor.element_size() for tensor in given),
            saved_bytes=before.saved_bytes + kept,
        )

    with (
        torch.enable_grad(),
        saved_tensors_hooks(saved.keep, _unchanged),
        _watched(parts, lambda: saved.total, ended),
    ):
        module(images)
    places = {key: place for place, key in enumerate(found, start=1)}
    costs = tuple(
        replace(found.get(id(part), PartCost()), place=places.get(id(part), 0)) for part in parts
    )
    return costs, saved.total


def _unchanged(tensor: Tensor) -> Tensor:
    return tensor


class _Saved:
    """Adds up storages that autograd keeps, each once, without the module's own."""

    def __init__(self, module: nn.Module) -> None:
        own = [*module.parameters(), *module.buffers()]
        self._seen = {tensor.untyped_storage()._cdata: tensor for tensor in own}
        self.total = 0

    def keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            # Holding the tensor keeps the address from being given to another storage.
            self._seen[storage._cdata] = tensor
            self.total += storage.nbytes()
        return tensor


def _inference_peak(module: nn.Module, images: Tensor) -> int:
    tracker = StorageTracker()
    with torch.no_grad(), tracker:
        module(images)
    return images.untyped_storage().nbytes() + tracker.peak
