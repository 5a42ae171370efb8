"""The faithfulness measure: a class goes with the pixels that a true heatmap marks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from measure_parts import context
from test_localization import Looking, squares
from torch import nn

from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.measures import base, faithfulness
from bench.measures.base import Found


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


def test_it_is_registered() -> None:
    assert base.load("faithfulness") is faithfulness.MEASURE
    assert (
        faithfulness.forwards(faithfulness.MEASURE.items(faithfulness.Options())[0].options, 100)
        == 6000
    )
