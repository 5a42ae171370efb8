"""Functions that a model calls outside of modules, where a chain of modules cannot be read."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_MODULES = {
    "relu": "nn.ReLU()",
    "relu_": "nn.ReLU()",
    "relu6": "nn.ReLU6()",
    "gelu": "nn.GELU()",
    "silu": "nn.SiLU()",
    "elu": "nn.ELU()",
    "leaky_relu": "nn.LeakyReLU()",
    "leaky_relu_": "nn.LeakyReLU()",
    "hardswish": "nn.Hardswish()",
    "sigmoid": "nn.Sigmoid()",
    "tanh": "nn.Tanh()",
    "max_pool2d": "nn.MaxPool2d(...)",
    "avg_pool2d": "nn.AvgPool2d(...)",
    "dropout": "nn.Dropout(...)",
    "dropout2d": "nn.Dropout2d(...)",
    "batch_norm": "nn.BatchNorm2d(...)",
}


def called_after(model: nn.Module, path: str, images: Tensor) -> str | None:
    """How to do without the function that a model calls on what a module gives.

    Args:
        model: not changed.
        path: of the module.
        images: N x C x H x W.

    Returns:
        A sentence without a full stop; none where something else than one function takes it.
    """
    watch = _Watch()
    training = model.training
    handles = [handle for module in model.modules() for handle in watch.attach(module)]
    handles.append(model.get_submodule(path).register_forward_hook(watch.begin))
    try:
        with torch.no_grad(), watch:
            model.eval()(images)
    except Exception:  # any model may be given, and may raise anything
        return None
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)
    if len(watch.takers) != 1 or not watch.takers[0]:
        return None
    [name] = watch.takers
    instead = _MODULES.get(name)
    how = f"write it as a module, {instead}" if instead else "put it into a module of its own"
    paths = {module: path for path, module in model.named_modules()}
    return f"forward calls {name} on what {paths.get(watch.giver, path)} gives: {how}"


class _Watch(TorchFunctionMode):
    """Collects what takes a map in the module that called what gave it, however far out that is.

    Attributes:
        takers: names of functions; empty ones for modules.
        giver: the outermost module that gives this map, such as the nn.Sequential that ends in it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.takers: list[str] = []
        self.giver: nn.Module | None = None
        self._map: Tensor | None = None
        self._caller: nn.Module | None = None
        self._open: list[nn.Module] = []

    def attach(self, module: nn.Module) -> list[Any]:
        """Follow which modules are running."""
        return [
            module.register_forward_pre_hook(self._enter),
            module.register_forward_hook(self._leave),
        ]

    def _enter(self, module: nn.Module, args: Any) -> None:
        if self._takes(args):
            self.takers.append("")
        self._open.append(module)

    def _leave(self, module: nn.Module, _args: Any, output: Any) -> None:
        self._open.pop()
        if module is self._caller and self._map is not None and output is self._map:
            self._gives(module)

    def begin(self, module: nn.Module, _args: Any, output: Any) -> None:
        """Remember the map, after the module that gave it is closed."""
        self.takers.clear()
        self._map = output if isinstance(output, Tensor) else None
        self._gives(module)

    def _gives(self, module: nn.Module) -> None:
        """The map is from here on in the hands of what called this module."""
        self.giver, self._caller = module, self._open[-1] if self._open else None

    def _takes(self, args: Any) -> bool:
        here = bool(self._open) and self._open[-1] is self._caller
        return here and self._map is not None and any(one is self._map for one in args)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a function; keep its name if it makes something of the map."""
        name = str(getattr(func, "__name__", func))
        takes = self._takes(args) and name != "detach"
        out = func(*args, **(kwargs or {}))
        if takes and isinstance(out, Tensor) and out.is_floating_point():
            self.takers.append(name)
            if out is self._map:  # in place: from here on it is another map
                self._map = None
        return out
