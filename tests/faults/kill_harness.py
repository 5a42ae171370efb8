"""Kills a real run at random instants, carries it on, and compares what comes out.

    OMP_NUM_THREADS=1 python tests/faults/kill_harness.py --kills 50

Every kill is SIGKILL: to the driver with all its processes, to the driver alone, or to one worker.
A run that got to its end is compared with one that nobody disturbed, and the next one begins.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUITE = """\
name: kills
seeds: {seeds}
datasets: [{{name: fashion-mnist-mini, train_samples: 400, test_samples: 100}}]
backbones: [lenet_fc]
variants: [bu, td]
recipe: {{mode: deterministic, epochs: 2, batch_size: 20, lr: 0.05, bn_momentum: 0.1}}
measures:
  - accuracy
  - robustness:
      samples: 40
      batch_size: 10
      repeats: 1
      attacks: [{{name: gaussian_blur, epsilons: 60}}, {{name: additive_gaussian, epsilons: 60}}]
"""
CELLS_PER_SEED = 8
LONGEST = 300.0  # seconds that a session may take


@dataclass
class Tally:
    """What the harness did. `wrong` has a line for everything that was not as it must be."""

    kills: int = 0
    compared: int = 0
    sessions: int = 0
    hit: Counter[str] = field(default_factory=Counter)
    progress: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Harness:
    """Runs one suite again and again in `folder`, and kills it."""

    def __init__(self, folder: Path, seeds: int, seed: int) -> None:
        self.folder, self.dice, self.tally = folder, random.Random(seed), Tally()
        self.suite = folder / "kills.yaml"
        self.suite.write_text(SUITE.format(seeds=list(range(seeds))), encoding="utf-8")
        self.run = folder / "disturbed" / "run"
        self.cells = CELLS_PER_SEED * seeds
        reference = folder / "calm" / "run"
        start = time.monotonic()
        process = self._start(reference, 1)
        out = process.communicate()[0]
        assert process.returncode == 0, out
        self.seconds = time.monotonic() - start
        self.reference = report(reference)

    def go(self, kills: int) -> Tally:
        """Kill so many times, finish the last run, compare."""
        while self.tally.kills < kills:
            self._session(self.dice.choice((1, 1, 2)), kill=True)
        while self._session(1, kill=False) != 0:
            if self.tally.wrong:
                break
        return self.tally

    def _start(self, run: Path, workers: int) -> subprocess.Popen[str]:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        words = [str(self.suite), "--out", str(run), "--workers", str(workers)]
        return subprocess.Popen(
            [sys.executable, "-m", "bench", "run", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )

    def _session(self, workers: int, kill: bool) -> int:
        self.tally.sessions += 1
        process = self._start(self.run, workers)
        try:
            # From before the first import to some time after the end of a whole run.
            delay = self.dice.uniform(0.2, 1.1 * self.seconds) if kill else LONGEST
            out, _ = process.communicate(timeout=delay)
        except subprocess.TimeoutExpired:
            if not kill:
                self.tally.wrong.append(f"a session took more than {LONGEST:.0f} s")
            out = self._kill(process, workers)
        if process.returncode == 0:
            self._compare()
        elif process.returncode != -signal.SIGKILL and not clean_end(out):
            self.tally.wrong.append(f"exit code {process.returncode}: {out[-2000:]}")
        return process.returncode

    def _kill(self, process: subprocess.Popen[str], workers: int) -> str:
        done = finished(self.run)
        aim = self.dice.choice(("all", "all", "driver", "worker"))
        children = workers_of(process.pid) if aim == "worker" and workers > 1 else []
        if children:
            os.kill(self.dice.choice(children), signal.SIGKILL)
            self.tally.hit["one worker"] += 1
            out = process.communicate(timeout=LONGEST)[0]
        elif aim == "driver":
            process.kill()
            self.tally.hit["driver alone"] += 1
            time.sleep(0.3)
            end_group(process)
            out = process.communicate()[0]
        else:
            end_group(process)
            self.tally.hit["driver with its workers"] += 1
            out = process.communicate()[0]
        self.tally.kills += 1
        self.tally.progress[done] += 1
        return out

    def _compare(self) -> None:
        found = report(self.run)
        self.tally.compared += 1
        for what, expected in self.reference.items():
            if found[what] != expected:
                self.tally.wrong.append(f"{what} differs after {self.tally.kills} kills")
        shutil.rmtree(self.run.parent)


def end_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # it leads the group that it was started in


def clean_end(out: str) -> bool:
    """A driver that lost a worker may end, in words."""
    return "Traceback" not in out and "worker" in out


def workers_of(pid: int) -> list[int]:
    """The driver's children that do cells."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    found = [line.strip().partition(" ") for line in listed.splitlines()]
    return [int(child) for child, _, words in found if "bench.run.processes.child" in words]


def finished(run: Path) -> int:
    try:
        with sqlite3.connect(f"file:{run / 'results.sqlite'}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM cells").fetchone()[0])
    except sqlite3.Error:  # not created yet
        return 0


def report(run: Path) -> dict[str, object]:
    """What must not depend on kills: tables and what figures are drawn from. None of the measures
    is a time or of memory."""
    page = (run / "leaderboard.md").read_text(encoding="utf-8")
    with sqlite3.connect(run / "results.sqlite") as db:
        rows = db.execute("SELECT * FROM tidy").fetchall()
        arrays = db.execute(
            "SELECT name, sha256 FROM cells WHERE file LIKE 'arrays/%' ORDER BY name"
        ).fetchall()
    left = [str(path) for path in run.rglob("*.part")]
    tables = re.split(r"^## How it was produced", page, flags=re.MULTILINE)[0]
    return {"tables of the page": tables, "rows": rows, "arrays": arrays, "half-written": left}


def main() -> int:
    """Print what was done and whether all tables are the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=2, help="of the suite: its size")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(Path(folder), args.seeds, args.seed)
        print(f"{harness.cells} cells, {harness.seconds:.1f} s undisturbed", flush=True)
        tally = harness.go(args.kills)
    print(f"{tally.kills} kills ({dict(tally.hit)}) in {tally.sessions} sessions")
    print(f"cells that were finished when it was killed: {dict(sorted(tally.progress.items()))}")
    print(f"{tally.compared} runs compared at their end; {len(tally.wrong)} things wrong")
    print("\n".join(tally.wrong))
    return 1 if tally.wrong or not tally.compared else 0


if __name__ == "__main__":
    sys.exit(main())
