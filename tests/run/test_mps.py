"""Workers that share a GPU through NVIDIA's Multi-Process Service (a pretended one).

What a real service does is in the tests marked `gpu`; here a script in its place writes down what
is asked of it, and processes see what they would.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from pretended_machine import PRETENDED, Machine

from bench.run.devices import mps
from bench.run.processes.fleet import Fleet
from leaderboard.results import Results

ROOT = Path(__file__).parents[2]
SHARED = ("--device", "cuda", "--workers", "2")
SUITE = """\
name: shared
datasets: [{name: fashion-mnist-mini, train_samples: 200, test_samples: 50}]
backbones: [{name: "nets:net"}]
variants: [bu]
seeds: [0, 1]
recipe: {epochs: 1, batch_size: 100, mode: deterministic, precision: fp32}
measures: [accuracy, "probes:timed"]
"""
# A backbone that tells what its process sees, and waits for the other worker.
NETS = """\
import os
import time
from pathlib import Path

import torch

SERVED = "CUDA_MPS_PIPE_DIRECTORY" in os.environ
CHILD = os.environ.get("CUDA_VISIBLE_DEVICES", "").startswith("GPU-")


def tell(what):
    served = "served" if SERVED else "own"
    path = Path(__file__).parent / "seen" / f"{what} {served} {os.getpid()}"
    path.write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))


class Net(torch.nn.Sequential):
    def forward(self, x):
        BREAK
        return super().forward(x)


def net(channels, classes):
    tell("built")
    if SERVED and CHILD:
        until = time.monotonic() + 60
        seen = Path(__file__).parent / "seen"
        while len(list(seen.glob("built served *"))) < 2 and time.monotonic() < until:
            time.sleep(0.05)
    WAIT
    return Net(torch.nn.Flatten(), torch.nn.Linear(channels * 784, classes))
"""
PROBES = """\
from bench.measures.base import Measure
from nets import tell


def look(context):
    tell("timed")
    return {"one": 1.0}


timed = Measure("timed", run=look, exclusive=True)
"""
CONTROL = """\
#!/bin/sh
echo "$1 $CUDA_VISIBLE_DEVICES" >> "$SERVICE_LOG"
if [ "$1" = "-f" ]; then
    FAILS
    echo $$ > "$CUDA_MPS_PIPE_DIRECTORY/pid"
    touch "$CUDA_MPS_PIPE_DIRECTORY/control"
    echo "$CUDA_MPS_PIPE_DIRECTORY" > "$SERVICE_LOG.folder"
    exec sleep 600
fi
read -r word
echo "told $word" >> "$SERVICE_LOG"
kill "$(cat "$CUDA_MPS_PIPE_DIRECTORY/pid")"
"""


class Served(Machine):
    """One with a pretended GPU and a service that has `control` in its place."""

    def __init__(self, folder: Path, control: str = CONTROL, breaks: str = "", wait: str = ""):
        self.log = folder / "service.log"
        programs = folder / "programs"
        programs.mkdir()
        if control:
            file = programs / "nvidia-cuda-mps-control"
            file.write_text(control.replace("    FAILS\n", ""))
            file.chmod(0o755)
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        super().__init__(folder, SUITE, PATH=path, SERVICE_LOG=str(self.log))
        (folder / "nets.py").write_text(
            NETS.replace("BREAK", breaks or "pass").replace("WAIT", wait or "pass")
        )
        (folder / "probes.py").write_text(PROBES)

    def begin(self, **more: str) -> subprocess.Popen[str]:
        return self.start(*SHARED, **more)

    def done(self, **more: str) -> tuple[int, str]:
        """The exit code of a run of two workers, and all that it said."""
        found = self.run(*SHARED, **more)
        return found.returncode, found.stdout + found.stderr

    def seen(self, what: str) -> dict[str, str]:
        """How a GPU was used where something was done, and what was visible of the GPUs."""
        paths = (self.folder / "seen").glob(f"{what} *")
        return {path.name.split()[1]: path.read_text() for path in paths}

    def asked(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


def accuracies(found: Results) -> int:
    return sum(row.metric == "top1" for row in found.rows)


@pytest.mark.slow
def test_workers_share_a_gpu_and_timings_have_it_alone(tmp_path: Path) -> None:
    machine = Served(tmp_path)
    code, text = machine.done()
    assert code == 0, text
    assert accuracies(machine.results()) == 2
    # The driver looks at networks, too, and not through the service.
    assert machine.seen("built")["served"] == "GPU-pretended-0"
    assert machine.seen("timed") == {"own": "GPU-pretended-0"}
    started, told = machine.asked()[0], machine.asked()[-1]
    assert started == "-f GPU-pretended-0"
    assert told == "told quit -t 5"
    assert not Path(machine.log.with_name("service.log.folder").read_text().strip()).exists()


@pytest.mark.parametrize(
    ("control", "more", "asked"),
    [
        ("", {}, []),
        (CONTROL, {"BENCH_MPS": "0"}, []),
        (CONTROL.replace("FAILS", "exit 1"), {}, ["-f GPU-pretended-0"]),
    ],
    ids=["none", "not wanted", "does not start"],
)
@pytest.mark.slow
def test_without_a_service_workers_take_turns(
    control: str, more: dict[str, str], asked: list[str], tmp_path: Path
) -> None:
    machine = Served(tmp_path, control)
    code, text = machine.done(**more)
    assert code == 0, text
    assert accuracies(machine.results()) == 2
    assert machine.seen("built").keys() == {"own"}
    assert machine.asked()[:1] == asked


@pytest.mark.slow
def test_a_service_of_the_user_is_left_to_them(tmp_path: Path) -> None:
    machine = Served(tmp_path)
    code, text = machine.done(CUDA_MPS_PIPE_DIRECTORY=str(tmp_path / "theirs"))
    assert code == 0, text
    assert machine.asked() == []


@pytest.mark.slow
def test_a_service_that_gives_no_gpu_is_done_without(tmp_path: Path) -> None:
    machine = Served(tmp_path)
    code, text = machine.done(PRETENDED_DEAD_SERVICE="1")
    assert code == 0, text
    assert text.count("note: workers take turns on the GPU, MPS does not work here (CUDA er") == 1
    assert accuracies(machine.results()) == 2
    assert machine.seen("built").keys() == {"own"}


BREAKS = """\
if CHILD and WHERE and x.is_cuda:
            import pretended_gpu

            pretended_gpu.lose()"""


@pytest.mark.slow
def test_what_another_process_broke_is_done_again_apart(tmp_path: Path) -> None:
    """A broken kernel takes the GPU from all who share it: none of them is to blame for sure."""
    machine = Served(tmp_path, breaks=BREAKS.replace("WHERE", "SERVED"))
    code, text = machine.done()
    assert code == 0, text
    assert accuracies(machine.results()) == 2
    assert machine.seen("built").keys() == {"served", "own"}


@pytest.mark.slow
def test_idle_processes_end_with_the_gpu_that_they_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PRETENDED))  # which the processes have, too
    fleet = Fleet(("GPU-pretended-0",), {"CUDA_MPS_PIPE_DIRECTORY": "/nowhere"})
    first, own = fleet.take(), fleet.take(own=True)
    try:
        assert (first.shared, own.shared) == (True, False)
        for child in (first, own):
            fleet.give_back(child)
        fleet.gpu_was_lost()
        assert fleet.take() is own
        assert fleet.take().shared
    finally:
        fleet.stop()


@pytest.mark.slow
def test_what_breaks_by_itself_fails(tmp_path: Path) -> None:
    machine = Served(tmp_path, breaks=BREAKS.replace("WHERE", "True"))
    code, text = machine.done()
    assert code == 1, text
    failures = machine.results().failures
    assert failures
    assert all("CUDA error: device-side assert triggered" in one.error for one in failures)


@pytest.mark.slow
def test_the_service_ends_with_a_run_that_is_killed(tmp_path: Path) -> None:
    machine = Served(tmp_path, wait="time.sleep(600 if SERVED else 0)")
    process = machine.begin()
    until = time.monotonic() + 60
    while not list((tmp_path / "seen").glob("built served *")) and time.monotonic() < until:
        time.sleep(0.1)
    folder = Path(machine.log.with_name("service.log.folder").read_text().strip())
    daemon = int((folder / "pid").read_text())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until = time.monotonic() + 20
    while folder.exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert machine.asked()[-1] == "told quit -t 5"
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(daemon, 0)


def test_who_reads_what_a_run_says_does_not_wait_for_the_service(tmp_path: Path) -> None:
    """A daemon that takes its time to end keeps no pipe of a run that is gone."""
    late = 'until [ -e "$SERVICE_LOG.end" ]; do sleep 0.1; done\nkill'
    machine = Served(tmp_path, CONTROL.replace("\nkill", f"\n{late}"))
    code = "import os; from bench.run.devices import mps; print(mps.start(['GPU-0'])); os._exit(0)"
    path = f"{ROOT}{os.pathsep}{machine.environment['PYTHONPATH']}"
    try:
        found = subprocess.run(
            [sys.executable, "-S", "-u", "-c", f"import sys; sys.path = {sys.path!r}\n{code}"],
            env=machine.environment | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert "Service" in found.stdout, found.stderr
    finally:
        machine.log.with_name("service.log.end").touch()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.skipif(shutil.which(mps.CONTROL) is None, reason=f"needs {mps.CONTROL}")
@pytest.mark.skipif(
    mps.PIPES in os.environ or (mps._EVERYBODYS / mps._SOCKET).exists(),
    reason="there is a service already",
)
def test_a_real_service_gives_its_gpu_to_two_processes() -> None:
    service = mps.start(gpus := mps.shareable([0]))
    assert service is not None
    code = "import torch; print(int(torch.ones(9, device='cuda').sum()), flush=True); input()"
    environment = {**os.environ, **service.environment, "CUDA_VISIBLE_DEVICES": gpus[0]}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    both: list[subprocess.Popen[str]] = []

    def give_up() -> None:
        for process in both:
            process.kill()

    # Where a service does not work, whoever asks it may wait for ever.
    late = threading.Timer(120, give_up)
    late.start()
    try:
        for _ in range(2):
            both.append(subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes))  # type: ignore[call-overload]
        assert [process.stdout.readline().strip() for process in both] == ["9", "9"]
        for process in both:
            process.communicate("\n", timeout=60)
        assert [process.returncode for process in both] == [0, 0]
    finally:
        late.cancel()
        give_up()
        service.close()
    assert not Path(service.environment[mps.PIPES]).exists()
