"""Where `bench run` works: this machine or a cluster, which device, and whether all is there."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.data import catalog
from bench.errors import BenchError
from bench.plan.cell import Cell, Plan
from bench.plan.plugins import plugins_of

if TYPE_CHECKING:
    from bench.run.cluster import Cluster
    from bench.run.place import Place


def check_flags(args: argparse.Namespace) -> None:
    """Flags that do not go together.

    Raises:
        BenchError: one line on them.
    """
    if args.scheduler and args.workers is not None:
        raise BenchError("--workers is for this machine; with --scheduler leave it out")
    if not args.scheduler and (args.tls_ca or args.tls_cert or args.tls_key):
        raise BenchError("--tls-ca, --tls-cert and --tls-key need --scheduler tls://HOST:PORT")
    args.workers = 1 if args.workers is None else args.workers
    if args.workers != "auto" and args.workers < 1:
        raise BenchError(f"--workers {args.workers}: must be 1 or more")


@contextmanager
def joined(args: argparse.Namespace, plan: Plan) -> Iterator[Cluster]:
    """The cluster that --scheduler names, with workers that have this code.

    Raises:
        BenchError: it cannot be reached or used.
    """
    from bench.run import cluster

    certificates = cluster.Certificates(args.tls_ca, args.tls_cert, args.tls_key)
    targets = [entry.target for entry in plugins_of(plan)]
    with cluster.joined(args.scheduler, certificates, targets, args.device) as found:
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
    if kind not in ("cpu", "cuda") or (number and (kind == "cpu" or not number.isdigit())):
        raise BenchError(f"--device {wanted}: use auto, cpu, cuda or cuda:N")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise BenchError(f"--device {wanted}: this machine has {count} CUDA devices")
    return wanted


def place_of(args: argparse.Namespace, plan: Plan, device: str) -> Place:
    """Where the cells will work."""
    from bench.run.place import Place

    root = (args.data or catalog.default_root()).expanduser()
    return Place(root, plan.base, device, args.download)


def check_start(cells: Iterable[Cell], place: Place) -> list[str]:
    """Look at data and networks before anything is trained; return what is worth a note.

    Raises:
        BenchError: all that is missing or cannot be built.
    """
    from bench.run import preflight

    return preflight.check(cells, place)
