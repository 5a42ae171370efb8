"""Joining a dask cluster: who is there, do they have the same code, which device do they have?"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.plan.cell import Limits
from bench.run.cluster import worker as inside
from bench.run.cluster.engine import ClusterEngine

if TYPE_CHECKING:
    from distributed import Client


# Seconds to wait for the scheduler, and for a first worker.
PATIENCE, FIRST = 10.0, 10.0


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files for `tls://`; what is None comes from dask's own configuration."""

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker of the cluster as it describes itself."""

    address: str
    host: str
    hardware: str
    gpus: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that can be used for a run: its workers have this code."""

    client: Client
    workers: tuple[Worker, ...]
    device: str
    plugins: tuple[str, ...]

    @property
    def size(self) -> tuple[int, str]:
        """The number of workers at the start, and where they are."""
        hosts = len({worker.host for worker in self.workers})
        return len(self.workers), f"on {hosts} host{'s' if hosts > 1 else ''} of a dask cluster"

    @property
    def hardware(self) -> str:
        """One line on the machines that the workers are on, each kind once."""
        return " | ".join(sorted({worker.hardware for worker in self.workers}))

    def engine(self, limits: Limits, own_data: bool) -> ClusterEngine:
        """Its engine; `own_data`: workers look for data sets where their own environment says."""
        gpu = self.device == "cuda"
        return ClusterEngine(self.client, limits, gpu, own_data, self.plugins)


@contextmanager
def joined(
    address: str, certificates: Certificates, plugins: Iterable[str], device: str
) -> Iterator[Cluster]:
    """Connect to a cluster and look at its workers; `plugins` are targets that a plan uses.

    Raises:
        BenchError: it cannot be reached, has no worker, one with other code, or no such device.
    """
    client, targets = connect(address, certificates), tuple(plugins)
    try:
        workers = checked_workers(client, address, targets)
        yield Cluster(client, tuple(workers), chosen_device(device, workers), targets)
    finally:
        client.close(timeout=5)


def connect(address: str, certificates: Certificates | None = None) -> Client:
    """A client of the scheduler at `tcp://HOST:PORT` or `tls://HOST:PORT`.

    Raises:
        BenchError: dask is not installed, the address is none, or nobody answers there.
    """
    if not re.fullmatch(r"(tcp|tls)://[^\s/]+:[0-9]{1,5}", address):
        raise BenchError(f"--scheduler {address}: write tcp://HOST:PORT or tls://HOST:PORT")
    try:
        from distributed import Client
    except ImportError:
        raise BenchError(
            "--scheduler needs dask.distributed: pip install 'topdown-bench[dask]'"
        ) from None
    # It tells of lost connections on standard error; here they have a line of their own.
    for name in ("distributed", "distributed.client"):  # the second has a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        security = _security(address, certificates or Certificates())
        return Client(
            address, timeout=PATIENCE, security=security, set_as_default=False, name="bench"
        )
    except (OSError, ValueError, TypeError) as error:  # TimeoutError is an OSError
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BenchError(
            f"--scheduler {address}: cannot be reached ({first}); is `dask scheduler` running?"
        ) from None


def _security(address: str, files: Certificates) -> Any:
    if not address.startswith("tls"):
        return None
    from distributed.security import Security

    given = {
        "tls_ca_file": files.authority,
        "tls_client_cert": files.certificate,
        "tls_client_key": files.key,
    }
    paths = {name: str(path) for name, path in given.items() if path is not None}
    for path in paths.values():
        if not Path(path).is_file():
            raise BenchError(f"{path}: no such certificate file")
    return Security(require_encryption=True, **paths)


def checked_workers(client: Client, address: str, plugins: Iterable[str]) -> list[Worker]:
    """The workers that are there.

    Raises:
        BenchError: none is there, or one has other code than this process.
    """
    try:
        client.wait_for_workers(1, timeout=FIRST)
    except OSError:
        raise BenchError(
            f"--scheduler {address}: no worker is there; start one with `dask worker {address}`"
        ) from None
    targets = tuple(plugins)
    mine = inside.versions(targets)
    found, wrong = [], []
    # It unpacks tasks, too.
    if different := inside.differences(mine, _of_scheduler(client, targets)):
        wrong.append(f"the scheduler has other code than the driver: {different}")
    answers = client.run(inside.describe, targets, on_error="return")
    for address, told in sorted(answers.items()):
        if isinstance(told, BaseException):
            wrong.append(f"worker {address}: cannot run this version of bench: {told}")
        elif different := inside.differences(mine, told["versions"]):
            wrong.append(f"worker {address} has other code than the driver: {different}")
        else:
            found.append(Worker(address, told["host"], told["hardware"], told["gpus"]))
    if wrong:
        raise BenchError("\n".join(wrong))
    return found


def _of_scheduler(client: Client, targets: tuple[str, ...]) -> dict[str, str]:
    """Its versions; those of plugins count on workers only."""
    mine = inside.versions(targets)
    try:
        found: dict[str, str] = client.run_on_scheduler(inside.versions)
    except Exception as error:
        raise BenchError(f"the scheduler cannot run this version of bench: {error}") from None
    return {**mine, **found}


def chosen_device(wanted: str, workers: Iterable[Worker]) -> str:
    """`auto` and `cuda` are a matter of the workers: those that were started with a resource GPU.

    Raises:
        BenchError: GPUs are asked for, and no worker has one.
    """
    gpus = any(worker.gpus for worker in workers)
    if wanted not in ("auto", "cpu", "cuda"):
        raise BenchError(f"--device {wanted}: on a cluster use auto, cpu or cuda")
    if wanted == "cuda" and not gpus:
        raise BenchError("--device cuda: no worker has a GPU: start them with --resources 'GPU=1'")
    return "cuda" if gpus and wanted != "cpu" else "cpu"
