"""A machine with pretended GPUs, and a folder to run a suite in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.store.database import Store
from bench.store.read import results
from leaderboard.results import Results

PRETENDED = Path(__file__).parent / "pretended_gpu"
_UNSET = ("CUDA_VISIBLE_DEVICES", "CUDA_MPS_PIPE_DIRECTORY", "BENCH_MPS")


class Machine:
    """One whose processes have these variables, and in whose folder there is `suite`; its plugins
    tell what they see by files in `seen`."""

    def __init__(self, folder: Path, suite: str, **variables: str) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in _UNSET},
            "PYTHONPATH": f"{PRETENDED}{os.pathsep}{folder}",
            "OMP_NUM_THREADS": "1",
            **variables,
        }
        (folder / "suite.yaml").write_text(suite)
        (folder / "seen").mkdir()

    def start(self, *words: str, **more: str) -> subprocess.Popen[str]:
        """`bench run` with these words, and more variables."""
        return subprocess.Popen(
            [sys.executable, "-m", "bench", "run", "suite.yaml", "--out", "out", *words],
            cwd=self.folder,
            env=self.environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """The same, to its end."""
        process = self.start(*words, **more)
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def results(self) -> Results:
        store = Store.open(self.folder / "out")
        try:
            return results(store)
        finally:
            store.close()
