"""Names, options, labels and facts: what a suite's `datasets` may say, without loading anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_sets import colour, grey, write_folder, write_parquet

from bench.data import catalog
from bench.data.table import FORMATS, SETS
from bench.errors import BenchError, DataError, UnknownNameError


def test_facts_and_checks_need_no_torch() -> None:
    code = """
import sys
from bench.data import catalog
for row in catalog.REGISTRY.rows():
    catalog.info(row.entry.name), catalog.validate(row.entry.name), catalog.label(row.entry.name)
heavy = {"torch", "numpy", "pandas", "PIL", "pyarrow", "torchvision"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_registry_lists_all_sets_and_formats() -> None:
    names = {row.entry.name for row in catalog.REGISTRY.rows() if row.entry.source == "built in"}
    assert names == {*SETS, *(f"{scheme}:PATH" for scheme in FORMATS)}
    assert all(row.summary for row in catalog.REGISTRY.rows())


@pytest.mark.parametrize("name", SETS)
def test_facts_of_built_in_sets_are_consistent(name: str) -> None:
    facts = catalog.info(name)
    assert facts is not None
    assert len(facts.mean) == len(facts.std) == facts.channels
    assert all(0 < value < 1 for value in (*facts.mean, *facts.std))
    assert facts.test_labels
    assert facts.train_samples > facts.test_samples >= facts.num_classes
    assert (facts.download_mb == 0) == (name == "fashion-mnist-mini")


def test_info_takes_the_image_size_into_account() -> None:
    resized = catalog.info("mnist", {"image_size": 32})
    assert resized is not None
    assert resized.image_size == 32


def test_info_of_a_placeholder_is_unknown() -> None:
    assert catalog.info("parquet:PATH") is None


def write_own(folder: Path, scheme: str, images: list[np.ndarray]) -> None:
    """A data set `own` of two classes; each split has these images for either."""
    if scheme == "parquet":
        write_parquet(folder / "own", images * 2, [0, 1] * len(images))
    else:
        write_folder(folder / "own", images, ["cat", "dog"])


@pytest.mark.parametrize("scheme", ["imagefolder", "parquet"])
def test_info_of_own_data(tmp_path: Path, scheme: str) -> None:
    images = [colour(1, side=12)[0]] * 3
    write_own(tmp_path, scheme, images)
    facts = catalog.info(f"{scheme}:own", base=tmp_path)
    assert facts is not None
    assert (facts.channels, facts.image_size, facts.num_classes) == (3, 12, 2)
    assert (facts.train_samples, facts.test_samples) == (6, 6)
    assert facts.mean == ()
    resized = catalog.info(f"{scheme}:own", {"image_size": 8}, tmp_path)
    assert resized is not None
    assert resized.image_size == 8


@pytest.mark.parametrize("scheme", ["imagefolder", "parquet"])
def test_a_grey_picture_at_the_head_of_coloured_ones_is_no_grey_set(
    tmp_path: Path, scheme: str
) -> None:
    images = [grey(1, side=12)[0], colour(1, side=12)[0]]
    write_own(tmp_path, scheme, images)
    facts = catalog.info(f"{scheme}:own", base=tmp_path)
    assert facts is not None
    loaded = catalog.load(f"{scheme}:own", root=tmp_path, base=tmp_path)
    assert (facts.channels, loaded.channels) == (3, 3)


@pytest.mark.parametrize("scheme", ["imagefolder", "parquet"])
def test_info_of_a_grey_set_has_one_channel(tmp_path: Path, scheme: str) -> None:
    images = list(grey(3, side=12))
    write_own(tmp_path, scheme, images)
    facts = catalog.info(f"{scheme}:own", base=tmp_path)
    assert facts is not None
    assert facts.channels == 1


def test_info_of_a_missing_folder_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*gone"):
        catalog.info("imagefolder:gone", base=tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("fashion-mnist-mini", {}, None),
        ("imagenette", {"image_size": 128, "train_size": 156}, None),
        ("some.module:attribute", {"anything": 1}, None),
        ("fashion-mnst", {}, "unknown dataset 'fashion-mnst'; did you mean 'fashion-mnist'?"),
        ("paquet:a/b", {}, "unknown dataset 'paquet:a/b'; did you mean 'parquet:a/b'?"),
        ("imagefolder", {}, "did you mean 'imagefolder:PATH'?"),
        ("", {}, "unknown dataset ''"),
        ("nothing like it", {}, "known: cifar10, "),
        ("mnist", {"image_sise": 3}, "unknown option 'image_sise'; did you mean 'image_size'?"),
        ("mnist", {"train_size": 30}, "unknown option 'train_size'"),
        (
            "mnist",
            {"trainsamples": 30},
            "unknown option 'trainsamples'; did you mean 'train_samples'?",
        ),
        (
            "mnist",
            {"shuffle": True},
            "unknown option 'shuffle'; known: image_size, test_samples, train_samples",
        ),
        ("mnist", {"image_size": 3}, "option 'image_size': 3 is not a whole number of pixels"),
        ("mnist", {"image_size": True}, "option 'image_size': True is not"),
        ("mnist", {"image_size": "28"}, "option 'image_size': '28' is not"),
        ("mnist", {"image_size": None}, "option 'image_size': None is not"),
        ("some.module:attribute", {"image_size": 28.0}, "option 'image_size': 28.0 is not"),
        ("some.module:attribute", {"root": "/x"}, "option 'root' is not for a suite to set"),
        ("parquet:", {}, "a folder must follow 'parquet:'"),
        ("parquet:gone", {}, "no folder"),
        ("parquet:gone", {"image_column": 3}, "option 'image_column': 3 is not a name"),
        ("imagefolder:" + "x" * 5000, {}, "no folder"),
        ("imagefolder:\0", {}, "no folder"),
        ("imagefolder:~nobody-at-all/x", {}, "no folder"),
    ],
)
def test_validate(
    tmp_path: Path, name: str, options: dict[str, object], expected: str | None
) -> None:
    problem = catalog.validate(name, options, tmp_path)
    assert (problem is None) if expected is None else (expected in (problem or ""))


def test_validate_finds_folders_from_the_base(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "file").touch()
    assert catalog.validate("parquet:own", base=tmp_path) is None
    assert catalog.validate(f"parquet:{tmp_path}/own") is None
    assert "is not a folder" in (catalog.validate("parquet:file", base=tmp_path) or "")


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "own", [grey(1, side=8)[0]] * 2, ["cat", "dog"])
    monkeypatch.setenv("HOME", str(tmp_path))
    assert catalog.validate("imagefolder:~/own", base=Path("/elsewhere")) is None
    assert len(catalog.load("imagefolder:~/own", root=tmp_path).train) == 4


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mnist", "mnist"),
        ("parquet:/x/cifar10", "parquet:cifar10"),
        ("parquet:/x/cifar10/", "parquet:cifar10"),
        ("imagefolder:~/photos/pets", "imagefolder:pets"),
        ("package.module:moons", "moons"),
    ],
)
def test_label(name: str, expected: str) -> None:
    assert catalog.label(name) == expected


def test_label_of_here_is_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pets").mkdir()
    monkeypatch.chdir(tmp_path / "pets")
    assert catalog.label("imagefolder:.") == "imagefolder:pets"


def test_load_refuses_what_validate_refuses(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'mnist'"):
        catalog.load("mnits", root=tmp_path)
    with pytest.raises(DataError, match="dataset 'mnist': unknown option 'colour'"):
        catalog.load("mnist", root=tmp_path, colour=True)
    with pytest.raises(BenchError, match="no folder"):
        catalog.load("parquet:gone", root=tmp_path)


def test_every_set_takes_an_image_size(tmp_path: Path) -> None:
    small = catalog.load("fashion-mnist-mini", root=tmp_path, image_size=14)
    assert small.train.images.shape == (4000, 1, 14, 14)
    assert small.image_size == 14
    full = catalog.load("fashion-mnist-mini", root=tmp_path)
    blocks = full.test.images.double().reshape(1000, 1, 14, 2, 14, 2).mean(dim=(3, 5))
    assert float((small.test.images - blocks).abs().mean()) < 8  # antialiased, not subsampled
    same = catalog.load("fashion-mnist-mini", root=tmp_path, image_size=28)
    assert np.array_equal(same.test.images, full.test.images)


def test_default_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert catalog.default_root() == tmp_path
    monkeypatch.setenv("BENCH_DATA", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert catalog.default_root().parts[-2:] == ("topdown-bench", "data")
