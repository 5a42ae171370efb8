"""Sensors: a counter as the kernel writes it, and the load that is really there."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from bench.measures.cost import sensors

CPU = torch.device("cpu")


def package(root: Path, name: str, joules: float, label: str = "package-0") -> Path:
    """A domain as in /sys/class/powercap."""
    folder = root / name
    folder.mkdir(exist_ok=True)
    (folder / "name").write_text(f"{label}\n")
    (folder / "energy_uj").write_text(f"{joules * 1e6:.0f}\n")
    (folder / "max_energy_range_uj").write_text("100000000\n")
    return folder


def test_energy_is_of_all_packages_and_counters_may_start_again(tmp_path: Path) -> None:
    package(tmp_path, "intel-rapl:0", 10)
    package(tmp_path, "intel-rapl:1", 95, "package-1")
    package(tmp_path, "intel-rapl:0:0", 7, "core")  # part of the package
    package(tmp_path, "intel-rapl:2", 7, "psys")
    joules = sensors.energy_counter(CPU, tmp_path)
    assert joules is not None
    assert joules() == 0
    package(tmp_path, "intel-rapl:0", 12)
    assert joules() == 2
    package(tmp_path, "intel-rapl:1", 5, "package-1")  # over 100 J it starts at 0
    assert joules() == 12


def test_no_energy_is_told_where_there_is_no_counter_or_none_that_may_be_read(
    tmp_path: Path,
) -> None:
    assert sensors.energy_counter(CPU, tmp_path / "nowhere") is None
    folder = package(tmp_path, "intel-rapl:0", 10)
    (folder / "energy_uj").unlink()
    assert sensors.energy_counter(CPU, tmp_path) is None
    with sensors.watching(CPU, powercap=tmp_path) as seen:
        pass
    assert seen.joules is None


def test_the_energy_of_what_was_watched(tmp_path: Path) -> None:
    package(tmp_path, "intel-rapl:0", 10)
    with sensors.watching(CPU, powercap=tmp_path) as seen:
        package(tmp_path, "intel-rapl:0", 13)
        time.sleep(0.5)
    assert seen.joules == pytest.approx(3)
    with sensors.watching(CPU, powercap=tmp_path) as short:
        package(tmp_path, "intel-rapl:0", 15)
    assert short.joules is None


def proc(folder: Path, busy: int, idle: int) -> None:
    """Ticks of 10 ms as in /proc/stat."""
    (folder / "stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 0 0 0\n")
    (folder / "cpuinfo").write_text("cpu MHz\t\t: 2000.0\ncpu MHz\t\t: 3000.0\n")


def test_the_load_of_others_is_what_is_neither_idle_nor_ours(tmp_path: Path) -> None:
    proc(tmp_path, 1000, 5000)
    with sensors.watching(CPU, proc=tmp_path) as seen:
        time.sleep(0.21)
        proc(tmp_path, 1030, 5070)
    assert seen.figures["other_load"] == pytest.approx(30, abs=2)
    assert seen.figures["clock"] == 2500
    with sensors.watching(CPU, proc=tmp_path / "nowhere") as unknown:
        time.sleep(0.21)
    assert "other_load" not in unknown.figures


def test_own_work_is_no_load_of_others(tmp_path: Path) -> None:
    proc(tmp_path, 1000, 5000)
    with sensors.watching(CPU, proc=tmp_path) as seen:
        end = time.process_time() + 0.25
        while time.process_time() < end:
            pass
        proc(tmp_path, 1025, 5025)
    assert seen.figures["other_load"] < 5


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="Linux only")
def test_a_program_beside_is_seen() -> None:
    burn = "import time\nend = time.time() + 20\nwhile time.time() < end: pass"
    other = subprocess.Popen([sys.executable, "-c", burn])
    try:
        time.sleep(0.5)
        with sensors.watching(CPU) as seen:
            time.sleep(1)
    finally:
        other.kill()
        other.wait()
    assert seen.figures["other_load"] > 0


def test_power_is_words_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "CPU", tmp_path)
    assert sensors.power_state("cpu") == ""
    (tmp_path / "scaling_governor").write_text("performance\n")
    assert sensors.power_state("cpu") == "processor governor performance"


@pytest.mark.gpu
def test_what_a_gpu_tells() -> None:
    pytest.importorskip("pynvml")
    device = torch.device("cuda")
    images = torch.rand(4096, 4096, device=device)
    with sensors.watching(device) as seen:
        end = time.perf_counter() + 1
        while time.perf_counter() < end:
            images @ images
            torch.cuda.synchronize()
    assert seen.joules > 1
    assert seen.figures["clock"] > 100
    assert seen.figures["other_gpu_processes"] >= 0
    assert 0 <= seen.figures["power_state"] <= 15
    assert "GPU power limit" in sensors.power_state("cuda")
