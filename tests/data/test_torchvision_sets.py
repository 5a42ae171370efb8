"""The sets that torchvision fetches: found, missing, broken, and never fetched unasked."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
import torchvision.datasets
from small_sets import (
    TEST,
    TRAIN,
    colour,
    encoded,
    grey,
    idx_bytes,
    md5,
    shrink,
    write_cifar,
    write_idx_set,
)

from bench.data import catalog
from bench.data.torchvision_sets import IMAGENETTE
from bench.errors import DataError

FETCHED = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "svhn": "SVHN",
    "imagenette": "Imagenette",
}


def message(name: str, root: Path, **options: Any) -> str:
    with pytest.raises(DataError) as raised:
        catalog.load(name, root=root, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture
def small_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shrink(monkeypatch, "mnist")
    return write_idx_set(tmp_path)


@pytest.mark.parametrize("name", FETCHED)
def test_a_missing_set_is_one_clear_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("a download was begun without --download")

    for module in (torchvision.datasets.mnist, torchvision.datasets.cifar):
        monkeypatch.setattr(module, "download_and_extract_archive", refuse)
    text = message(name, tmp_path / "data")
    facts = catalog.info(name)
    assert facts is not None
    assert str(tmp_path / "data") in text
    assert "--data DIR or $BENCH_DATA" in text
    assert f"`bench run --download` fetches it ({facts.download_mb:,} MB)" in text
    assert catalog.missing(name, tmp_path / "data") == text
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", FETCHED)
def test_only_download_downloads_and_failures_are_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(*_: Any, **__: Any) -> NoReturn:
        calls.append(name)
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", fail)
    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", fail)
    monkeypatch.setattr(torchvision.datasets.imagenette, "download_and_extract_archive", fail)
    monkeypatch.setattr(torchvision.datasets.svhn, "download_url", fail)
    text = message(name, tmp_path, download=True)
    assert calls == [name]
    assert text.startswith(f"{name} could not be downloaded to {tmp_path}: ")
    assert "no route to host" in text


def test_download_fetches_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, "mnist")
    monkeypatch.setattr(
        torchvision.datasets.MNIST, "download", lambda self: write_idx_set(Path(self.root))
    )
    assert len(catalog.load("mnist", root=tmp_path, download=True).train) == TRAIN


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_sets(
    name: str, compressed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(monkeypatch, name)
    write_idx_set(tmp_path, FETCHED[name], compressed)
    dataset = catalog.load(name, root=tmp_path)
    assert dataset.train.images.shape == (TRAIN, 1, 28, 28)
    assert np.array_equal(dataset.test.images[:, 0], grey(TEST, seed=TEST))
    assert dataset.train.labels is not None
    assert dataset.train.labels.tolist() == [*range(10), *range(10)]
    assert dataset.num_classes == 10
    if not compressed:
        theirs = getattr(torchvision.datasets, FETCHED[name])(tmp_path)
        assert torch.equal(theirs.data, dataset.train.images[:, 0])


@pytest.mark.parametrize(
    ("file", "data", "expected"),
    [
        ("train-images-idx3-ubyte", idx_bytes(grey(TRAIN))[:-9], "truncated"),
        ("train-images-idx3-ubyte", b"<html>not found</html>", "not an IDX file"),
        ("t10k-images-idx3-ubyte", idx_bytes(grey(9)), "holds 9 x 28 x 28 pixels, expected 10 x"),
        ("t10k-images-idx3-ubyte", idx_bytes(grey(TEST, 14)), "holds 10 x 14 x 14 pixels"),
        ("train-labels-idx1-ubyte", idx_bytes(np.arange(19) % 10), "holds 19 labels, expected 20"),
        ("train-labels-idx1-ubyte", idx_bytes(np.arange(20)), "label 19, outside 0..9"),
        ("t10k-labels-idx1-ubyte", idx_bytes(np.zeros(10)), "test split has only one class"),
        ("t10k-labels-idx1-ubyte", idx_bytes(grey(1)), "IDX magic number 00000803"),
    ],
)
def test_a_broken_idx_file_is_named(
    small_mnist: Path, file: str, data: bytes, expected: str
) -> None:
    (small_mnist / file).write_bytes(data)
    text = message("mnist", small_mnist.parents[1])
    assert str(small_mnist / file) in text
    assert expected in text


def test_one_missing_idx_file_is_named(small_mnist: Path) -> None:
    (small_mnist / "t10k-labels-idx1-ubyte").unlink()
    assert "no MNIST/raw/t10k-labels-idx1-ubyte there" in message("mnist", small_mnist.parents[1])


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar(name: str, classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, monkeypatch, FETCHED[name])
    dataset = catalog.load(name, root=tmp_path)
    assert dataset.train.images.shape[1:] == (3, 32, 32)
    assert np.array_equal(dataset.train.images[:TEST].permute(0, 2, 3, 1), colour(TEST, seed=0))
    assert dataset.classes[-1] == f"class {classes - 1}"


@pytest.mark.parametrize("file", ["data_batch_2", "test_batch", "batches.meta"])
def test_a_broken_cifar_file_is_named(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_cifar(tmp_path, monkeypatch)
    broken = folder / file
    broken.write_bytes(broken.read_bytes()[:-1])
    text = message("cifar10", tmp_path)
    assert text.startswith(f"{broken}: its MD5 sum is not that of cifar10")
    assert "--download" in text
    assert catalog.missing("cifar10", tmp_path) is None  # it is there; only loading reads it
    broken.unlink()
    text = message("cifar10", tmp_path)
    assert f"no cifar-10-batches-py/{file} there" in text
    assert catalog.missing("cifar10", tmp_path) == text


@pytest.fixture
def small_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    matlab = pytest.importorskip("scipy.io")
    source = torchvision.datasets.SVHN
    sums = dict(source.split_list)
    for part, count in (("train", TRAIN), ("test", TEST)):
        url, file, _ = sums[part]
        labels = np.arange(count)[:, None] % 10 + 1  # theirs are 1..10, ten is the digit 0
        matlab.savemat(tmp_path / file, {"X": colour(count).transpose(1, 2, 3, 0), "y": labels})
        sums[part] = [url, file, md5(tmp_path / file)]
    monkeypatch.setattr(source, "split_list", sums)
    return tmp_path


def test_svhn(small_svhn: Path) -> None:
    assert catalog.missing("svhn", small_svhn) is None
    dataset = catalog.load("svhn", root=small_svhn)
    assert np.array_equal(dataset.train.images.permute(0, 2, 3, 1), colour(TRAIN))
    assert dataset.test.labels is not None
    assert dataset.test.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


def test_a_broken_svhn_file_is_named(small_svhn: Path) -> None:
    (small_svhn / "test_32x32.mat").write_bytes(b"MATLAB")
    assert message("svhn", small_svhn).startswith(f"{small_svhn / 'test_32x32.mat'}: its MD5")


def test_svhn_without_scipy(small_svhn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "need scipy" in message("svhn", small_svhn)


@pytest.fixture
def small_imagenette(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shrink(monkeypatch, "imagenette")
    for split, count in (("train", TRAIN // 10), ("val", TEST // 10)):
        for seed, wnid in enumerate(IMAGENETTE):
            folder = tmp_path / "imagenette2" / split / wnid
            folder.mkdir(parents=True)
            for number in range(count):
                picture = np.tile(grey(1, 40, seed)[0], (1, 2)) if number else colour(1, 50)[0]
                (folder / f"{number}.JPEG").write_bytes(encoded(picture, "JPEG"))
    return tmp_path


def test_imagenette(small_imagenette: Path) -> None:
    assert catalog.missing("imagenette", small_imagenette) is None
    dataset = catalog.load("imagenette", root=small_imagenette)
    assert dataset.train.images.shape == (TRAIN, 3, 128, 128)
    assert dataset.classes[0] == "tench"
    theirs = torchvision.datasets.Imagenette(small_imagenette)
    assert dataset.train.labels is not None
    assert dataset.train.labels.tolist() == [label for _, label in theirs]
    assert tuple(names[0] for names in theirs.classes) == dataset.classes


def test_imagenette_with_its_papers_sizes(small_imagenette: Path) -> None:
    dataset = catalog.load("imagenette", root=small_imagenette, image_size=64, train_size=78)
    assert dataset.train.images.shape == (TRAIN, 3, 78, 78)
    assert dataset.image_size == 64


def test_broken_imagenette(small_imagenette: Path) -> None:
    broken = small_imagenette / "imagenette2" / "val" / "n03028079" / "0.JPEG"
    broken.write_bytes(broken.read_bytes()[:300])
    assert str(broken) in message("imagenette", small_imagenette)
    (broken.parent / "1.JPEG").write_bytes(io.BytesIO().getvalue())
    text = message("imagenette", small_imagenette)
    assert "11 images, Imagenette has 10" in text
    assert f"delete {small_imagenette / 'imagenette2'}" in text
