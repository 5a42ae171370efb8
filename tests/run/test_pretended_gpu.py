"""A whole run on a GPU that is not there gives the numbers of the CPU.

What a real one has to show is in the tests marked `gpu`; this is what can be told without it: no
tensor is left behind on the CPU, and each branch for CUDA is walked through (`pretended_gpu/`).
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bench.cli import main
from bench.store.database import Store
from bench.store.read import results
from leaderboard.results import Results

ROOT = Path(__file__).parents[2]
PRETENDED = Path(__file__).parent / "pretended_gpu"
SUITE = """\
name: pretended
datasets: [{name: fashion-mnist-mini, train_samples: 1200, test_samples: 100}]
backbones: [lenet_fc]
variants: [td]
seeds: [0]
recipe:
  epochs: 1
  batch_size: 40
  bn_momentum: 0.2
  mode: deterministic
  precision: fp32
  augment: {shift: 0.1, flip: 0.5, pca_jitter: 0.1}
measures:
  - accuracy
  - robustness:
      samples: 10
      attacks:
        - {name: gaussian_blur, search: fast, epsilons: 50}
        - {name: shifts, max_shift: 1}
        - {name: pgd, norm: L2, epsilons: [0.5, 1.0], steps: 3}
        - {name: "foolbox:LinfPGD", epsilons: [0.3], steps: 5}
  - localization: {foreground: 0.3, samples: 20}
  - corruptions: {samples: 10, severities: [1, 5]}
  - faithfulness: {samples: 10}
  - efficiency: {resident: false, batch_size: 16, seconds: 0.02}
"""
TIMM = """\
name: pretended-timm
datasets: [fashion-mnist-mini]
backbones: [timm/mobilenetv3_small_050]
variants: [td]
seeds: [0]
recipe: {epochs: 1, batch_size: 50, bn_momentum: 0.1}
measures: [accuracy]
"""
# Free bytes, and those of the training images: 940,800. Each run is in a folder of its own, for it
# would take over the training of one beside it.
TWICE = """
import os
import sys
from pathlib import Path

from bench.cli import main

here = Path(__file__).parent
for free in ("3", "8000000"):
    os.environ["PRETENDED_FREE"] = free
    out = here / free / "run"
    code = main(["run", str(here / "few.yaml"), "--device", "cuda", "--out", str(out)])
    if code:
        sys.exit(code)
"""
CELLS = "SELECT name, error FROM cells"
COUNTED = ("parameters", "train_parameters", "flops", "macs", "activations")


def on_gpu(*words: str | Path, plugins: Path = ROOT) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(map(str, (PRETENDED, plugins)))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def numbers(results: Results) -> dict[tuple[str, str], float]:
    """Whatever does not depend on the device."""
    return {
        (row.measure, row.metric): row.value
        for row in results.rows
        if row.measure != "efficiency" or row.metric in COUNTED
    }


def found(run: Path) -> Results:
    store = Store.open(run)
    try:
        return results(store)
    finally:
        store.close()


@pytest.mark.slow
def test_the_numbers_of_the_cpu(tmp_path: Path) -> None:
    suite = tmp_path / "pretended.yaml"
    suite.write_text(SUITE)
    there, here = tmp_path / "there", tmp_path / "here"
    done = on_gpu("-m", "bench", "run", suite, "--device", "cuda", "--out", there)
    assert done.returncode == 0, done.stdout + done.stderr
    assert main(["run", str(suite), "--device", "cpu", "--out", str(here)]) == 0
    gpu, cpu = found(there), found(here)
    assert "a pretended GPU" in gpu.provenance["hardware"]
    mine, other = numbers(gpu), numbers(cpu)
    assert len(other) > 100
    assert mine == pytest.approx(other, rel=1e-5)
    for one, two in zip(gpu.samples, cpu.samples, strict=True):
        np.testing.assert_allclose(one.l2, two.l2, rtol=1e-5)


def test_images_that_do_not_fit_there_are_gathered_on_the_host(tmp_path: Path) -> None:
    (tmp_path / "few.yaml").write_text(SUITE.partition("measures:")[0] + "measures: [accuracy]\n")
    (tmp_path / "twice.py").write_text(TWICE)
    done = on_gpu(tmp_path / "twice.py")
    assert done.returncode == 0, done.stdout + done.stderr
    weights, facts = [], []
    for free in ("3", "8000000"):
        out = tmp_path / free / "run"
        files = {file.name: load_file(file) for file in out.rglob("*.safetensors")}
        weights.append(
            {
                (name, key): array.tolist()
                for name, found in files.items()
                for key, array in found.items()
            }
        )
        with closing(sqlite3.connect(out / "results.sqlite")) as db:
            facts += [text for (text,) in db.execute("SELECT facts FROM cells") if "losses" in text]
    assert weights[0] == weights[1] != {}
    assert ["on the host" in text for text in facts] == [True, False]


@pytest.mark.slow
def test_networks_of_timm_train_there(tmp_path: Path) -> None:
    suite = tmp_path / "timm.yaml"
    suite.write_text(TIMM)
    done = on_gpu("-m", "bench", "run", suite, "--device", "cuda", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_a_gpu_refuses_is_refused() -> None:
    """Else the tests above could not fail."""
    code = """
import torch

images, there = torch.ones(1, 2), torch.ones(1, 2, device="cuda")
for wrong in (
    lambda: there + images,
    lambda: there.numpy(),
    lambda: torch.nn.Linear(2, 2).to("cuda")(images),
):
    try:
        wrong()
    except (RuntimeError, TypeError) as error:
        print(error)
"""
    said = on_gpu("-c", code).stdout.splitlines()
    assert len(said) == 3
    assert ["same device" in line for line in said] == [True, False, True]


LOSERS = '''
"""A measure whose kernel breaks an assertion, which the process never gets over."""
import os

def before(context):
    return {"process": float(os.getpid())}

def breaks(context):
    import pretended_gpu
    pretended_gpu.lose()
    return {"mean": float(context.network.normalize.mean.mean())}

def after(context):
    return {"mean": float(context.network.normalize.mean.mean()), "process": float(os.getpid())}
'''

# The same, beside a disk that damages a cell meanwhile.
DAMAGING = """
import sqlite3
from contextlib import closing
from pathlib import Path

_breaks = breaks

def breaks(context):
    results = Path(__file__).with_name("out") / "results.sqlite"
    with closing(sqlite3.connect(results)) as db, db:
        db.execute("UPDATE cells SET seconds = 9 WHERE name LIKE '%after'")
    return _breaks(context)
"""


@pytest.mark.parametrize("workers", [(), pytest.param(("--workers", "2"), marks=pytest.mark.slow)])
def test_a_device_that_is_lost_takes_one_cell_with_it(
    tiny: Callable[..., Path], tmp_path: Path, workers: tuple[str, ...]
) -> None:
    """The others are done by another process; the network is not trained again."""
    Path("losers.py").write_text(LOSERS)
    names = "".join(f"  - losers:{name}\n" for name in ("before", "breaks", "after"))
    suite = tiny(("  - accuracy\n", names)).resolve()
    out, here = tmp_path / "out", Path.cwd()
    words = ("-m", "bench", "run", suite, "--device", "cuda", "--out", out)
    done = on_gpu(*words, *workers, plugins=here)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    store = Store.open(out)
    errors = {row["name"].partition("seed0/")[2]: row["error"] for row in store.rows(CELLS)}
    store.close()
    assert {name for name, error in errors.items() if error} == {"breaks"}
    assert errors["breaks"].startswith("CUDA error: device-side assert triggered")
    process = {row.measure: row.value for row in found(out).rows if row.metric == "process"}
    assert process["before"] != process["after"]


@pytest.mark.slow
def test_a_process_that_lost_its_device_does_not_touch_what_is_done_again(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    """A cell that is damaged while the run is at work is done again after the others, when the
    device is lost."""
    Path("losers.py").write_text(LOSERS + DAMAGING)
    suite = tiny(("  - accuracy\n", "  - losers:after\n")).resolve()
    out, here = tmp_path / "out", Path.cwd()
    words = ("-m", "bench", "run", suite, "--device", "cuda", "--out", out)
    done = on_gpu(*words, plugins=here)
    assert done.returncode == 0, done.stdout + done.stderr
    tiny(("  - accuracy\n", "  - losers:after\n  - losers:breaks\n"))
    done = on_gpu(*words, plugins=here)
    assert "after: what is recorded of it was changed; it is done again" in done.stderr
    assert "another one goes on" not in done.stderr, "nothing was left to do then"
    store = Store.open(out)
    failed = {row["name"] for row in store.rows(CELLS) if row["error"]}
    store.close()
    assert [name.rpartition("/")[2] for name in failed] == ["breaks"]


@pytest.mark.slow
def test_no_attack_corruption_or_heatmap_leaves_a_tensor_behind() -> None:
    done = on_gpu(PRETENDED / "everything.py", plugins=ROOT)
    assert done.returncode == 0, done.stderr
    (last,) = done.stdout.splitlines()
    assert int(last.removesuffix(" done")) > 80
