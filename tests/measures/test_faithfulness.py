"""The faithfulness measure: a class goes with the pixels that a true heatmap marks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from measure_parts import context
from test_localization import Looking, squares
from torch import Tensor, nn

from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.measures import base, faithfulness
from bench.measures.base import Found
from leaderboard import Removed, Results
from leaderboard.numbers.faithfulness import compare


def measured(dataset: Dataset, backbone: nn.Module, **options: Any) -> Found:
    (item,) = faithfulness.MEASURE.items(faithfulness.Options.model_validate(options))
    return faithfulness.run(context(dataset, backbone, item.options))


def test_curves_start_and_end_where_they_must() -> None:
    found = measured(squares(), Looking(), method="hires-cam", steps=16, insertion="zero")
    clean = found.arrays["clean"]
    assert found.arrays["deletion"].shape == (12, 17)
    np.testing.assert_allclose(found.arrays["deletion"][:, 0], clean)
    np.testing.assert_allclose(found.arrays["insertion"][:, -1], clean)
    # Black images are one half left and one half right.
    np.testing.assert_allclose(found.arrays["deletion"][:, -1], 0.5)
    np.testing.assert_allclose(found.arrays["insertion"][:, 0], 0.5)
    # All of the object is a quarter of the pixels: with it the class is gone.
    assert (found.arrays["deletion"][:, 4] < 0.6).all()
    assert found.metrics["insertion_auc"] > found.metrics["deletion_auc"] + 20


def test_images_come_in_batches_of_any_size_and_need_no_labels() -> None:
    dataset = squares()
    whole = measured(dataset, Looking(), method="grad-cam", steps=8)
    parts = measured(dataset, Looking(), method="grad-cam", steps=8, batch_size=5)
    assert parts.metrics == pytest.approx(whole.metrics)
    bare = replace(dataset, test=replace(dataset.test, labels=None))
    assert measured(bare, Looking(), method="grad-cam", steps=8).metrics == whole.metrics
    some = measured(bare, Looking(), method="grad-cam", steps=8, samples=5)
    assert len(some.arrays["index"]) == 5


def test_what_cannot_be_done_is_told() -> None:
    with pytest.raises(BenchError, match=r"every heatmap of layer 'map' is 0/0"):
        measured(squares(), Looking(scale=1e4))
    with pytest.raises(BenchError, match="steps must be 1 to 64"):
        measured(squares(), Looking(), method="grad-cam", steps=65)


class Standardizing(nn.Module):
    """Divides each image by its standard deviation first: 0/0 where all of it is one grey."""

    def __init__(self) -> None:
        super().__init__()
        self.then = Looking()

    def forward(self, images: Tensor) -> Tensor:
        spread = images.std((1, 2, 3), keepdim=True)
        logits: Tensor = self.then((images - images.mean((1, 2, 3), keepdim=True)) / spread)
        return logits


def test_a_network_that_cannot_judge_what_is_left_is_told() -> None:
    network, options = Standardizing(), {"method": "hires-cam", "layers": ["then.map"]}
    with pytest.raises(BenchError, match=r"NaN for 12 of 12 images .*\(zero\); .*`deletion: blur`"):
        measured(squares(), network, **options)
    with pytest.raises(BenchError, match=r"NaN for 12 of 12 images .*mean.*`insertion: blur`"):
        measured(squares(), network, deletion="blur", insertion="mean", **options)
    measured(squares(), network, deletion="blur", **options)
    black = squares()
    black.test.images[3] = 0
    with pytest.raises(BenchError, match=r"NaN for 1 of 12 images as they are"):
        measured(black, network, deletion="blur", **options)


def test_the_page_has_the_area_of_the_measure_where_steps_do_not_divide_the_pixels() -> None:
    found = measured(squares(), Looking(), method="hires-cam", steps=28, insertion="zero")
    assert found.metrics["pixels"] == 64
    names = ("index", "clean", "deletion", "insertion")
    cell = Removed(
        "squares", "net", "bu", 0, **{name: found.arrays[name] for name in names}, pixels=64
    )
    (one,) = compare(Results("t", (), {}, removed=(cell,)), "squares")
    for name, estimate in one.networks[0].figures.items():
        assert estimate.summary.mean == pytest.approx(found.metrics[f"{name}_relative"])


def test_more_steps_than_pixels_are_refused_before_training() -> None:
    for steps, said in ((64, ""), (65, "steps must be 1 to 64 (pixels), not 65")):
        (item,) = faithfulness.MEASURE.items(faithfulness.Options(steps=steps))
        assert faithfulness.MEASURE.refusal(item.options, squares()) == said


def test_it_is_registered() -> None:
    assert base.load("faithfulness") is faithfulness.MEASURE
    assert (
        faithfulness.forwards(faithfulness.MEASURE.items(faithfulness.Options())[0].options, 100)
        == 6000
    )
