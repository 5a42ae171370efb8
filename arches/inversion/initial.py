"""How a model draws its weights, read off the weights themselves.

Models draw their weights inside their constructors, in ways that cannot be called for a part that
has another width. But a fresh model shows its rule: whether standard deviations of layers follow
their fan-in, their fan-out, or neither.
"""

from __future__ import annotations

import inspect
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

# Fewer values tell too little about a distribution.
_ENOUGH = 64

# Fourth moment over squared variance: 1.8 for a uniform distribution, 3 for a normal one.
_BETWEEN_UNIFORM_AND_NORMAL = 2.1
# So many values tell how the others were drawn.
_PLENTY = 2**18


@dataclass(frozen=True, slots=True)
class Law:
    """By what the variance of a kind of layer is divided: ``in``, ``out`` or ``none``."""

    fans: dict[str, str]

    def scale(self, kind: str, before: tuple[int, int], after: tuple[int, int]) -> float:
        """By what a standard deviation changes with fan-in and fan-out."""
        fan = self.fans.get(kind, "in")
        if fan == "none":
            return 1.0
        place = 0 if fan == "in" else 1
        return float((before[place] / after[place]) ** 0.5)


def read_law(model: nn.Module) -> Law:
    """The rule by which the layers of a fresh model were drawn.

    For each class of layer the quantity that varies least over the model: the standard deviation
    itself, or that times the root of fan-in or fan-out.
    """
    seen: dict[str, list[tuple[float, int, int]]] = {}
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.dim() >= 2 and weight.numel() >= _ENOUGH:
            std = float(weight.detach().std())
            if std > 0:
                seen.setdefault(kind_of(module), []).append((std, *fans(module, weight)))
    return Law({kind: _steadiest(rows) for kind, rows in seen.items()})


def kind_of(module: nn.Module) -> str:
    """Layers of one class are drawn alike, apart from depthwise convolutions."""
    depthwise = isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
    return f"{type(module).__name__}{' depthwise' if depthwise else ''}"


def fans(module: nn.Module, weight: Tensor) -> tuple[int, int]:
    """Fan-in and fan-out of a layer, the latter for each group."""
    window = weight[0, 0].numel() if weight.dim() > 2 else 1
    groups = int(getattr(module, "groups", 1))
    return weight.shape[1] * window, max(1, weight.shape[0] * window // groups)


def _steadiest(rows: list[tuple[float, int, int]]) -> str:
    choices = {
        "in": [std * fan_in**0.5 for std, fan_in, _ in rows],
        "out": [std * fan_out**0.5 for std, _, fan_out in rows],
        "none": [std for std, _, _ in rows],
    }
    spread = {
        name: statistics.pstdev(values) / statistics.fmean(values)
        for name, values in choices.items()
    }
    return min(spread, key=lambda name: spread[name])


def draw_anew(model: nn.Module) -> None:
    """Draw all weights anew, by the rules of the layers, then by those of the model.

    Layers have ``reset_parameters`` and models ``init_weights``, by custom. What neither of them
    touches is drawn like the values it has. What is frozen beside parameters that are not is a
    constant, such as the mean of the images or a fixed filter, and stays.
    """
    with torch.no_grad():
        before = {name: value.clone() for name, value in model.named_parameters()}
        for module in model.modules():
            for name in ("reset_parameters", "_reset_parameters"):
                if _callable_bare(reset := getattr(module, name, None)):
                    reset()
                    break
        if _callable_bare(own := getattr(model, "init_weights", None)):
            own()
        trained = any(value.requires_grad for value in model.parameters())
        for name, value in model.named_parameters():
            if trained and not value.requires_grad:
                value.copy_(before[name])
            elif torch.equal(value, before[name]):
                value.copy_(draw_like(value, tuple(value.shape)))


def _callable_bare(function: Any) -> TypeGuard[Callable[[], object]]:
    """Whether something can be called without arguments."""
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


def draw_like(like: Tensor, shape: tuple[int, ...], scale: float = 1.0) -> Tensor:
    """A tensor of another shape, drawn as another one was.

    Args:
        like: with fresh values: all the same, uniform or normal.
        shape: of the new one.
        scale: of its standard deviation against that of ``like``.
    """
    values = like.detach()
    if values.numel() == 0:
        return torch.zeros(shape, dtype=like.dtype)
    if values.numel() > _PLENTY:
        values = values.flatten()[:: values.numel() // _PLENTY]
    values = values.double()
    mean, std = float(values.mean()), float(values.std(correction=0))
    if std <= 1e-8 * max(1.0, abs(mean)):
        return torch.full(shape, mean, dtype=like.dtype)
    flat = float((values - mean).pow(4).mean()) / std**4 < _BETWEEN_UNIFORM_AND_NORMAL
    noise = torch.rand(shape).sub_(0.5).mul_(12**0.5) if flat else torch.randn(shape)
    return noise.mul_(std * scale).add_(mean).to(like.dtype)
