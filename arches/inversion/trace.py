"""One forward pass, written down: which module was called by which, with which tensors."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

Key = tuple[tuple[int, int], ...]
"""Identity and version of each tensor: an in-place addition keeps the first, not the second."""


class PerCall(nn.ModuleList):
    """Copies of a module, one for each of its calls in a pass, which take turns.

    A trace does not show it, only the copies.

    Args:
        module: has no parameters, no buffers and no memory of its own, so that it does not matter
            for the result which copy is called.
        count: of calls in one pass, at least 1.
    """

    def __init__(self, module: nn.Module, count: int) -> None:
        super().__init__([module, *(copy.deepcopy(module) for _ in range(count - 1))])
        self.coming = 0

    def __getattr__(self, name: str) -> Any:
        """What a model reads off the module, such as the size of a window, the copies have."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or not (copies := self.__dict__.get("_modules")):
                raise
            return getattr(copies["0"], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module gives."""
        copies = list(self)
        module = copies[self.coming]
        self.coming = (self.coming + 1) % len(copies)
        return module(*args, **kwargs)


@dataclass(slots=True)
class Call:
    """One call of a module.

    Attributes:
        path: of the module inside the model; empty for the model itself.
        module: that was called.
        taken: keys of the tensors that came in.
        given: keys of the tensors that went out.
        inputs: these tensors; no others are held, but they are, so that no identity is reused.
        outputs: likewise.
        extras: whether anything but tensors and ``None`` came in.
        whole: whether the call ended; the pass may have failed inside.
        children: calls made from inside, in order.
    """

    path: str
    module: nn.Module
    taken: Key
    inputs: tuple[Tensor, ...]
    extras: bool
    given: Key = ()
    outputs: tuple[Tensor, ...] = ()
    whole: bool = False
    children: list[Call] = field(default_factory=list)


def trace(model: nn.Module, images: Tensor) -> tuple[Call, Exception | None]:
    """The tree of calls of one forward pass, in evaluation mode and without gradients.

    Args:
        model: whose mode is left as it was.
        images: N x C x H x W.

    Returns:
        The call of the model itself, and the error by which the pass ended early, if one did: the
        calls before it are there.
    """
    recorder = _Recorder()
    training = model.training
    handles = [
        handle
        for path, module in model.named_modules(remove_duplicate=True)
        if not isinstance(module, PerCall)
        for handle in recorder.attach(path, module)
    ]
    error: Exception | None = None
    try:
        with torch.no_grad():
            model.eval()(images)
    except Exception as problem:  # any model may be given, and may raise anything
        error = problem
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)
    if recorder.root is None:
        raise error or RuntimeError("the model was never called.")
    return recorder.root, error


class _Recorder:
    """Hooks that build the tree."""

    def __init__(self) -> None:
        self.root: Call | None = None
        self._open: list[Call] = []

    def attach(self, path: str, module: nn.Module) -> Iterator[Any]:
        def begin(_module: nn.Module, args: Any, kwargs: Any) -> None:
            leaves = tree_leaves((args, kwargs))
            tensors = tuple(leaf for leaf in leaves if isinstance(leaf, Tensor))
            others = [leaf for leaf in leaves if leaf is not None and not isinstance(leaf, Tensor)]
            call = Call(path, module, keys(tensors), tensors, bool(others))
            if self._open:
                self._open[-1].children.append(call)
            else:
                self.root = call
            self._open.append(call)

        def end(_module: nn.Module, _args: Any, output: Any) -> None:
            call = self._open.pop()
            call.outputs = tuple(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))
            call.given = keys(call.outputs)
            call.whole = True

        yield module.register_forward_pre_hook(begin, with_kwargs=True)
        yield module.register_forward_hook(end)


def keys(tensors: tuple[Tensor, ...]) -> Key:
    """Identity and version of tensors."""
    return tuple((id(tensor), tensor._version) for tensor in tensors)
