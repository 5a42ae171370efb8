"""What the harness itself costs around a measure: CPU time of a cell that measures nothing."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from bench.plan.check import read_suite
from bench.plan.expand import expand
from bench.run import executor, pending
from bench.run.place import Place
from bench.store.database import Store

CELLS = 60
# Milliseconds of CPU time a cell: what is promised, and what a busy machine must not exceed.
PROMISED, SURE = 15.0, 60.0


def overhead(folder: Path, backbone: str, monkeypatch: pytest.MonkeyPatch) -> float:
    """CPU milliseconds a cell of `CELLS` trivial measures of one trained network; loading it,
    which they share, is in it."""
    code = "".join(f"def of{i}(context):\n    return {{'value': {i}}}\n" for i in range(CELLS))
    (folder / "trivial.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "trivial", raising=False)
    suite = folder / "suite.yaml"
    suite.write_text(
        "name: overhead\nseeds: [0]\ndatasets: [{name: fashion-mnist-mini, train_samples: 100}]\n"
        f"backbones: [{backbone}]\nvariants: [bu]\nrecipe: {{epochs: 1}}\nmeasures:\n"
        + "".join(f"  - 'trivial:of{i}'\n" for i in range(CELLS)),
        encoding="utf-8",
    )
    cells = list(expand(read_suite(str(suite))).cells)
    store = Store.create_or_open(folder / "run")
    session, place = store.begin({}), Place(folder, folder, "cpu")

    def run(some: list[object]) -> None:
        executor.run(some, store, session, place, 1, lambda event: None)  # type: ignore[arg-type]

    run(list(cells[:2]))  # the training, and a first cell that imports
    start = time.process_time()
    run(pending.left_to_do(cells, store)[0])
    spent = time.process_time() - start
    assert set(store.statuses().values()) == {"done"}
    assert len(store.statuses()) == CELLS + 1
    store.close()
    return 1000 * spent / (CELLS - 1)


def test_a_cell_costs_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert overhead(tmp_path, "lenet_fc", monkeypatch) < SURE


@pytest.mark.benchmark
@pytest.mark.parametrize("backbone", ["lenet_fc", "nin_light", "nin", "timm/resnet18"])
def test_a_cell_costs_what_is_promised(
    backbone: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """15 ms is less than 1 % of a cell of 2 s."""
    spent = overhead(tmp_path, backbone, monkeypatch)
    with capsys.disabled():
        print(f"\n{backbone}: {spent:.1f} ms of CPU time a cell")
    assert spent <= PROMISED
