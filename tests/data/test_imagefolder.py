"""`imagefolder:PATH`: what it accepts, and that it names what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_sets import colour, encoded, grey, write_folder

from bench.cli import main
from bench.data import catalog
from bench.data.dataset import Dataset
from bench.errors import DataError
from bench.plan import cost

CLASSES = ("cat", "dog")


def load(path: Path, **options: Any) -> Dataset:
    return catalog.load(f"imagefolder:{path}", root=path, **options)


def message(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as raised:
        load(path, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "pets", list(colour(3, side=8)), CLASSES)


def test_colour(folder: Path) -> None:
    dataset = load(folder)
    assert dataset.name == "imagefolder:pets"
    assert dataset.classes == CLASSES
    assert dataset.train.labels is not None
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    expected = np.concatenate([colour(3, side=8)] * 2).transpose(0, 3, 1, 2)
    assert np.array_equal(dataset.train.images, expected)
    shares = dataset.train.images.double().numpy() / 255
    assert dataset.mean == pytest.approx(shares.mean(axis=(0, 2, 3)), abs=1e-12)
    assert dataset.std == pytest.approx(shares.std(axis=(0, 2, 3)), abs=1e-12)


def test_a_part_cannot_be_more_than_the_whole(folder: Path) -> None:
    assert len(load(folder, train_samples=6).train) == 6
    text = "option 'train_samples': 7 is more than there are (6 training images)"
    assert text in message(folder, train_samples=7)
    assert text in str(catalog.validate(f"imagefolder:{folder}", {"train_samples": 7}))


def test_grey_stays_one_channel(tmp_path: Path) -> None:
    dataset = load(write_folder(tmp_path / "own", list(grey(3, side=8)), CLASSES))
    assert dataset.train.images.shape == (6, 1, 8, 8)
    assert len(dataset.mean) == 1


@pytest.mark.parametrize("split", ["train", "test"])
def test_one_coloured_image_makes_all_of_them_so(tmp_path: Path, split: str) -> None:
    root = write_folder(tmp_path / "own", list(grey(3, side=8)), CLASSES)
    (root / split / "dog" / "900.png").write_bytes(encoded(colour(1, side=8)[0]))
    dataset = load(root)
    assert dataset.train.images.shape[1] == dataset.test.images.shape[1] == 3
    assert np.array_equal(dataset.train.images[0], np.stack([grey(3, side=8)[0]] * 3))


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_names_of_the_test_split(tmp_path: Path, name: str) -> None:
    root = write_folder(tmp_path / "own", list(grey(2, side=8)), CLASSES, test=name)
    assert len(load(root).test) == 4


def test_test_goes_before_val(folder: Path) -> None:
    shutil.copytree(folder / "test", folder / "val")
    (folder / "test" / "cat" / "000.png").unlink()
    assert len(load(folder).test) == 5


def test_other_files_are_passed_over(folder: Path) -> None:
    (folder / "train" / ".cache").mkdir()
    (folder / "train" / "notes.txt").touch()
    (folder / "train" / "cat" / "Thumbs.db").touch()
    (folder / "train" / "cat" / ".000.png").touch()
    (folder / "train" / "cat" / "big.PNG").write_bytes(encoded(colour(1, side=8)[0]))
    assert len(load(folder).train) == 7


def test_sizes_that_vary_need_image_size(folder: Path) -> None:
    odd = folder / "train" / "dog" / "002.png"
    odd.write_bytes(encoded(colour(1, side=9)[0][:, :8]))
    text = message(folder)
    assert text.startswith(f"{odd}: 8 x 9 pixels, but the images before it are 8 x 8")
    assert "set image_size" in text
    assert load(folder, image_size=6).train.images.shape == (6, 3, 6, 6)


def test_the_splits_may_have_different_sides(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "own", list(colour(2, side=9)), CLASSES)
    shutil.rmtree(root / "test")
    write_folder(tmp_path / "small", list(colour(2, side=7)), CLASSES)
    shutil.copytree(tmp_path / "small" / "test", root / "test")
    dataset = load(root)
    assert (dataset.train.images.shape[2], dataset.image_size) == (9, 7)


def test_training_images_may_be_larger_to_be_cropped(folder: Path) -> None:
    dataset = load(folder, image_size=6, train_size=7)
    assert dataset.train.images.shape[2:] == (7, 7)
    assert dataset.test.images.shape[2:] == (6, 6)
    assert (load(folder, train_size=7).train.images == dataset.train.images).all()
    assert "option 'train_size': 2 is not a whole number of pixels" in str(
        catalog.validate(f"imagefolder:{folder}", {"train_size": 2})
    )


def test_images_that_are_not_square_need_image_size(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "own", list(colour(2, side=9)[:, :5]), CLASSES)
    assert "9 x 5 pixels, not square; set image_size" in message(root)
    assert load(root, image_size=8).image_size == 8


SUITE = """\
name: wide
seeds: [0]
datasets: [{name: "imagefolder:own"}]
backbones: [lenet_fc]
variants: [bu, td]
recipe: {epochs: 1, batch_size: 2, lr: 0.1}
measures: [accuracy]
"""


@pytest.mark.parametrize("more", [(), ("--no-cost",)])
def test_a_plan_refuses_what_a_run_refuses(
    more: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "SECONDS_EACH", 0.02)  # how near the estimate is does not matter
    write_folder(tmp_path / "own", list(colour(2, side=19)[:, :15]), CLASSES)
    Path("wide.yaml").write_text(SUITE, encoding="utf-8")
    assert main(["run", "wide.yaml"]) == 2
    refused = capsys.readouterr().err
    assert refused.count("\n") == 1
    assert main(["plan", "wide.yaml", *more]) == 2
    assert capsys.readouterr().err == refused
    assert "the training images are 19 x 15 pixels, not square; set image_size" in refused
    sized = SUITE.replace('own"', 'own", image_size: 16')
    Path("wide.yaml").write_text(sized, encoding="utf-8")
    assert main(["plan", "wide.yaml", *more]) == 0


@pytest.mark.parametrize("content", [b"", b"no image", encoded(colour(1)[0])[:-600]])
def test_a_corrupt_image_is_named(folder: Path, content: bytes) -> None:
    broken = folder / "test" / "dog" / "001.png"
    broken.write_bytes(content)
    assert message(folder).startswith(f"{broken}: cannot be decoded (")


def test_deep_images_are_refused(folder: Path) -> None:
    deep = folder / "test" / "cat" / "000.png"
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(deep)
    assert message(folder).startswith(f"{deep}: has mode I;16, but only 8 bits a channel")


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    upright = np.zeros((8, 8, 3), np.uint8)
    upright[:4] = 255
    root = write_folder(tmp_path / "own", [upright] * 2, CLASSES)
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    Image.fromarray(upright[::-1]).save(root / "train" / "cat" / "000.png", exif=exif)
    images = load(root).train.images
    assert np.array_equal(images[0], images[1])


def test_transparency_and_palettes_become_colours(folder: Path) -> None:
    for number, mode in enumerate(("RGBA", "P", "CMYK")):
        suffix = "tif" if mode == "CMYK" else "png"
        image = Image.new("RGB", (8, 8), (255, 0, 0)).convert(mode)
        image.save(folder / "train" / "cat" / f"90{number}.{suffix}")
    images = load(folder).train.images
    assert images[3:6, 0].float().mean() > 250
    assert images[3:6, 1:].float().mean() < 5


def remove(path: Path) -> None:
    shutil.rmtree(path)


def test_a_palette_with_transparency_is_read_without_a_warning(
    folder: Path, recwarn: pytest.WarningsRecorder
) -> None:
    picture = Image.fromarray(colour(1, side=8)[0]).quantize(16)
    expected = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    picture.save(folder / "train" / "cat" / "000.png", transparency=bytes(range(16)))
    assert np.array_equal(load(folder).train.images[0], expected)
    assert not [str(each.message) for each in recwarn]


def test_folders_that_are_missing_or_empty(folder: Path) -> None:
    remove(folder / "test" / "dog")
    assert f"{folder / 'test'}: has no folder of class 'dog'" in message(folder)
    (folder / "test" / "dog").mkdir()
    assert message(folder).startswith(f"{folder / 'test' / 'dog'}: no images (.bmp, ")
    (folder / "test" / "eel").mkdir()
    assert f"{folder / 'test'}: has a folder of an unknown class 'eel'" in message(folder)
    remove(folder / "test")
    assert message(folder) == (
        f"{folder}: no folder test, val, valid or validation; its test images belong there"
    )
    remove(folder / "train" / "dog")
    (folder / "test").mkdir()
    assert f"{folder / 'train'}: 1 class folder, at least two" in message(folder)
    remove(folder / "train" / "cat")
    assert f"{folder / 'train'}: no class folders" in message(folder)
    remove(folder / "train")
    assert message(folder) == (
        f"no folder {folder / 'train'}; images belong into {folder}/train/CLASS and "
        f"{folder}/test/CLASS"
    )
    remove(folder)
    assert f"no folder {folder}" in message(folder)


def test_of_many_classes_an_error_names_some(tmp_path: Path) -> None:
    for split, count in (("train", 100), ("test", 99)):
        for number in range(count):
            folder = tmp_path / split / f"n{number:02}"
            folder.mkdir(parents=True)
            (folder / "0.png").touch()
    found = message(tmp_path)
    assert "has no folder of class 'n99'; the classes are n00, n01, n02" in found
    assert found.endswith("n11 and 88 more")
