"""What the machine can tell while something is timed: energy, clocks, other programs' load.

A sensor that is not there, or may not be read, gives no figure; nothing is estimated. GPUs are
asked through NVML (package nvidia-ml-py, extra `gpu`), processors through Linux: RAPL in
/sys/class/powercap, which many systems let only root read, and /proc.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

POWERCAP = Path("/sys/class/powercap")
PROC = Path("/proc")
CPU = Path("/sys/devices/system/cpu/cpu0/cpufreq")
# Energy counters move in steps of up to 0.1 s, those of processor time in steps of 0.01 s; of a
# shorter time they say little.
_ENERGY_SECONDS = 0.5
_LOAD_SECONDS = 0.2

Joules = Callable[[], float]


class Rapl:
    """Energy of all processor packages since it was made, in joules, from RAPL's counters."""

    def __init__(self, root: Path = POWERCAP) -> None:
        """Raises OSError or ValueError where there is no counter that may be read."""
        packages = sorted(p for p in root.glob("intel-rapl:*") if p.name.count(":") == 1)
        self._counters = [p for p in packages if _text(p / "name").startswith("package")]
        if not self._counters:
            raise OSError("no package counters")
        self._last = [_number(p / "energy_uj") for p in self._counters]
        self._range = [_number(p / "max_energy_range_uj") for p in self._counters]
        self._total = 0

    def __call__(self) -> float:
        for place, package in enumerate(self._counters):
            now = _number(package / "energy_uj")
            step = now - self._last[place]
            # Counters start again at zero.
            self._total += step if step >= 0 else step + self._range[place]
            self._last[place] = now
        return self._total / 1e6


def energy_counter(device: torch.device, root: Path = POWERCAP) -> Joules | None:
    """A counter of the device's joules (all processor packages, or one GPU), or None."""
    if device.type == "cuda":
        return _gpu_joules(device)
    try:
        return Rapl(root)
    except (OSError, ValueError):
        return None


class Conditions:
    """What else happened while something was timed; `figures` once it is over."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}
        self.joules: float | None = None


@contextmanager
def watching(device: torch.device, proc: Path = PROC, powercap: Path = POWERCAP) -> Iterator[Any]:
    """Watch the machine while the block runs.

    `figures` are then `other_load` (percent of the machine's processor time that was neither idle
    nor spent by this process and its children), `clock` (MHz, at the end), and on a GPU
    `other_gpu_processes` and `power_state` (0 is full power). `joules` is the energy, or None where
    there is no counter. No load is told of less than 0.2 s, no energy of less than 0.5 s.
    """
    found = Conditions()
    counter = energy_counter(device, powercap)
    start, wall, before = counter() if counter else 0.0, time.perf_counter(), _times(proc)
    yield found
    took = time.perf_counter() - wall
    if counter and took >= _ENERGY_SECONDS:
        found.joules = counter() - start
    load = _other_load(before, _times(proc)) if took >= _LOAD_SECONDS else None
    clock = _gpu_clock(device) if device.type == "cuda" else _clock(proc)
    for name, value in (("other_load", load), ("clock", clock)):
        if value is not None:
            found.figures[name] = value
    if device.type == "cuda":
        found.figures |= _gpu_state(device)


def power_state(device: str) -> str:
    """A few words on what sets the clock: the processor's governor, the GPU's power limit."""
    said = []
    governor = _text(CPU / "scaling_governor")
    if governor:
        said.append(f"processor governor {governor}")
    if device.startswith("cuda"):
        import torch

        limit = _nvml(torch.device(device.partition(",")[0]), "nvmlDeviceGetEnforcedPowerLimit")
        if limit is not None:
            said.append(f"GPU power limit {limit / 1000:.0f} W")
    return ", ".join(said)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _number(path: Path) -> int:
    return int(path.read_text(encoding="utf-8"))


def _times(proc: Path) -> tuple[float, float, float] | None:
    """Seconds of all processors so far: all, idle, and this process with its children."""
    words = _text(proc / "stat").partition("\n")[0].split()
    try:
        ticks = [int(word) / os.sysconf("SC_CLK_TCK") for word in words[1:9]]
    except (ValueError, OSError, AttributeError):
        return None
    if words[:1] != ["cpu"] or len(ticks) < 5:
        return None
    own = os.times()
    mine = own.user + own.system + own.children_user + own.children_system
    return sum(ticks), ticks[3] + ticks[4], mine


def _other_load(
    before: tuple[float, float, float] | None, after: tuple[float, float, float] | None
) -> float | None:
    if before is None or after is None or after[0] <= before[0]:
        return None
    whole, idle, mine = (b - a for a, b in zip(before, after, strict=True))
    # Ticks are of 10 ms, so the difference may fall a little below nothing.
    return min(100.0, max(0.0, 100 * (whole - idle - mine) / whole))


def _clock(proc: Path) -> float | None:
    """Mean clock of the processors in MHz."""
    lines = _text(proc / "cpuinfo").splitlines()
    found = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    if found:
        return sum(found) / len(found)
    hertz = _text(CPU / "scaling_cur_freq")
    return float(hertz) / 1000 if hertz.isdigit() else None


def _nvml(device: torch.device, question: str, *more: Any) -> Any:
    """What NVML answers about a GPU, or None where it is not installed or does not know."""
    import torch

    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(device).uuid
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        return getattr(pynvml, question)(handle, *more)
    except (pynvml.NVMLError, AttributeError):
        return None


def _gpu_joules(device: torch.device) -> Joules | None:
    question = "nvmlDeviceGetTotalEnergyConsumption"  # millijoules since the driver was loaded
    if _nvml(device, question) is None:
        return None
    return lambda: float(_nvml(device, question)) / 1e3


_SM = 1  # NVML_CLOCK_SM


def _gpu_clock(device: torch.device) -> float | None:
    clock = _nvml(device, "nvmlDeviceGetClockInfo", _SM)
    return None if clock is None else float(clock)


def _gpu_state(device: torch.device) -> dict[str, float]:
    found = {}
    users = _nvml(device, "nvmlDeviceGetComputeRunningProcesses")
    if users is not None:
        # One of them is this process; in a container its number is another.
        found["other_gpu_processes"] = float(max(0, len(users) - 1))
    state = _nvml(device, "nvmlDeviceGetPerformanceState")
    if state is not None:
        found["power_state"] = float(state)
    return found
