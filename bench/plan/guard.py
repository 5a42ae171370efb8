"""What an inverted network costs over its bottom-up one, and who has to say yes to that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arches import support
from bench.errors import NotInvertibleError
from bench.models import backbones
from bench.plan.cell import Training

if TYPE_CHECKING:
    from torch import nn

    from arches.analysis.estimate import Estimate
    from bench.data.dataset import Dataset, DatasetInfo

# An inverted network may cost this many times its bottom-up one before it needs an explicit yes.
COST_LIMIT = 30


@dataclass(frozen=True, slots=True)
class Over:
    """FLOPs and activation memory (what training keeps for the backward pass) over those of the
    bottom-up network; no memory where only the table of measured models was asked."""

    flops: float
    memory: float | None = None

    def __str__(self) -> str:
        text = f"{_times(self.flops)} the FLOPs"
        if self.memory is not None:
            text += f" and {_times(self.memory)} the activation memory"
        return f"{text} of bu"


def _times(ratio: float) -> str:
    return f"{ratio:.0f} times" if ratio >= 10 else f"{ratio:.2g} times"


def is_guarded(training: Training) -> bool:
    """Whether a training is of an inverted network that the paper does not have."""
    return training.variant != "bu" and not backbones.is_declared(training.backbone.name)


def row_of(training: Training) -> support.Row | None:
    """The row of the table for a model of a library, as it is without any option."""
    if training.backbone.options or not backbones.is_foreign(training.backbone.name):
        return None
    return support.find(training.backbone.name).get(training.variant)


def listed(training: Training, image_size: int | None) -> Over | None:
    """The cost over bu that the table has for images of that size, if it has one."""
    row = row_of(training) if is_guarded(training) else None
    if row is None or row.flops is None or row.image_size != image_size:
        return None
    return Over(row.flops)


def objection(training: Training, over: Over | None) -> str | None:
    """Why a training may not start, if it costs too much and the suite does not allow that."""
    if over is None or training.backbone.allow_cost:
        return None
    if max(over.flops, over.memory or 0.0) <= COST_LIMIT:
        return None
    return f"costs {over}; if that is meant, give the backbone `allow_cost: true`"


def warnings(training: Training, image_size: int | None) -> Iterator[str]:
    """What the table has against a training; whether it is so here shows when it is built."""
    row = row_of(training)
    if row is None:
        return
    if row.status == support.UNSUPPORTED:
        yield f"the table of measured models has it as unsupported: {row.reason}"
    elif row.status == support.NATIVE and image_size not in (None, row.image_size):
        yield f"the table of measured models has it at {row.image_size} pixels only: {row.reason}"


def inversion_notes(network: nn.Module) -> Iterator[str]:
    """A sentence on the stages of an inverted network that have other widths than was wanted, and
    one on its head if that is another than the bottom-up network's."""
    missed: dict[int, tuple[int, int]] = getattr(network, "missed_widths", {})
    if missed:
        stages = (f"{got} for {wanted} at 1/{factor}" for factor, (wanted, got) in missed.items())
        yield f"not every stage has the wanted width in channels: {', '.join(stages)}"
    if head_note := getattr(network, "head_note", ""):
        yield head_note


def unused_notes(
    training: Training, network: nn.Module, data: Dataset | DatasetInfo
) -> Iterator[str]:
    """A sentence on parameters of a network of one's own that its forward pass does not use.

    Only those of `bu`: an inverted network has none.
    """
    from arches.analysis.unused import note, unused_parameters

    if training.variant != "bu" or not backbones.is_plugin(training.backbone.name):
        return
    try:
        unused = unused_parameters(network, data.image_size, data.channels)
    except Exception:  # whatever a plugin raises; running it will tell
        return
    if unused:
        yield note(unused)


def not_invertible(error: NotInvertibleError) -> str:
    """Why a training may not start, if its network of one's own cannot be inverted."""
    return f"{str(error).rstrip('.')}; for bu alone, give it `variants: [bu]`"


def bottom_up_works(training: Training, data: Dataset | DatasetInfo) -> bool:
    """Whether the bottom-up network of a training can be built and takes images of that size."""
    import torch

    try:
        network = _bottom_up(training, data).eval()
        with torch.no_grad():
            logits = network(torch.randn(2, data.channels, data.image_size, data.image_size))
        return bool(logits.shape == (2, data.num_classes))
    except Exception:  # whatever a plugin raises
        return False


class Guard:
    """Measures costs; the cost of a bottom-up network is measured once for all its variants."""

    def __init__(self) -> None:
        self._plain: dict[tuple[str, str], Estimate] = {}

    def measure(
        self, training: Training, network: nn.Module, data: Dataset | DatasetInfo
    ) -> Over | None:
        """The cost of the inverted network of a training over that of its bottom-up one; None
        where they cannot be measured."""
        import arches

        key = (training.dataset.label, training.backbone.label)
        try:
            if key not in self._plain:
                plain = _bottom_up(training, data)
                self._plain[key] = arches.estimate(plain, data.image_size, data.channels)
            own = arches.estimate(network, data.image_size, data.channels)
        except Exception:  # models that run only as a whole, or not at this size: nothing is known
            return None
        ratios = own.over(self._plain[key])
        return Over(ratios["flops"], ratios["saved_bytes"])


def _bottom_up(training: Training, data: Dataset | DatasetInfo) -> nn.Module:
    name, options = training.backbone.name, dict(training.backbone.options)
    if backbones.is_foreign(name):
        options.pop("pretrained", None)  # published weights cost the same as others
        options.pop("init", None)
    return backbones.build(name, "bu", data.channels, data.num_classes, options, data.image_size)
