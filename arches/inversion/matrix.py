"""The support matrix: which models can be inverted, tried one by one.

``python -m arches.inversion.matrix --out arches/support.csv`` tries every model of timm and
torchvision in every variant, smallest first, and appends a row for each. It can be stopped at any
time and goes on where it was; when it comes to its end, the table is sorted. Names are tried in
processes beside this one, which are ended when they take too long; their memory is bounded.

``--retry time memory`` tries rows again whose reason starts with one of these words, ``--retry ''``
all that are not ``ok``; a new row counts instead of the old one, which stays until then.
``--summary`` counts what the table has, and tries nothing.
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import importlib
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from arches.backbones import VARIANTS, names
from arches.support import (
    NATIVE,
    NOT_MEASURED,
    OK,
    UNSUPPORTED,
    Row,
    Share,
    append,
    mend,
    read,
    summary,
    tidy,
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
    """The models to try: the paper's and those of the libraries, smallest first.

    Args:
        census: table of tab-separated columns ``name``, ``module``, ``kind`` and ``params_m`` of
            timm's models; without it every model of timm is taken, of the kind ``unknown``.
        pattern: which names, such as ``timm/resnet*``.
    """
    found = [Entry(name, "paper", "conv", 0.0) for name in names()]
    found += _from_census(census) if census else _from_timm()
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
            connection.send([tuple(row) for row in attempt(*task)])
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # whoever asked is gone


# A process is replaced after so many names, for libraries keep some memory of each.
_RENEWED = 25


class _Worker:
    """A process that is started anew when it dies or has to be ended."""

    def __init__(self, seconds: float, gigabytes: float) -> None:
        self._seconds, self._gigabytes = seconds, gigabytes
        self._process: Any = None
        self._connection: Any = None
        self._names = 0

    def run(self, entry: Entry, variants: list[str]) -> list[Row]:
        self._names += 1
        if self._names % _RENEWED == 0:
            self.stop()
        fresh = self._process is None or not self._process.is_alive()
        if fresh:
            self._start()
        reason = f"time: not done in {self._seconds:g} s"
        try:
            self._connection.send((entry.name, entry.family, entry.kind, variants))
            if self._connection.poll(self._seconds):
                rows = [Row(*cells) for cells in self._connection.recv()]
                if fresh or all(row.status != NOT_MEASURED for row in rows):
                    return rows
                # Memory that others have left behind is no reason.
                self.stop()
                return self.run(entry, variants)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            reason = f"memory: the process ended; it had {self._gigabytes:g} GB"
        self.stop()
        if len(variants) > 1:
            # One variant may be too slow where others are not.
            return [row for variant in variants for row in self.run(entry, [variant])]
        return [Row(entry.name, entry.family, entry.kind, variants[0], NOT_MEASURED, reason)]

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
                marks = ", ".join(f"{row.variant} {row.status}" for row in rows)
                sys.stdout.write(f"{task[0].name}: {marks}\n")
                sys.stdout.flush()
        worker.stop()

    threads = [threading.Thread(target=serve) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def left_to_do(
    found: Iterable[Entry], done: Iterable[Row], variants: Sequence[str], retry: Sequence[str] = ()
) -> list[tuple[Entry, list[str]]]:
    """Names with those of the variants that no row is there for, or only one to try again.

    Args:
        found: models, in the order in which they are to be tried.
        done: rows that are there.
        variants: that are wanted.
        retry: a row whose reason starts with one of these words is tried again; ``no cost`` stands
            for rows without numbers, and an empty word for all that lack anything.
    """
    words = tuple(retry)
    lacks = {(r.name, r.variant): r.reason or ("no cost" if r.flops is None else "") for r in done}
    kept = {key for key, reason in lacks.items() if not (reason and reason.startswith(words))}
    todo = [(entry, [v for v in variants if (entry.name, v) not in kept]) for entry in found]
    return [(entry, left) for entry, left in todo if left]


def as_text(rows: Sequence[Row], found: Iterable[Entry]) -> str:
    """Counts of rows as Markdown: what runs, of all models there are, and why the rest does not.

    A cell such as ``54 + 114 (86.2 %)`` has the models that are ``ok``, those of ``native size
    only``, and the share of both in the models of that library and kind.
    """
    variants = list(VARIANTS)
    lines = [
        f"| library | kind | models | {' | '.join(variants)} | not measured |",
        "|---|---|--:|" + "--:|" * (len(variants) + 1),
    ]
    shares = summary(rows, ((entry.name, entry.kind) for entry in found))
    for number in range(0, len(shares), len(variants)):
        group = shares[number : number + len(variants)]
        missing = sum(share.names - share.counts[UNSUPPORTED] - share.running for share in group)
        head = f"| {group[0].home} | {group[0].kind} | {group[0].names} |"
        lines.append(f"{head} {' | '.join(map(_share, group))} | {missing or ''} |")
    lines += ["", f"| reason | {' | '.join(variants)} |", "|---|" + "--:|" * len(variants)]
    reasons = Counter((r.short_reason, r.variant) for r in rows if not r.runs)
    for reason in sorted({reason for reason, _ in reasons}):
        counts = (str(reasons[reason, variant] or "") for variant in variants)
        lines.append(f"| {reason} | {' | '.join(counts)} |")
    return "\n".join(lines)


def _share(share: Share) -> str:
    percent = 100 * share.running / share.names
    return f"{share.counts[OK]} + {share.counts[NATIVE]} ({percent:.1f} %)"


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
    parser.add_argument("--retry", nargs="+", default=[], metavar="REASON", help="such as: time")
    parser.add_argument("--summary", action="store_true", help="count what is there, try nothing")
    given = parser.parse_args(arguments)
    if not given.summary:
        mend(given.out)
    done = read(given.out) if given.out.exists() else ()
    found = entries(given.census, given.names)
    if given.census is None:
        kinds = {row.name: row.kind for row in done}
        found = [replace(entry, kind=kinds.get(entry.name, entry.kind)) for entry in found]
    found = [entry for entry in found if not given.kinds or entry.kind in given.kinds]
    if given.summary:
        wanted = {entry.name for entry in found}
        sys.stdout.write(as_text([row for row in done if row.name in wanted], found) + "\n")
        return 0
    todo = left_to_do(found, done, given.variants, given.retry)
    run(given.out, todo, given.workers, given.seconds, given.gigabytes)
    if given.out.exists():
        tidy(given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
