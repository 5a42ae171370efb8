"""The embedded set, and the script that draws it."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from small_sets import idx_bytes

from bench.data import catalog, draw_mini, embedded
from bench.errors import DataError


def test_it_loads_without_any_file(tmp_path: Path) -> None:
    mini = catalog.load("fashion-mnist-mini", root=tmp_path / "nowhere")
    assert (len(mini.train), len(mini.test), mini.num_classes) == (4000, 1000, 10)
    assert mini.train.images.shape[1:] == (1, 28, 28)
    assert mini.train.images.dtype == torch.uint8
    assert mini.train.images.is_contiguous()
    for split, share in ((mini.train, 400), (mini.test, 100)):
        assert split.labels is not None
        assert split.labels.dtype == torch.int64
        assert split.labels.bincount().tolist() == [share] * 10


def test_its_statistics_are_nearly_those_of_the_full_set(tmp_path: Path) -> None:
    mini = catalog.load("fashion-mnist-mini", root=tmp_path)
    pixels = mini.train.images.double() / 255
    assert float(pixels.mean()) == pytest.approx(mini.mean[0], abs=0.01)
    assert float(pixels.std()) == pytest.approx(mini.std[0], abs=0.01)


def test_it_can_be_learned(tmp_path: Path) -> None:
    """Labels belong to their images: the nearest class mean is right far more often than chance."""
    mini = catalog.load("fashion-mnist-mini", root=tmp_path)
    assert mini.train.labels is not None
    train, test = (split.images.flatten(1).float() for split in (mini.train, mini.test))
    means = torch.stack([train[mini.train.labels == label].mean(0) for label in range(10)])
    guesses = torch.cdist(test, means).argmin(1)
    assert float((guesses == mini.test.labels).float().mean()) > 0.6


def test_its_files_are_small_and_carry_their_licence() -> None:
    size = sum(
        embedded.mosaic_path(embedded.FOLDER, part).stat().st_size for part in embedded.SHA256
    )
    assert size <= 3_000_000
    notice = (embedded.FOLDER / "LICENSE-Fashion-MNIST").read_text(encoding="utf-8")
    assert "Copyright © 2017 Zalando SE, https://tech.zalando.com" in notice
    assert "THE SOFTWARE IS PROVIDED" in notice


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "altered":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif how == "other":
        shutil.copy(path.with_name(path.name.replace("test", "train")), path)
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["truncated", "altered", "other", "missing"])
def test_damage_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    folder = tmp_path / "mini"
    shutil.copytree(embedded.FOLDER, folder)
    monkeypatch.setattr(embedded, "FOLDER", folder)
    broken = embedded.mosaic_path(folder, "test")
    damage(broken, how)
    with pytest.raises(DataError) as raised:
        catalog.load("fashion-mnist-mini", root=tmp_path)
    assert str(broken) in str(raised.value)
    assert "reinstall" in str(raised.value)


def test_mosaic_round_trip() -> None:
    images = np.random.default_rng(0).integers(0, 256, (150, 28, 28), np.uint8)
    mosaic = embedded.to_mosaic(images)
    assert mosaic.shape == (84, 1400)
    assert np.array_equal(embedded.from_mosaic(mosaic), images)


def write_raw(folder: Path, per_class: int) -> None:
    folder.mkdir()
    for stem in ("train", "t10k"):
        labels = np.arange(per_class * 10) // per_class
        images = np.repeat(labels * 20, 784).reshape(-1, 28, 28)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            path = folder / f"{stem}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(idx_bytes(array), 1))


def test_drawing_is_balanced_and_repeatable(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", per_class=410)
    for out in ("one", "two"):
        assert draw_mini.main([str(tmp_path / "raw"), str(tmp_path / out)]) == 0
    for part in ("train", "test"):
        one, two = (embedded.mosaic_path(tmp_path / out, part) for out in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    labels = np.repeat(np.arange(10, dtype=np.uint8), 410)
    chosen = draw_mini.chosen(labels, "train")
    assert labels[chosen].tolist() == [*range(10)] * 400
    assert len(set(chosen)) == 4000


def test_drawing_from_too_few_or_no_images_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raw(tmp_path / "raw", per_class=50)
    for raw, message in ((tmp_path / "raw", "400"), (tmp_path / "gone", "no train-images")):
        with pytest.raises(SystemExit) as raised:
            draw_mini.main([str(raw), str(tmp_path / "out")])
        assert raised.value.code == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_committed_files_come_from_the_script(tmp_path: Path, shared_data: Path) -> None:
    assert draw_mini.main([str(shared_data / "FashionMNIST" / "raw"), str(tmp_path)]) == 0
    from PIL import Image

    for part, digest in embedded.SHA256.items():
        with Image.open(embedded.mosaic_path(tmp_path, part)) as picture:
            assert embedded.digest(np.asarray(picture)) == digest
