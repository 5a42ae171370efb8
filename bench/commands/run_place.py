"""Where `bench run` works: this machine or a cluster, which device, and whether all is there."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.data import catalog
from bench.errors import BenchError
from bench.plan.cell import Cell, Plan
from bench.plan.plugins import plugins_of

if TYPE_CHECKING:
    from bench.run.cluster.join import Cluster
    from bench.run.place import Place

_NUMBER = re.compile("0|[1-9][0-9]*")  # of a device, as PyTorch reads it


def check_flags(args: argparse.Namespace) -> None:
    """Flags that do not go together.

    Raises:
        BenchError: one line on them.
    """
    if args.scheduler and args.workers is not None:
        raise BenchError("--workers is for this machine; with --scheduler leave it out")
    if not args.scheduler and (args.tls_ca or args.tls_cert or args.tls_key):
        raise BenchError("--tls-ca, --tls-cert and --tls-key need --scheduler tls://HOST:PORT")
    if args.workers not in (None, "auto") and args.workers < 1:
        raise BenchError(f"--workers {args.workers}: must be 1 or more")


@contextmanager
def joined(args: argparse.Namespace, plan: Plan) -> Iterator[Cluster]:
    """The cluster that --scheduler names, with workers that have this code.

    Raises:
        BenchError: it cannot be reached or used.
    """
    from bench.run.cluster import join

    certificates = join.Certificates(args.tls_ca, args.tls_cert, args.tls_key)
    targets = [entry.target for entry in plugins_of(plan)]
    with join.joined(args.scheduler, certificates, targets, args.device) as found:
        yield found


def resolve_device(wanted: str) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:N` as a device that is there.

    Raises:
        BenchError: no such device here.
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = wanted.partition(":")
    if kind not in ("cpu", "cuda") or (number and (kind == "cpu" or not _NUMBER.fullmatch(number))):
        raise BenchError(f"--device {wanted}: use auto, cpu, cuda or cuda:N")
    if kind == "cuda" and int(number or 0) >= (count := _cuda_devices()):
        raise BenchError(f"--device {wanted}: this machine has {count} CUDA devices")
    return wanted


def resolve_devices(wanted: str) -> str:
    """As `resolve_device`, and several GPUs, `cuda:0,2` or `cuda:all`: their numbers in a list.

    Raises:
        BenchError: one is not there, or they are of different kinds, so that timings and settings
            of cells would be those of whichever came first.
    """
    import torch

    kind, _, numbers = wanted.partition(":")
    if kind != "cuda" or (numbers != "all" and "," not in numbers):
        return resolve_device(wanted)
    several = numbers.split(",") if numbers != "all" else list(map(str, range(_cuda_devices())))
    if len(set(several)) < len(several) or not all(map(_NUMBER.fullmatch, several)):
        raise BenchError(f"--device {wanted}: use auto, cpu, cuda, cuda:N, cuda:N,N or cuda:all")
    if len(several) < 2:
        return resolve_device(":".join(("cuda", *several)))
    found = {torch.cuda.get_device_name(int(resolve_device(f"cuda:{n}")[5:])) for n in several}
    if len(found) > 1:
        raise BenchError(
            f"--device {wanted}: these are different GPUs ({', '.join(sorted(found))}), whose "
            "timings do not compare; choose GPUs that are alike"
        )
    return f"cuda:{','.join(several)}"


def _cuda_devices() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def place_of(args: argparse.Namespace, plan: Plan, device: str) -> Place:
    """Where the cells will work."""
    from bench.run.devices import gpus
    from bench.run.place import Place

    root = (args.data or catalog.default_root()).expanduser()
    first, several = gpus.split(device)
    return Place(root, plan.base, first, args.download, gpus=several)


def check_start(cells: Iterable[Cell], place: Place) -> list[str]:
    """Look at data and networks before anything is trained; return what is worth a note.

    Raises:
        BenchError: all that is missing or cannot be built.
    """
    from bench.run import preflight

    return preflight.check(cells, place)
