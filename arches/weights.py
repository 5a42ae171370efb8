"""Weights in and out: the exchange format of the authors' Keras checkpoints, and safetensors.

The exchange format is a flat mapping of ``<layer>/<kernel|bias|gamma|beta|moving_mean|
moving_variance>`` to arrays. Convolution kernels are H x W x in x out, dense kernels in x out, and
the BN of a layer with a name of its own is ``<layer>.bn``. Layer names are those of the plan.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from arches.network import Network

Array = npt.NDArray[Any]

_NORM_PARTS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def exchange_tensors(model: Network) -> dict[str, Tensor]:
    """The model's own tensors under their exchange names, in order of depth.

    The tensors are views of the weights, laid out as the format wants them: writing into one
    changes the model.
    """
    tensors: dict[str, Tensor] = {}
    for _, unit in model.units():
        for attribute, layer in unit.leaves():
            for part, tensor in _parts(getattr(unit, attribute)):
                tensors[f"{layer}/{part}"] = tensor.detach()
    return tensors


def _parts(leaf: nn.Module | None) -> list[tuple[str, Tensor]]:
    """Names and views of the tensors of a convolution, a dense layer or a BN."""
    if isinstance(leaf, nn.BatchNorm2d):
        return [(part, getattr(leaf, attribute)) for part, attribute in _NORM_PARTS.items()]
    if isinstance(leaf, nn.Conv2d) and leaf.bias is not None:
        return [("kernel", leaf.weight.permute(2, 3, 1, 0)), ("bias", leaf.bias)]
    if isinstance(leaf, nn.Linear):
        return [("kernel", leaf.weight.T), ("bias", leaf.bias)]
    raise TypeError(f"no exchange format for {type(leaf).__name__}")


def load_keras_weights(model: Network, arrays: Mapping[str, Array]) -> None:
    """Load weights of the authors' networks into a model, exactly and completely.

    Args:
        model: built for the same backbone, variant, channels and classes.
        arrays: all arrays of the network by exchange name. Values are converted to the precision
            of the model.

    Raises:
        ValueError: when arrays are missing, superfluous, of another shape or not real numbers. The
            message names every one of them, and the model is left as it was.
    """
    tensors = exchange_tensors(model)
    problems = [f"missing: {name}" for name in tensors if name not in arrays]
    problems += [f"superfluous: {name}" for name in arrays if name not in tensors]
    found: dict[str, Array] = {}
    for name in tensors.keys() & arrays.keys():
        values = np.asarray(arrays[name])
        if values.dtype.kind not in "fiu":
            problems.append(f"type of {name}: {values.dtype}, not real numbers")
        else:  # in the byte order of this machine, which torch needs
            found[name] = values.astype(values.dtype.newbyteorder("="))
        if values.shape != tuple(tensors[name].shape):
            wanted = tuple(tensors[name].shape)
            problems.append(f"shape of {name}: {values.shape}, the model has {wanted}")
    if problems:
        raise ValueError(f"{len(problems)} wrong weights: " + "; ".join(sorted(problems)))
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(torch.as_tensor(found[name]))


def keras_weights(model: Network) -> dict[str, Array]:
    """The inverse of :func:`load_keras_weights`: copies of all weights by exchange name."""
    return {
        name: np.array(tensor.cpu().numpy(), copy=True, order="C")
        for name, tensor in exchange_tensors(model).items()
    }


def own_memory(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, but copies of those that share memory with one before them.

    A module with two names, or two modules with the same weights, are twice in a state, which
    safetensors refuses; loaded into their one place twice, they give the same network.
    """
    seen: set[int] = set()
    own = {}
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        own[name] = tensor.clone() if memory in seen and tensor.numel() else tensor
        seen.add(memory)
    return own


def save_weights(
    model: nn.Module, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write all weights and moving statistics of a model to a safetensors file.

    The file appears complete or not at all: it is written beside its place and then moved there.

    Args:
        model: any module.
        path: of the file.
        metadata: texts to keep in the file's header.
    """
    target = Path(path)
    state = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    tensors = own_memory(state)
    scratch = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        save_file(tensors, scratch, metadata=dict(metadata or {}))
        with open(scratch, "rb") as written:
            os.fsync(written.fileno())
        os.replace(scratch, target)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Load what :func:`save_weights` wrote.

    Args:
        model: of the same shape as the one that was saved.
        path: of the file.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is no safetensors file or belongs to another model; the message names
            every missing, superfluous and misshapen entry, and the model is left as it was.
    """
    try:
        given = load_file(os.fspath(path))
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)} is not a safetensors file: {error}") from error
    own = model.state_dict()
    problems = [f"missing: {name}" for name in own if name not in given]
    problems += [f"superfluous: {name}" for name in given if name not in own]
    problems += [
        f"shape of {name}: {tuple(given[name].shape)}, the model has {tuple(value.shape)}"
        for name, value in own.items()
        if name in given and given[name].shape != value.shape
    ]
    if problems:
        raise ValueError(f"{os.fspath(path)}: {len(problems)} wrong weights: {'; '.join(problems)}")
    model.load_state_dict(given)
