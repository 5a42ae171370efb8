"""Cost of a module without running it: FLOPs and activation memory, on the meta device.

Nothing is computed, only shapes are followed, so no weights are needed and a large network takes
fractions of a second.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from arches.analysis.attention import fused_attention
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
        flops: twice the multiply-accumulates of convolutions and matrix products.
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
        flops: of one forward pass; convolutions and matrix products, 2 x multiply-accumulates.
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
            parts_cost, flops, saved = _training_pass(module.train(), images, parts)
            peak = _inference_peak(module.eval(), images)
    finally:
        module.train(training)
    return Cost(parts_cost, flops, saved, peak)


def bilinear_macs(first: Sequence[int], weight: Sequence[int]) -> int:
    """Of `nn.Bilinear`, of the shapes of its first input and of its weight: the weights times the
    first input, and that times the second."""
    outputs, one, other = weight
    return first[0] * outputs * (one + 1) * other


def _attention_flops(query: Any, key: Any, value: Any, *more: Any, **options: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _bilinear_flops(first: Any, weight: Any, *more: Any, **options: Any) -> int:
    return 2 * bilinear_macs(first, weight)


# What PyTorch's counter does not know: attention by the CPU's kernel, and bilinear layers.
_FLOPS = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten._trilinear: _bilinear_flops,
}


def _training_pass(
    module: nn.Module, images: Tensor, parts: Sequence[nn.Module]
) -> tuple[tuple[PartCost, ...], int, int]:
    counter = FlopCounterMode(display=False, custom_mapping=_FLOPS)
    saved = _Saved(module)
    found: dict[int, PartCost] = {}
    running: list[tuple[int, int]] = []

    def begin(part: nn.Module, _inputs: Any) -> None:
        running.append((counter.get_total_flops(), saved.total))

    def end(part: nn.Module, _inputs: Any, output: Any) -> None:
        flops, kept = running.pop()
        if running:  # shared with the part that runs it, and counted there
            return
        given = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        before = found.pop(id(part), PartCost())
        found[id(part)] = PartCost(
            shapes=tuple(tuple(tensor.shape) for tensor in given),
            flops=before.flops + counter.get_total_flops() - flops,
            output_bytes=sum(tensor.numel() * tensor.element_size() for tensor in given),
            saved_bytes=before.saved_bytes + saved.total - kept,
        )

    handles = [part.register_forward_pre_hook(begin) for part in parts]
    handles += [part.register_forward_hook(end) for part in parts]
    try:
        with torch.enable_grad(), counter, saved_tensors_hooks(saved.keep, _unchanged):
            module(images)
    finally:
        for handle in handles:
            handle.remove()
    # A part that runs again comes later.
    places = {key: place for place, key in enumerate(found, start=1)}
    costs = tuple(
        replace(found.get(id(part), PartCost()), place=places.get(id(part), 0)) for part in parts
    )
    return costs, counter.get_total_flops(), saved.total


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
