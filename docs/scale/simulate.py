"""A run of very many cells that measure nothing: what the driver costs, cell by cell.

    OMP_NUM_THREADS=1 python docs/scale/simulate.py --cells 100000 --out docs/scale

Plan, dispatch, unpacking of messages, store and display are those of `bench run`. Only the workers
are stubs: threads that pack the messages which a worker would send, without training or measuring
anything. Writes `driver.csv`, `driver.png`, and prints a summary.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import os
import queue
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import psutil
import torch

from bench.commands.run import claim
from bench.plan.cell import Cell, Plan
from bench.plan.check import read_suite
from bench.plan.expand import expand
from bench.run import executor
from bench.run.engine import News, Over
from bench.run.events import CellFinished, CellStarted, Event
from bench.run.place import Place
from bench.run.processes import wire
from bench.run.progress import Lines
from bench.run.unit import TRAIN_METRICS, Unit
from bench.store.database import Store
from bench.store.outcome import Outcome
from leaderboard.results import MetricInfo

PER_TRAINING = 100
SAMPLES = 100


def planned(folder: Path, cells: int) -> Plan:
    """A plan of about so many cells: trainings with `PER_TRAINING` cells each."""
    names = [f"of{number}" for number in range(PER_TRAINING - 1)]
    code = "".join(f"def {name}(context):\n    return {{'value': 1.0}}\n" for name in names)
    (folder / "stub.py").write_text(code, encoding="utf-8")
    sys.path.insert(0, str(folder))
    path = folder / "scale.yaml"
    path.write_text(
        f"name: scale\nseeds: {list(range(max(1, cells // PER_TRAINING)))}\n"
        "datasets: [fashion-mnist-mini]\nbackbones: [lenet_fc]\nvariants: [bu]\n"
        "recipe: {epochs: 1}\nmeasures:\n" + "".join(f"  - 'stub:{name}'\n" for name in names),
        encoding="utf-8",
    )
    return expand(read_suite(str(path)))


class StubEngine:
    """Workers that do nothing: each cell's messages, packed as a worker packs them."""

    def __init__(self, workers: int) -> None:
        # Real workers send when they have worked; so these wait for the driver.
        self.news: queue.Queue[News] = queue.Queue(maxsize=4 * workers)
        self.slots = workers
        self.cpu, self.bytes, self.messages = 0.0, 0, 0
        self._pool = ThreadPoolExecutor(workers)
        self._lock = threading.Lock()
        self._weights = {"weight": torch.zeros(7_700)}  # LeNetFC has so many parameters

    def submit(self, number: int, unit: Unit, place: Place, alone: bool) -> None:
        wire.job(unit, place)
        self._pool.submit(self._do, number, unit)

    def _do(self, number: int, unit: Unit) -> None:
        start = time.thread_time()
        for cell in (*((unit.train,) if unit.train else ()), *unit.cells):
            self._tell(number, CellStarted(cell))
            self._tell(number, CellFinished(cell, self._outcome(cell)))
        self.news.put(Over(number))
        with self._lock:
            self.cpu += time.thread_time() - start

    def _tell(self, number: int, event: Event) -> None:
        message = wire.message(event)
        self.bytes += message.size + len(message.identity)
        self.messages += 1
        self.news.put((number, message))

    def _outcome(self, cell: Cell) -> Outcome:
        if cell.measure is None:
            found = {"train_loss": 1.0, "epochs": 1.0}
            return Outcome(0, 1.0, 1.0, found, TRAIN_METRICS, weights=self._weights)
        return Outcome(0, 1.0, 1.0, {"value": 1.0}, {"value": MetricInfo("value", headline=True)})

    def rest(self) -> None:
        pass

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


Sample = tuple[int, float, float, float]


def simulate(folder: Path, cells: int, workers: int) -> tuple[list[Sample], StubEngine]:
    """Run it; cells done, MiB of resident memory, CPU and wall seconds of the driver thread."""
    plan = planned(folder, cells)
    store = Store.create_or_open(folder / "run")
    claim(store, plan, "cpu", plan.cells)
    session = store.begin({})
    left = executor.to_do(plan.cells, store)
    show = Lines(left, 0)
    engine = StubEngine(workers)
    process = psutil.Process()
    samples: list[Sample] = []
    every, done = max(1, len(left) // SAMPLES), 0

    def sample() -> None:
        memory = process.memory_info().rss / 2**20
        samples.append((done, memory, time.thread_time(), time.perf_counter()))

    def watch(event: Event) -> None:
        nonlocal done
        with contextlib.redirect_stdout(io.StringIO()):
            show(event)
        if isinstance(event, CellFinished):
            done += 1
            if done % every == 0:
                sample()

    sample()
    place = Place(folder, folder, "cpu")
    executor.run(left, store, session, place, workers, watch, engine=engine)  # type: ignore[arg-type]
    if len(store.statuses()) != len(left):
        raise RuntimeError("cells are missing")
    store.close()
    return samples, engine


def drawn(samples: list[Sample], path: Path, title: str) -> None:
    """Memory and CPU time per cell against cells done."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(7, 5))
    pairs = list(pairwise(samples))
    above.plot([s[0] for s in samples], [s[1] for s in samples])
    above.set_ylabel("resident memory\nof the driver (MiB)")
    above.set_ylim(bottom=0)
    above.set_title(title)
    below.plot([b[0] for _, b in pairs], [1000 * (b[2] - a[2]) / (b[0] - a[0]) for a, b in pairs])
    below.set_ylabel("CPU time of the driver\nper cell (ms)")
    below.set_xlabel("cells done")
    below.set_ylim(bottom=0)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Simulate, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        samples, engine = simulate(Path(folder), args.cells, args.workers)
        total = time.process_time() - started
        disk = sum(p.stat().st_size for p in Path(folder, "run").rglob("*") if p.is_file())
    with (args.out / "driver.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["cells", "resident_mib", "driver_cpu_s", "wall_s"])
        first = samples[0]
        rows.writerows(
            (n, f"{m:.1f}", f"{c - first[2]:.3f}", f"{w - first[3]:.3f}") for n, m, c, w in samples
        )
    title = f"{samples[-1][0]:,} cells, {args.workers} stub workers"
    drawn(samples, args.out / "driver.png", title)
    cells = samples[-1][0]
    tenth = len(samples) // 10

    def per_cell(a: Sample, b: Sample) -> float:
        return 1000 * (b[2] - a[2]) / (b[0] - a[0])

    print(
        f"{title} on {os.cpu_count()} cores: driver CPU {per_cell(samples[0], samples[-1]):.2f} ms "
        f"a cell (first tenth {per_cell(samples[0], samples[tenth]):.2f}, last "
        f"{per_cell(samples[-1 - tenth], samples[-1]):.2f}); wall "
        f"{1000 * (samples[-1][3] - samples[0][3]) / cells:.2f} ms a cell; resident "
        f"{samples[0][1]:.0f} MiB at the start, {samples[tenth][1]:.0f} after a tenth, "
        f"{samples[-1][1]:.0f} at the end; {engine.bytes / engine.messages:.0f} bytes a message, "
        f"{engine.messages / cells:.2f} messages a cell; {disk / cells:.0f} bytes on disk a cell; "
        f"stub workers' CPU {1000 * engine.cpu / cells:.2f} ms a cell; all CPU {total:.0f} s"
    )


if __name__ == "__main__":
    main()
