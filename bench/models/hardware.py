"""What a device computes by itself rather than by emulation."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

# Instructions that multiply bfloat16 numbers: without them bfloat16 is slower than float32.
_CPU_FLAGS = ("avx512_bf16", "amx_bf16")


def computes_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively.

    CUDA: compute capability 8.0 (Ampere) or newer. CPU: AVX512-BF16 or AMX (Intel since Cooper
    Lake, AMD since Zen 4). Nothing is timed, so the answer is the same each time.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and any(flag in cpu_flags() for flag in _CPU_FLAGS)


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Instruction sets of the CPU in the kernel's names; none where Linux does not tell them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    flags = next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
    return frozenset(flags.split())
