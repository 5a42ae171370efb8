"""Weights on disk: safetensors of our own, safetensors or weights-only checkpoints of others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from bench.errors import BenchError

# What DataParallel and torch.compile put before every name.
_WRAPPERS = ("module.", "_orig_mod.")


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a `torch.save` checkpoint (weights only).

    Raises:
        BenchError: missing, corrupt, or not plain tensors.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BenchError(f"{path}: no such weights file") from None
    except SafetensorError as error:
        raise BenchError(f"{path}: not a readable safetensors file: {error}") from None
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # torch.load raises nearly anything on a corrupt file
        first = (str(error).splitlines() or [""])[0]
        raise BenchError(
            f"{path}: not a checkpoint of plain weights ({type(error).__name__}: {first[:120]}); "
            "convert it to safetensors"
        ) from None
    return _state_dict(found, path)


def _state_dict(found: object, path: Path) -> dict[str, Tensor]:
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found:
        raise BenchError(f"{path}: holds no state dict")
    if any(not isinstance(value, Tensor) for value in found.values()):
        raise BenchError(f"{path}: holds other things than tensors")
    return {str(name): value for name, value in found.items()}


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """A hash over names, types, shapes and every bit of the tensors, wherever they are."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        total.update(plain.view(torch.uint8).numpy().data)  # NumPy has no bfloat16
    return total.hexdigest()[:20]


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load tensors into a module exactly, in its precision; what DataParallel and torch.compile put
    before every name is taken off.

    Raises:
        BenchError: missing, superfluous or misshapen entries, or whole or complex numbers in place
            of real ones (quantized weights are nothing without their scales); all named (at most
            five each).
    """
    own = module.state_dict()
    tensors = _unwrapped(tensors, own)
    both = sorted(own.keys() & tensors.keys())
    problems = []
    for title, names in (
        ("missing", sorted(own.keys() - tensors.keys())),
        ("not of this network", sorted(tensors.keys() - own.keys())),
        (
            "of another shape",
            [n for n in both if own[n].shape != tensors[n].shape],
        ),
        (
            "not of real numbers",
            [
                name
                for name in both
                if own[name].is_floating_point() and not tensors[name].is_floating_point()
            ],
        ),
    ):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            problems.append(f"{title}: {', '.join(names[:5])}{more}")
    if problems:
        raise BenchError(f"{where}: does not fit the network; {'; '.join(problems)}")
    module.load_state_dict(dict(tensors))


def fits(module: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    """Whether the tensors have the names that :func:`load_into` wants for the module."""
    own = module.state_dict()
    return _unwrapped(tensors, own).keys() == own.keys()


def _unwrapped(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    for _ in _WRAPPERS:  # one may be in the other, in any order
        for prefix in _WRAPPERS:
            if tensors.keys() != own.keys() and all(name.startswith(prefix) for name in tensors):
                tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors
