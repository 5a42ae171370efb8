"""A CUDA device that is not there: tensors say that they lie on it, and the CPU computes them.

It shows on a machine without a GPU what would go wrong on one for other reasons than arithmetic:
a tensor left on the CPU that meets one of the device, `numpy()` of a tensor of the device, a branch
for CUDA that asks for what does not exist. Memory, speed, streams and captured graphs are not
pretended: a capture fails, as captures may.

A tensor of the device is a subclass around a CPU tensor. To C++ it is a CPU tensor, so that
autograd needs no driver; Python sees `device`. What C++ decides by device, such as autocast, is
patched.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

CUDA = torch.device("cuda", 0)
CPU = torch.device("cpu")
UUID = "GPU-pretended-"
# Operations that PyTorch allows between devices: what is indexed, its indices, what is put there.
_INDEXED = ("aten::index.Tensor", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
# Those that take not even a number of the CPU beside tensors of the device.
_STRICT = ("aten::cat", "aten::stack", "aten::gather", "aten::index_select")
_plain_to, _move = torch.Tensor.to, torch.nn.Module.to
_backwards: set[int] = set()  # backward passes with tensors of the device
_leaving = False  # a tensor is on its way to the CPU, because Python asked for it
_lost = False  # see `lose`


class OnGpu(torch.Tensor):
    """A tensor of the pretended device around `inner`, of the CPU."""

    __module__ = "torch"  # foolbox's eagerpy goes by the name
    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnGpu:
        made: OnGpu = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=CPU,
        )
        made.inner = inner
        return made

    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]
    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def __repr__(self) -> str:
        return f"OnGpu({self.inner!r})"

    def __format__(self, format_spec: str) -> str:
        return format(self.cpu(), format_spec)

    def cpu(self) -> torch.Tensor:
        return self.to(CPU)

    def cuda(self, *_: Any, **__: Any) -> OnGpu:
        return self

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy

    def to(self, *args: Any, copy: bool = False, **kwargs: Any) -> Any:
        global _leaving
        if args and isinstance(args[0], torch.Tensor):
            args = (args[0].device, args[0].dtype, *args[1:])
        device, dtype, _, layout = torch._C._nn._parse_to(*args, **kwargs)
        device, dtype = device or CUDA, dtype or self.dtype
        if device.type == "cuda" and dtype == self.dtype and layout is None and not copy:
            return self
        _leaving = device.type != "cuda"
        try:
            return torch.ops.aten._to_copy(self, dtype=dtype, device=device, memory_format=layout)
        finally:
            _leaving = False


class _Everywhere(TorchDispatchMode):
    """Sees operations without tensors of the device, too: `torch.zeros(3, device="cuda")`."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # which would load PyTorch's compiler into each process, to keep it off

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do an operation on the CPU; what comes out is the device's if what goes in is."""
    name, leaves = func.name(), [*_leaves(args), *_leaves(kwargs)]
    if _lost and any(isinstance(leaf, OnGpu) for leaf in leaves):
        _fail()
    if name == "aten::copy_":  # between devices, into the first
        _bare(args[0]).copy_(_bare(args[1]))
        return args[0]
    given = [leaf for leaf in leaves if isinstance(leaf, OnGpu)]
    others = [x for x in leaves if isinstance(x, torch.Tensor) and not isinstance(x, OnGpu)]
    if name in _INDEXED:
        _check_index(name, args)
    elif given and any(other.dim() or name in _STRICT for other in others):
        raise RuntimeError(f"Expected all tensors to be on the same device: {name}")
    named = any(isinstance(leaf, torch.device) and leaf.type == "cuda" for leaf in leaves)
    # Autograd, in C++, makes its tensors where it believes that the others are.
    backward = torch._C._current_graph_task_id()
    if given and backward != -1:
        _backwards.add(backward)
    by_autograd = backward in _backwards
    if "pin_memory" in kwargs:  # needs a driver
        kwargs = kwargs | {"pin_memory": False}
    found = func(*_mapped(_bare, args), **_mapped(_bare, kwargs))
    if _leaving or not (given or named or by_autograd):
        return found
    same = {id(one.inner): one for one in given}  # in-place operations return what they got
    return _mapped(lambda leaf: _dressed(leaf, same), found)


def _check_index(name: str, args: Any) -> None:
    """Indices may be of the CPU, or of where the indexed tensor is; values must be there, but for
    single numbers."""
    there, indices = isinstance(args[0], OnGpu), args[1]
    if not there and any(isinstance(index, OnGpu) for index in indices):
        raise RuntimeError("indices should be either on cpu or on the same device as the tensor")
    if "put" in name and isinstance(args[2], OnGpu) is not there and args[2].dim():
        raise RuntimeError(f"Expected all tensors to be on the same device: {name}")


def lose() -> None:
    """From now on, whatever this process asks of the device fails, as after an assertion in one of
    its kernels."""
    global _lost
    _lost = True


def _fail(_: Any = None) -> None:
    if _lost:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered\nCompile with DSA")


def _leaves(tree: Any) -> Iterator[Any]:
    """What is in tuples, lists and dictionaries, as PyTorch's `tree_leaves` has it, which takes
    longer than most operations."""
    if isinstance(tree, tuple | list | dict):
        for one in tree.values() if isinstance(tree, dict) else tree:
            yield from _leaves(one)
    else:
        yield tree


def _mapped(does: Callable[[Any], Any], tree: Any) -> Any:
    """As PyTorch's `tree_map`."""
    kind = type(tree)
    if kind is tuple or kind is list:
        return kind([_mapped(does, one) for one in tree])
    if kind is dict:
        return {key: _mapped(does, one) for key, one in tree.items()}
    return tree_map(does, tree) if isinstance(tree, tuple | list | dict) else does(tree)


def _bare(leaf: Any) -> Any:
    if isinstance(leaf, OnGpu):
        return leaf.inner
    return CPU if isinstance(leaf, torch.device) and leaf.type == "cuda" else leaf


def _dressed(leaf: Any, same: dict[int, OnGpu]) -> Any:
    if not isinstance(leaf, torch.Tensor) or leaf.is_meta:
        return leaf
    return same[id(leaf)] if id(leaf) in same else OnGpu(leaf)


class _Event:
    def __init__(self, *_: Any, **__: Any) -> None:
        self.at = 0.0

    def record(self, *_: Any) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, later: _Event) -> float:
        return (later.at - self.at) * 1e3


class _Stream:
    def __init__(self, *_: Any) -> None:
        pass

    def wait_stream(self, _: _Stream) -> None:
        pass


class _Autocast(torch.autocast):
    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


@contextlib.contextmanager
def _current(_: Any) -> Iterator[None]:
    """`torch.cuda.device`, which asks CUDA which one is current, and may be told of an error."""
    _fail()
    try:
        yield
    finally:
        _fail()


@contextlib.contextmanager
def _no_capture(*_: Any, **__: Any) -> Iterator[None]:
    raise RuntimeError("a pretended device captures nothing")
    yield


def _lifted(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """`torch.tensor` and the like, which reach the device past every mode."""

    def lifted(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        found = data if isinstance(data, OnGpu) else make(data, *args, **kwargs)
        wanted = torch.device(device or CPU)
        return found.to(wanted) if wanted.type == "cuda" else found

    return lifted


def _to(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """`tensor.to(other)`: where the other says that it is."""
    if args and isinstance(args[0], OnGpu):
        args = (CUDA, args[0].dtype, *args[1:])
    return _plain_to(self, *args, **kwargs)


def _moved(module: torch.nn.Module, *args: Any, **kwargs: Any) -> torch.nn.Module:
    """`module.to(device)`: parameters that are there already stay the ones that they are."""
    device, dtype, _, layout = torch._C._nn._parse_to(*args, **kwargs)
    tensors = [*module.parameters(), *module.buffers()]
    there = device == CUDA or device == torch.device("cuda")
    if there and dtype is None and layout is None and all(x.is_cuda for x in tensors):
        return module
    return _move(module, *args, **kwargs)


def _gpus() -> list[tuple[str, str]]:
    """Name and UUID of each GPU that this process sees; the machine has those that `PRETENDED_GPUS`
    names, or one."""
    there = os.environ.get("PRETENDED_GPUS", "a pretended GPU").split(",")
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.removeprefix(UUID) for name in seen.split(",")] if seen else range(len(there))
    return [(there[int(name)], f"pretended-{name}") for name in names]


def install() -> None:
    """Give this process pretended CUDA devices, for good; tensors are on the first."""
    torch._C._ensureCUDADeviceGuardSet()  # without a driver: one that guards nothing
    gigabytes = 2**30
    gpus = [
        SimpleNamespace(
            name=name,
            uuid=uuid,
            total_memory=16 * gigabytes,
            multi_processor_count=1,
            major=9,
            minor=0,
        )
        for name, uuid in _gpus()
    ]
    facts = gpus[0]

    def facts_of(device: Any = None) -> SimpleNamespace:
        return gpus[
            device if isinstance(device, int) else torch.device(device or "cuda").index or 0
        ]

    stream = _Stream()
    told: dict[str, Callable[..., Any]] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: len(gpus),
        "current_device": lambda: 0,
        "device": _current,
        "get_device_properties": facts_of,
        "get_device_capability": lambda _=None: (facts.major, facts.minor),
        "get_device_name": lambda device=None: facts_of(device).name,
        "mem_get_info": lambda _=None: (
            int(os.environ.get("PRETENDED_FREE", 8 * gigabytes)),
            facts.total_memory,
        ),
        "memory_allocated": lambda _=None: 0,
        "memory_reserved": lambda _=None: 0,
        "max_memory_allocated": lambda _=None: 0,
        "max_memory_reserved": lambda _=None: facts.total_memory,
        "reset_peak_memory_stats": lambda _=None: None,
        "empty_cache": lambda: None,
        "synchronize": _fail,
        "get_rng_state": lambda _=None: torch.get_rng_state(),
        "set_rng_state": lambda state, _=None: torch.set_rng_state(state),
        "manual_seed": lambda _: None,
        "manual_seed_all": lambda _: None,
        "Event": _Event,
        "Stream": _Stream,
        "current_stream": lambda _=None: stream,
        "stream": lambda _: contextlib.nullcontext(),
        "set_stream": lambda _: None,
        "get_sync_debug_mode": lambda: 0,
        "set_sync_debug_mode": lambda _: None,
        "CUDAGraph": object,
        "graph": _no_capture,
        "graph_pool_handle": object,
    }
    for name, does in told.items():
        setattr(torch.cuda, name, does)
    for name in ("manual_seed", "manual_seed_all", "get_rng_state", "set_rng_state"):
        setattr(torch.cuda.random, name, told[name])
    torch.autocast = torch.amp.autocast = _Autocast  # type: ignore[misc]
    torch.tensor, torch.as_tensor = _lifted(torch.tensor), _lifted(torch.as_tensor)
    torch.Tensor.to, torch.nn.Module.to = _to, _moved  # type: ignore[method-assign]
    # Else `network.to(device)` keeps its parameters and gives them other data, which they refuse.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    _Everywhere().__enter__()
    if facts.uuid.removeprefix("pretended-") in os.environ.get("PRETENDED_DEAD", "").split(","):
        lose()
    # A service that gives nobody a GPU.
    if "PRETENDED_DEAD_SERVICE" in os.environ and "CUDA_MPS_PIPE_DIRECTORY" in os.environ:
        lose()
