"""A network as it was before it was measured, its modules and its weights: to see, and undo, a
change."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bench.models import weights
from bench.models.network import Network

# Of a larger tensor so many values are compared where PyTorch has seen no change of it.
SAMPLED = 1024
# The dictionaries of any module: of its tensors, of the modules in it, and of its hooks.
_DICTIONARIES = tuple(name for name, value in vars(nn.Module()).items() if isinstance(value, dict))
_TENSORS = ("_parameters", "_buffers")


class Pristine:
    """Keeps a copy of all weights and statistics of a network; `fingerprint` is a hash over them.

    To read every weight after every cell would cost more than a small cell itself. So a tensor is
    compared whole if PyTorch has counted a change of it or it is another one; else, for `.data`
    can be written into uncounted, by a sample of its values.
    """

    def __init__(self, network: Network) -> None:
        # What TorchScript has compiled cannot be rebuilt.
        own = (m for m in network.modules() if not isinstance(m, torch.jit.ScriptModule))
        self._modules = [_Kept(module) for module in own]
        state = network.state_dict()
        self._copies = {name: tensor.clone() for name, tensor in state.items()}
        self._stamps = {name: _stamp(tensor) for name, tensor in state.items()}
        self.fingerprint = weights.fingerprint(self._copies)

    def restore(self, network: Network) -> bool:
        """Undo what was done to the network; return whether its weights or modules had changed."""
        rebuilt = [kept for kept in self._modules if kept.differs()]
        for kept in rebuilt:
            kept.put_back()
        for kept in self._modules:
            kept.put_back_flags()
        network.zero_grad(set_to_none=True)
        state = network.state_dict()
        changed = [name for name, tensor in state.items() if self._differs(name, tensor)]
        if changed:
            held = dict(network.named_buffers(remove_duplicate=False))
            held |= network.named_parameters(remove_duplicate=False)
            for name in changed:
                _overwrite(held[name], self._copies[name])
        if changed or rebuilt:
            self._stamps = {name: _stamp(t) for name, t in network.state_dict().items()}
        return bool(changed or rebuilt)

    def _differs(self, name: str, tensor: Tensor) -> bool:
        copy = self._copies[name]
        if _kind(tensor) != _kind(copy):
            return True
        if _stamp(tensor) == self._stamps[name] and copy.numel() > SAMPLED:
            every = copy.numel() // SAMPLED
            if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
                # In the order of memory, in which to flatten them is not to copy them.
                tensor, copy = tensor.permute(0, 2, 3, 1), copy.permute(0, 2, 3, 1)
            tensor, copy = tensor.flatten()[::every], copy.flatten()[::every]
        return not _same(tensor, copy)


def _stamp(tensor: Tensor) -> tuple[int, int]:
    # Tensors of inference mode count no changes.
    version = 0 if tensor.is_inference() else tensor._version
    return version, tensor.data_ptr()


def _same(tensor: Tensor, copy: Tensor) -> bool:
    """Whether they have the same values; NaN, which equals nothing, is the same as NaN."""
    if tensor.equal(copy):
        return True
    return bool(((tensor == copy) | (tensor.isnan() & copy.isnan())).all())


def _kind(tensor: Tensor) -> tuple[object, ...]:
    return tensor.dtype, tensor.shape, tensor.device


@torch.no_grad()
def _overwrite(tensor: Tensor, copy: Tensor) -> None:
    if _kind(tensor) == _kind(copy) and not tensor.is_inference():
        tensor.copy_(copy)
    else:
        tensor.data = copy.clone()


class _Kept:
    """What a module is made of beside the values of its tensors: its class, what it calls, the
    modules and tensors in it, and its hooks."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._parts = _parts(module)
        self._class, self._forward = type(module), vars(module).get("forward")
        self._flags = [(p, p.requires_grad) for p in module._parameters.values() if p is not None]

    def differs(self) -> bool:
        """Whether it is made of anything else now. Tensors count by their names: one may be put in
        the place of another, and only its values matter then."""
        module = self._module
        if type(module) is not self._class or vars(module).get("forward") is not self._forward:
            return True
        now = _parts(module)
        return any(
            _keys(name, now[name]) != _keys(name, part) for name, part in self._parts.items()
        )

    def put_back(self) -> None:
        """Make it of what it was made of."""
        module = self._module
        module.__class__ = self._class
        vars(module).pop("forward", None)
        if self._forward is not None:
            vars(module)["forward"] = self._forward
        for name, part in self._parts.items():
            held = getattr(module, name)
            held.clear()
            held.update(part)

    def put_back_flags(self) -> None:
        """Let its parameters take gradients as before."""
        for parameter, requires in self._flags:
            if parameter.requires_grad != requires:
                parameter.requires_grad_(requires)


def _parts(module: nn.Module) -> dict[str, dict[Any, Any]]:
    """Copies of the dictionaries of a module."""
    return {name: dict(getattr(module, name)) for name in _DICTIONARIES}


def _keys(name: str, part: dict[Any, Any]) -> dict[Any, object]:
    """What of a dictionary tells whether it is another: in the place of one tensor there may be
    another, and only its values matter then."""
    if name in _TENSORS:
        return {key: value is None for key, value in part.items()}
    return {key: id(value) for key, value in part.items()}
