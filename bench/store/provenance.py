"""The circumstances of a run: versions, hardware, command, commit."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.measures.cost.sensors import power_state

PACKAGES = ("topdown-bench", "torch", "torchvision", "numpy", "safetensors", "pydantic")
# Named where they are installed: networks and attacks may come from them.
OPTIONAL = ("timm", "foolbox", "torchattacks", "pyautoattack")


def collect(suite: str, device: str, **more: Any) -> dict[str, Any]:
    """Collect the provenance of one invocation."""
    return {
        "suite": suite,
        "command": command_line(),
        "python": platform.python_version(),
        "versions": dict.fromkeys(PACKAGES, "not installed") | versions(PACKAGES + OPTIONAL),
        "git_commit": git_commit(),
        "hardware": hardware(device),
        "power": power_state(device),
        "system": f"{platform.system()} {platform.release()}",
        **more,
    }


def command_line() -> str:
    """The command as a person would type it."""
    first = Path(sys.argv[0]).name
    start = "python -m bench" if first == "__main__.py" else first
    return f"{start} {shlex.join(sys.argv[1:])}"


def hardware(device: str) -> str:
    """One line on the machine: processor, cores, memory, and the GPU if it is used."""
    parts = [f"{_processor()}, {os.cpu_count()} cores", f"{_memory_gib():.0f} GiB"]
    if device.startswith("cuda"):
        import torch

        first, *others = device.split(",")  # `cuda:0,2`: alike
        properties = torch.cuda.get_device_properties(torch.device(first).index or 0)
        count = f"{1 + len(others)} x " if others else ""
        parts.insert(0, f"{count}{properties.name} ({properties.total_memory / 2**30:.0f} GiB)")
    return "; ".join(parts)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gib() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):
        return float("nan")


def versions(names: Iterable[str]) -> dict[str, str]:
    """The versions of those of these distributions that are installed."""
    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def git_commit() -> str:
    """The commit of the code, with `+changes` if the work tree differs; `unknown` outside git."""
    here = Path(__file__).resolve().parent
    try:

        def git(*words: str) -> str:
            return subprocess.run(  # noqa: S603
                # `status` would take the index's lock, and leave it where the run is killed.
                ["git", "--no-optional-locks", "-C", str(here), *words],  # noqa: S607
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            ).stdout.strip()

        git("ls-files", "--error-unmatch", Path(__file__).name)  # else it is somebody else's
        commit = git("rev-parse", "--short=12", "HEAD")
        return commit + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
