"""The complete real sets, where they are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.data import catalog, pixels
from bench.data.table import SETS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_sets(shared_data: Path, name: str) -> None:
    dataset = catalog.load(name, root=shared_data)
    facts = SETS[name].info
    assert (len(dataset.train), len(dataset.test)) == (facts.train_samples, facts.test_samples)
    mean, std = pixels.moments(dataset.train.images.numpy())
    assert mean == pytest.approx(facts.mean, abs=1e-4)
    assert std == pytest.approx(facts.std, abs=1e-4)


def test_the_embedded_set_is_part_of_the_full_one(shared_data: Path) -> None:
    full = catalog.load("fashion-mnist", root=shared_data)
    mini = catalog.load("fashion-mnist-mini", root=shared_data)
    assert mini.classes == full.classes
    for part, whole in ((mini.train, full.train), (mini.test, full.test)):
        assert whole.labels is not None
        assert part.labels is not None
        known = {
            (image.numpy().tobytes(), int(label))
            for image, label in zip(whole.images, whole.labels, strict=True)
        }
        assert all(
            (image.numpy().tobytes(), int(label)) in known
            for image, label in zip(part.images, part.labels, strict=True)
        )


def test_cifar10_as_parquet(shared_data: Path) -> None:
    dataset = catalog.load("parquet:cifar10", root=shared_data, base=shared_data)
    facts = SETS["cifar10"].info
    assert dataset.train.images.shape == (50_000, 3, 32, 32)
    assert len(dataset.test) == 10_000
    assert dataset.classes[:2] == ("airplane", "automobile")
    assert np.allclose(dataset.mean, facts.mean, atol=2e-3)


def test_imagenette_as_parquet(shared_data: Path) -> None:
    dataset = catalog.load(f"parquet:{shared_data}/imagenette", root=shared_data)
    assert dataset.train.images.shape == (9_469, 3, 156, 156)
    assert dataset.test.images.shape == (3_925, 3, 128, 128)
    assert dataset.num_classes == 10
    facts = catalog.info(f"parquet:{shared_data}/imagenette")
    assert facts is not None
    assert (facts.train_samples, facts.test_samples) == (len(dataset.train), len(dataset.test))
    assert facts.image_size == dataset.image_size
