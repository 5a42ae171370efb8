"""Code of others runs in this process, and much that it may set there would change what is done
after it: numbers of other networks, or where files are looked for. So that is put back."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any, TextIO


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Put back what the code inside may have set for the whole process: the current folder, where
    is printed to, filters of warnings, what numpy does about overflows, and of PyTorch (see
    `_Torch`) its default type and device, whether gradients are recorded, threads, and switches of
    its numerics.

    PyTorch is not imported for that: where the code inside imports it first, it gets the values
    that a fresh process has.
    """
    folder, filters = _folder(), warnings.filters[:]
    streams = sys.stdout, sys.stderr
    torch_before = _Torch() if "torch" in sys.modules else None
    numpy_before = _numpy_errors()
    try:
        yield
    finally:
        if folder and folder != _folder():
            with contextlib.suppress(OSError):  # it was deleted: whoever needs it will say so
                os.chdir(folder)
        sys.stdout, sys.stderr = _open(*streams)
        if warnings.filters != filters:
            warnings.filters[:] = filters  # type: ignore[index]
            with warnings.catch_warnings():  # has Python forget what followed from the others
                pass
        if torch_before is not None:
            torch_before.put_back()
        elif "torch" in sys.modules:
            _as_imported()
        if numpy_before is not None:
            import numpy as np

            np.seterr(**numpy_before)


def _open(out: TextIO, errors: TextIO) -> tuple[TextIO, TextIO]:
    """The streams, in place of a closed one another to where the other leads: what is told must
    not end the run."""
    return _unless_closed(out, errors), _unless_closed(errors, out)


def _unless_closed(stream: TextIO, other: TextIO) -> TextIO:
    if not stream.closed:
        return stream
    try:
        to: int | str = os.dup(other.fileno())  # its own, for this one may be closed too
    except (OSError, ValueError):
        to = os.devnull
    return open(to, "w", encoding="utf-8", errors="replace", buffering=1)


def _folder() -> str:
    """The current one; empty where it was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _numpy_errors() -> dict[str, Any] | None:
    if "numpy" not in sys.modules:
        return None
    import numpy as np

    return dict(np.geterr())


class _Torch:
    """PyTorch's settings of the process, as far as results depend on them."""

    def __init__(self) -> None:
        import torch

        self._dtype = torch.get_default_dtype()
        self._device = torch.empty(0).device
        self._recording = torch.is_grad_enabled()
        self._threads = torch.get_num_threads()
        self._repeatable = torch.get_deterministic_debug_mode()
        self._precision = _matmul_precision()
        self._checked = torch.is_anomaly_enabled()
        self._search = torch.backends.cudnn.benchmark
        self._cudnn = torch.backends.cudnn.deterministic

    def put_back(self) -> None:
        """Set what is not as it was."""
        import torch

        if torch.get_default_dtype() != self._dtype:
            torch.set_default_dtype(self._dtype)
        if torch.empty(0).device != self._device:
            # None, not the CPU by name: that would look at every call, and be slower.
            torch.set_default_device(None if self._device.type == "cpu" else self._device)
        torch.set_grad_enabled(self._recording)
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        if torch.get_deterministic_debug_mode() != self._repeatable:
            torch.set_deterministic_debug_mode(self._repeatable)
        if self._precision and _matmul_precision() != self._precision:
            torch.set_float32_matmul_precision(self._precision)
        if torch.is_anomaly_enabled() != self._checked:
            torch.autograd.set_detect_anomaly(self._checked)
        torch.backends.cudnn.benchmark = self._search
        torch.backends.cudnn.deterministic = self._cudnn


def _matmul_precision() -> str:
    """Empty where PyTorch's newer switches were used, of which the older one does not tell."""
    import torch

    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return ""


def _as_imported() -> None:
    """What changes results, as PyTorch has it when it was just imported."""
    import torch

    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)
    torch.set_deterministic_debug_mode("default")
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = False
