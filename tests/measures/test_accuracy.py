"""Accuracy, overall and per class, against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from measure_parts import CLASSES, Bright, Overflowing, context, first_pixels

from bench.errors import BenchError
from bench.measures import base

CELLS = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 2)), min_size=1, max_size=60)


def test_by_hand() -> None:
    dataset = first_pixels([0, 200, 0, 255, 10], [0, 1, 1, 1, 0])
    found = base.load("accuracy").run(context(dataset, Bright()))
    assert isinstance(found, base.Found)
    assert found.metrics == pytest.approx(
        {"top1": 80.0, "top1[dark]": 100.0, "top1[bright]": 200 / 3}
    )
    assert found.arrays["prediction"].tolist() == [0, 1, 0, 1, 0]
    assert found.arrays["label"].tolist() == [0, 1, 1, 1, 0]
    assert {array.dtype for array in found.arrays.values()} == {np.dtype(np.int64)}


@given(cells=CELLS)
def test_by_counting(cells: list[tuple[int, int]]) -> None:
    values, labels = (list(part) for part in zip(*cells, strict=True))
    found = base.load("accuracy").run(context(first_pixels(values, labels), Bright()))
    assert isinstance(found, base.Found)
    right = [int(value > 127) == label for value, label in cells]
    assert found.metrics["top1"] == pytest.approx(100 * sum(right) / len(right))
    for number, name in enumerate(CLASSES):
        of_class = [hit for hit, label in zip(right, labels, strict=True) if label == number]
        if of_class:
            expected = 100 * sum(of_class) / len(of_class)
            assert found.metrics[f"top1[{name}]"] == pytest.approx(expected)
        else:
            assert f"top1[{name}]" not in found.metrics, "not NaN in a table"


def test_nan_is_no_class_and_is_told() -> None:
    """As the largest of all to `argmax` it would be the first class, of which all were right."""
    dataset = first_pixels([0, 10, 255, 200], [0, 0, 1, 1])
    with pytest.warns(UserWarning, match="gives NaN for 2 of 4 test images of pixels"):
        found = base.load("accuracy").run(context(dataset, Overflowing()))
    assert isinstance(found, base.Found)
    assert found.arrays["prediction"].tolist() == [-1, 0, -1, 1]
    assert found.metrics == {"top1": 50.0, "top1[dark]": 50.0, "top1[bright]": 50.0}


def test_more_images_than_a_batch() -> None:
    values = [255 * (number % 3 == 0) for number in range(1203)]
    dataset = first_pixels(values, [number % 2 for number in range(1203)])
    found = base.load("accuracy").run(context(dataset, Bright()))
    assert isinstance(found, base.Found)
    assert found.arrays["prediction"].tolist() == [int(value > 0) for value in values]


def test_without_test_labels() -> None:
    with pytest.raises(BenchError, match="pixels: has no test labels to measure accuracy with"):
        base.load("accuracy").run(context(first_pixels([0], None), Bright()))


def three(_: base.Context) -> dict[str, float]:
    return {"x": 3.0}


def test_a_plain_function_is_a_measure() -> None:
    measure = base.load("test_accuracy:three")
    assert measure.name == "three"
    assert measure.run(context(first_pixels([0], [0]), Bright())) == {"x": 3.0}
    (item,) = measure.items(measure.options())
    assert (item.label, item.key) == (None, {})
    with pytest.raises(BenchError, match="is neither a Measure nor a function"):
        base.load("test_accuracy:CLASSES")
