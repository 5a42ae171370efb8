"""The support matrix: which models can be inverted, tried one by one.

``python -m arches.inversion.matrix --out arches/support.csv`` tries every model of timm and
torchvision in every variant, smallest first, and appends a row for each. It can be stopped at any
time and goes on where it was. Each name is tried in a process of its own, which is ended when it
takes too long; the memory of these processes is bounded.
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import importlib
import io
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from arches.backbones import VARIANTS

_COLUMNS = (
    *("name", "family", "kind", "variant", "status", "reason"),
    *("image_size", "parameters", "flops"),
)
_TORCHVISION_KINDS = {
    "vit": "isotropic",
    "swin": "hier-transformer",
    "maxvit": "hybrid conv+attn",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A model to try: name, family, kind, and its parameters in millions for the order."""

    name: str
    family: str
    kind: str
    size: float


def entries(census: Path | None, pattern: str = "*") -> list[Entry]:
    """The models to try, smallest first.

    Args:
        census: table of tab-separated columns ``name``, ``module``, ``kind`` and ``params_m`` of
            timm's models; without it every model of timm is taken and its kind is ``unknown``.
        pattern: which names, such as ``timm/resnet*``.
    """
    found = _from_census(census) if census else _from_timm()
    models = importlib.import_module("torchvision.models")
    for name in models.list_models(module=models):
        family = models.get_model_builder(name).__module__.rpartition(".")[2]
        kind = next(
            (k for start, k in _TORCHVISION_KINDS.items() if name.startswith(start)), "conv"
        )
        weights = models.get_model_weights(name)
        size = max((entry.meta.get("num_params", 0) for entry in weights), default=0) / 1e6
        found.append(Entry(f"torchvision/{name}", family, kind, size))
    chosen = [entry for entry in found if fnmatch.fnmatch(entry.name, pattern)]
    return sorted(chosen, key=lambda entry: (entry.kind == "isotropic", entry.size, entry.name))


def _from_census(path: Path) -> list[Entry]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            Entry(f"timm/{row['name']}", row["module"], row["kind"], float(row["params_m"]))
            for row in csv.DictReader(stream, delimiter="\t")
        ]


def _from_timm() -> list[Entry]:
    timm = importlib.import_module("timm")
    return [
        Entry(f"timm/{name}", _family(timm, name), "unknown", 10.0) for name in timm.list_models()
    ]


def _family(timm: Any, name: str) -> str:
    return str(timm.model_entrypoint(name).__module__.rpartition(".")[2])


def read_done(out: Path) -> set[tuple[str, str]]:
    """Names and variants that the table has already."""
    if not out.exists():
        return set()
    with out.open(encoding="utf-8", newline="") as stream:
        return {(row["name"], row["variant"]) for row in csv.DictReader(stream)}


def append(out: Path, rows: Sequence[Sequence[str]]) -> None:
    """Add rows to the table in one write, and its heading where it is new."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not out.exists() or out.stat().st_size == 0:
        writer.writerow(_COLUMNS)
    writer.writerows(rows)
    with out.open("ab") as stream:
        stream.write(text.getvalue().encode())
        stream.flush()
        os.fsync(stream.fileno())


def _work(connection: Connection, gigabytes: float) -> None:
    """A process that tries what it is sent, until it is sent nothing."""
    import resource
    import warnings

    import torch

    from arches.inversion.attempt import attempt

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    limit = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        while (task := connection.recv()) is not None:
            connection.send([row.cells() for row in attempt(*task)])
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # whoever asked is gone


class _Worker:
    """A process that is started anew when it dies or has to be ended."""

    def __init__(self, seconds: float, gigabytes: float) -> None:
        self._seconds, self._gigabytes = seconds, gigabytes
        self._process: Any = None
        self._connection: Any = None

    def run(self, entry: Entry, variants: list[str]) -> list[list[str]]:
        if self._process is None or not self._process.is_alive():
            self._start()
        reason = f"time: not done in {self._seconds:g} s"
        try:
            self._connection.send((entry.name, entry.family, entry.kind, variants))
            if self._connection.poll(self._seconds):
                rows: list[list[str]] = self._connection.recv()
                return rows
        except (EOFError, BrokenPipeError, ConnectionResetError):
            reason = f"memory: the process ended; it had {self._gigabytes:g} GB"
        self.stop()
        head = [entry.name, entry.family, entry.kind]
        if len(variants) > 1:
            # One variant may be too slow where others are not.
            return [row for variant in variants for row in self.run(entry, [variant])]
        return [[*head, variants[0], "unsupported", reason, "0", "", ""]]

    def _start(self) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self._gigabytes), daemon=True)
        self._process.start()
        theirs.close()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def run(
    out: Path,
    todo: list[tuple[Entry, list[str]]],
    workers: int = 1,
    seconds: float = 120,
    gigabytes: float = 9,
) -> None:
    """Try names and append their rows.

    Args:
        out: the table.
        todo: names with the variants to try.
        workers: processes at a time.
        seconds: for all variants of a name, then for each on its own.
        gigabytes: of address space for each process.
    """
    lock = threading.Lock()
    left = iter(todo)

    def serve() -> None:
        worker = _Worker(seconds, gigabytes)
        while True:
            with lock:
                task = next(left, None)
            if task is None:
                break
            rows = worker.run(*task)
            with lock:
                append(out, rows)
                marks = ", ".join(f"{row[3]} {row[4]}" for row in rows)
                sys.stdout.write(f"{task[0].name}: {marks}\n")
                sys.stdout.flush()
        worker.stop()

    threads = [threading.Thread(target=serve) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(prog="arches.inversion.matrix", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="table to write and to go on from")
    parser.add_argument("--census", type=Path, help="table of timm's models with their kind")
    parser.add_argument("--names", default="*", help="pattern, such as 'timm/resnet*'")
    parser.add_argument("--kinds", nargs="*", help="only models of these kinds")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seconds", type=float, default=120, help="for one name")
    parser.add_argument("--gigabytes", type=float, default=9, help="memory of one process")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args(arguments)
    done = read_done(given.out)
    todo = []
    for entry in entries(given.census, given.names):
        left = [variant for variant in given.variants if (entry.name, variant) not in done]
        if left and (not given.kinds or entry.kind in given.kinds):
            todo.append((entry, left))
    run(given.out, todo, given.workers, given.seconds, given.gigabytes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
