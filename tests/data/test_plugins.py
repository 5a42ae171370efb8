"""Data sets of third parties: by `module:attribute` and by entry point."""

from __future__ import annotations

import sys
import types
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from small_sets import tensors, toy_dataset

from bench.data import catalog
from bench.data.dataset import Dataset, DatasetInfo, DatasetPlugin, Split
from bench.errors import BenchError, DataError

FACTS = DatasetInfo("a toy", 1, 8, 2, 6, 4, (0.5,), (0.25,))


def plain(root: Path, *, download: bool = False, shade: int = 0) -> Dataset:
    return toy_dataset(train=Split(tensors().images // 2 + shade, tensors().labels))


def anything(root: Path, *, download: bool = False, **options: object) -> Dataset:
    return toy_dataset(classes=tuple(sorted({"b", *options})))


def own_size(root: Path, *, download: bool = False, image_size: int = 8) -> Dataset:
    return toy_dataset(train=tensors(side=image_size * 2), test=tensors(side=image_size))


def told(root: Path, *, download: bool = False) -> Dataset:
    raise DataError(f"{root}: told so, download={download}")


def broken(root: Path, *, download: bool = False) -> Dataset:
    raise KeyError("split\nand more")


def leaves(root: Path, *, download: bool = False) -> Dataset:
    raise SystemExit(3)


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module `toys` with the factories above and a few things that are none."""
    toys = types.ModuleType("toys")
    toys.__dict__.update(
        plain=plain,
        anything=anything,
        own_size=own_size,
        told=told,
        broken=broken,
        known=DatasetPlugin(plain, FACTS),
        number=3,
        leaves=leaves,
        misstated=DatasetPlugin(plain, {"channels": 1}),  # type: ignore[arg-type]
        nothing=lambda root, download=False: None,
        out_of_range=lambda root, download=False: toy_dataset(classes=("a",)),
        no_images=lambda root, download=False: toy_dataset(test=Split(None, None)),  # type: ignore[arg-type]
        no_test=lambda root, download=False: toy_dataset(test=None),
        wide=lambda root, download=False: toy_dataset(
            train=Split(tensors().images[..., :6, :], tensors().labels)
        ),
    )
    monkeypatch.setitem(sys.modules, "toys", toys)
    return toys


def message(name: str, root: Path, **options: Any) -> str:
    with pytest.raises(BenchError) as raised:
        catalog.load(name, root=root, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_plain_callable(tmp_path: Path) -> None:
    dataset = catalog.load("toys:plain", root=tmp_path, shade=7)
    assert dataset.name == "plain"
    assert int(dataset.train.images.min()) >= 7
    assert catalog.info("toys:plain") is None


def test_a_plugin_with_facts(tmp_path: Path) -> None:
    assert catalog.info("toys:known") == FACTS
    assert len(catalog.load("toys:known", root=tmp_path).train) == 6


def test_image_size_is_applied_for_all(tmp_path: Path) -> None:
    assert catalog.load("toys:plain", root=tmp_path, image_size=6).image_size == 6
    assert catalog.load("toys:wide", root=tmp_path, image_size=6).train.images.shape[2:] == (6, 6)
    assert catalog.load("toys:anything", root=tmp_path, a=1, image_size=6).image_size == 6


def test_a_factory_may_apply_image_size_itself(tmp_path: Path) -> None:
    dataset = catalog.load("toys:own_size", root=tmp_path, image_size=6)
    assert dataset.train.images.shape[2:] == (12, 12)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("toys:plain", {"shadow": 1}, "unknown option 'shadow'; did you mean 'shade'?"),
        (
            "toys:known",
            {"x": 1},
            "unknown option 'x'; known: image_size, shade, test_samples, train_samples",
        ),
        (
            "toys:nothing",
            {"x": 1},
            "unknown option 'x'; known: image_size, test_samples, train_samples",
        ),
        ("toys:number", {}, "dataset 'toys:number': a int is no data-set factory"),
        ("toys:nothing", {}, "dataset 'toys:nothing': returned NoneType, not a Dataset"),
        ("toys:broken", {}, "dataset 'toys:broken': loading failed: KeyError: "),
        ("toys:leaves", {}, "dataset 'toys:leaves': loading failed: SystemExit: 3"),
        ("toys:misstated", {}, "dataset 'toys:misstated': its info is a dict, not a DatasetInfo"),
        ("toys:misstated", {"train_samples": 4}, "its info is a dict, not a DatasetInfo"),
        ("toys:out_of_range", {}, "dataset 'toys:out_of_range': the training split has label 1"),
        ("toys:wide", {}, "the training images are 8 x 6 pixels, not square; set image_size"),
        ("toys:no_test", {}, "dataset 'toys:no_test': the test split is NoneType, not a Split"),
        ("toys:no_images", {}, "dataset 'toys:no_images': "),
        ("toys:gone", {}, "does not import: AttributeError"),
        ("no_such_module_here:x", {}, "does not import: ModuleNotFoundError"),
    ],
)
def test_mistakes_name_the_plugin(
    tmp_path: Path, name: str, options: dict[str, object], expected: str
) -> None:
    assert expected in message(name, tmp_path, **options)


def test_info_that_is_none_is_told_with_the_options_of_every_set_too() -> None:
    with pytest.raises(DataError, match="its info is a dict, not a DatasetInfo"):
        catalog.info("toys:misstated", {"train_samples": 4})
    assert catalog.validate("toys:misstated", {"train_samples": 4}) is None  # `load` tells


def test_a_factory_speaks_for_itself(tmp_path: Path) -> None:
    assert message("toys:told", tmp_path, download=True) == f"{tmp_path}: told so, download=True"


def test_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = metadata.EntryPoints(
        [
            metadata.EntryPoint("toy", "toys:known", "bench.datasets"),
            metadata.EntryPoint("odd", "toys:out_of_range", "bench.datasets"),
            metadata.EntryPoint("mnist", "toys:plain", "bench.datasets"),
        ]
    )
    monkeypatch.setattr(metadata, "entry_points", lambda **_: points)
    monkeypatch.delitem(catalog.REGISTRY.__dict__, "entries", raising=False)
    try:
        dataset = catalog.load("toy", root=tmp_path)
        assert (dataset.name, catalog.label("toy")) == ("toy", "toy")
        assert catalog.info("toy", {"image_size": 16}) is not None
        assert "did you mean 'toy'?" in (catalog.validate("toyy") or "")
        assert "dataset 'odd' (toys:out_of_range): " in message("odd", tmp_path)
        facts = catalog.info("mnist")
        assert facts is not None
        assert facts.train_samples == 60_000  # a built-in name cannot be taken over
    finally:
        catalog.REGISTRY.__dict__.pop("entries", None)
