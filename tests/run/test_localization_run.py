"""Localization and faithfulness from suite to page, with the real parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from bench.store.database import Store
from bench.store.read import results

Tiny = Callable[..., Path]

CHANGES = (
    ("tiny_sets:blobs", "{name: fashion-mnist-mini, train_samples: 200, test_samples: 60}"),
    ("tiny_nets:linear", "lenet_fc"),
    ("[bu]", "[bu, td]"),
    ("epochs: 2, batch_size: 20, lr: 0.05", "epochs: 2, batch_size: 20, bn_momentum: 0.1"),
    ("robustness: {attacks: [{name: gaussian_blur, epsilons: 20}], samples: 20}",
     "localization: {threshold: 0.3}\n  - faithfulness: {samples: 10, steps: 7}"),
)  # fmt: skip


def test_from_suite_to_page(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    suite = tiny(*CHANGES)
    assert main(["run", str(suite), "--out", "run"]) == 0
    assert "Localization" not in capsys.readouterr().err
    store = Store.open(Path("run"))
    found = results(store)
    store.close()
    bu, td = found.localized
    assert (bu.variant, td.variant, bu.item) == ("bu", "td", "")
    assert (bu.threshold, bu.thresholds.shape) == (0.3, (101,))
    np.testing.assert_array_equal(bu.index, td.index)
    metrics = {(row.variant, row.measure, row.metric): row.value for row in found.rows}
    chosen = bu.correct
    tp, fp = (counts[chosen, 30].sum() for counts in (bu.tp, bu.fp))
    assert metrics["bu", "localization", "precision"] == pytest.approx(100 * tp / (tp + fp))
    assert [one.deletion.shape for one in found.removed] == [(10, 8), (10, 8)]
    area = np.trapezoid(found.removed[0].deletion, dx=1 / 7, axis=1).mean()
    assert metrics["bu", "faithfulness", "deletion_auc"] == pytest.approx(100 * area, abs=0.5)
    page = Path("run/leaderboard.md").read_text("utf-8")
    assert "### Localization" in page
    assert "### Faithfulness" in page
    assert "a pixel is predicted above 0.3" in page
    assert "Deletion AUC ↓ (%)" in page.replace("\u00a0", " ")


def test_a_set_without_objects_is_refused_before_training(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tiny(("- accuracy", "- localization"))
    assert main(["run", str(suite), "--out", "run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("blobs/localization: blobs has no masks or boxes of its objects;")
    assert not list(Path("run").rglob("*.safetensors"))


def test_a_layer_that_no_network_has_is_refused_before_training(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = "localization: {threshold: 0.3, layers: [act_9, last]}"
    changes = (*CHANGES[:-1], (CHANGES[-1][0], wanted))
    assert main(["run", str(tiny(*changes)), "--out", "run"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": unknown ")[2][:48] for line in lines] == [
        "layer 'act_9'; there are act_1, act_2, act_3, ac"
    ] * 2
    assert not list(Path("run").rglob("*.safetensors"))


OWN = """
from torch import nn

def conv(in_chans, num_classes):
    return nn.Sequential(
        nn.Conv2d(in_chans, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes),
    )
"""


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("act_1", "unknown layer 'act_1'; there are 2 (or any module by its path in the backbone)"),
        ("3", "layer '3' is 1 x 1 for images of 28 x 28 and shows no place; choose one before it"),
    ],
)
def test_a_layer_of_a_network_of_ones_own_is_refused_before_training_too(
    tiny: Tiny, capsys: pytest.CaptureFixture[str], layer: str, said: str
) -> None:
    suite = tiny(CHANGES[0], ("tiny_nets:linear", "own_nets:conv"), CHANGES[3],
                 (CHANGES[-1][0], f"localization: {{layers: ['{layer}', last]}}"))  # fmt: skip
    Path("own_nets.py").write_text(OWN, encoding="utf-8")
    assert main(["run", str(suite), "--out", "run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.partition("conv/bu: ")[2] == said
    assert not list(Path("run").rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("positions", "layer 'positions' does not run when the network predicts"),
        ("positions.0.layers.9", "unknown layer 'positions.0.layers.9'; there are act_1, "),
    ],
)
def test_modules_that_give_no_map_are_refused_before_training(
    tiny: Tiny, capsys: pytest.CaptureFixture[str], layer: str, said: str
) -> None:
    changes = (*CHANGES[:-1], (CHANGES[-1][0], f"faithfulness: {{layers: [{layer}]}}"))
    assert main(["run", str(tiny(*changes)), "--out", "run"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [said in line for line in lines] == [True, True]
    assert not list(Path("run").rglob("*.safetensors"))
