"""The built-in sets that torchvision knows how to fetch, in its layout below the root folder.

torchvision downloads, and reads where it checks a file's MD5 sum itself. It only asks whether
MNIST's and Imagenette's files exist, so those are read here, each one checked. Missing or broken
files are named one by one: torchvision says "not found or corrupted" of the whole set.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.data import decoded, idx, imagefolder
from bench.data.dataset import Dataset, Split, check_split
from bench.data.embedded import CLASSES as CLOTHES
from bench.data.table import SETS
from bench.errors import DataError
from bench.registry import one_line

SPLITS = ("train", "test")
DIGITS = tuple("0123456789")
# WordNet ids (the names of the folders, in the order of the labels) and their first names.
IMAGENETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}

_FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
_ARCHIVES = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "svhn": "SVHN"}


def missing(name: str, root: Path) -> DataError | None:
    """What `load` would say of a built-in set of which a file is not there; None if all are.

    Nothing is read: whether the files are whole, only loading tells.

    Args:
        name: of the set, as in the table.
        root: folder of the sets' files.
    """
    if name in _FOLDERS:
        absent = _absent_idx(root / _FOLDERS[name] / "raw")
    elif name in _ARCHIVES:
        absent = next((path for path in _sums(name, root) if not path.exists()), None)
    else:
        folder = root / "imagenette2"
        absent = None if folder.is_dir() else folder
    return None if absent is None else _missing(name, root, absent)


def mnist(root: Path, *, download: bool = False) -> Dataset:
    """Load MNIST from the IDX files (gzipped or not) in `root`/MNIST/raw.

    Raises:
        DataError: a file is missing, corrupt or not MNIST's, or the download failed.
    """
    return _idx_set("mnist", DIGITS, root, download)


def fashion_mnist(root: Path, *, download: bool = False) -> Dataset:
    """Load Fashion-MNIST from the IDX files (gzipped or not) in `root`/FashionMNIST/raw.

    Raises:
        DataError: a file is missing, corrupt or not Fashion-MNIST's, or the download failed.
    """
    return _idx_set("fashion-mnist", CLOTHES, root, download)


def cifar10(root: Path, *, download: bool = False) -> Dataset:
    """Load CIFAR-10 (python version) from `root`/cifar-10-batches-py.

    Raises:
        DataError: a file is missing or its MD5 sum is not CIFAR-10's, or the download failed.
    """
    return _cifar("cifar10", root, download)


def cifar100(root: Path, *, download: bool = False) -> Dataset:
    """Load CIFAR-100 (python version, fine labels) from `root`/cifar-100-python.

    Raises:
        DataError: a file is missing or its MD5 sum is not CIFAR-100's, or the download failed.
    """
    return _cifar("cifar100", root, download)


def svhn(root: Path, *, download: bool = False) -> Dataset:
    """Load SVHN (cropped digits, without the extra images) from `root`/{train,test}_32x32.mat.

    Raises:
        DataError: scipy is not installed, a file is missing or its MD5 sum is not SVHN's, or the
            download failed.
    """
    from torchvision.datasets import SVHN

    if importlib.util.find_spec("scipy") is None:
        raise DataError("svhn: its MATLAB files need scipy, which is not installed")

    def fetch() -> None:
        for part in SPLITS:
            SVHN(root, split=part, download=True)

    _ensure("svhn", root, fetch if download else None)
    parts = [SVHN(root, split=part) for part in SPLITS]
    splits = [Split.from_arrays(np.ascontiguousarray(part.data), part.labels) for part in parts]
    return _dataset("svhn", splits[0], splits[1], DIGITS)


def imagenette(
    root: Path,
    *,
    download: bool = False,
    image_size: int = 128,
    train_size: int | None = None,
) -> Dataset:
    """Load full-size Imagenette 2 from `root`/imagenette2/{train,val}, resized to squares.

    The aspect ratio is not kept. `image_size` is the side in pixels of test images and, unless
    `train_size` is given, of training images (the networks' authors crop 128 from 156).

    Raises:
        DataError: a folder is missing or incomplete, an image is corrupt, or the download failed.
    """
    folder = root / "imagenette2"
    if not folder.is_dir() and download:
        from torchvision.datasets import Imagenette

        _download("imagenette", root, lambda: Imagenette(root, size="full", download=True))
    if not folder.is_dir():
        raise _missing("imagenette", root, folder)
    info = SETS["imagenette"].info
    train = _imagenette_samples(folder / "train", info.train_samples)
    test = _imagenette_samples(folder / "val", info.test_samples)
    sides = (train_size or image_size, image_size)
    source = decoded.Source(
        "imagenette",
        folder,
        [file for file, _ in (*train, *test)],
        {"reader": "imagenette"},
        sides,
    )
    found = decoded.load(
        source,
        lambda: decoded.Contents(
            imagefolder.part(train, sides[0]),
            imagefolder.part(test, sides[1]),
            tuple(IMAGENETTE.values()),
            channels=3,
            moments=(info.mean, info.std),
        ),
    )
    return _dataset("imagenette", found.train, found.test, found.classes)


def _imagenette_samples(folder: Path, count: int) -> list[imagefolder.Sample]:
    samples = imagefolder.samples(folder, tuple(IMAGENETTE))
    if len(samples) != count:  # torchvision takes a half-extracted folder for the whole set
        raise DataError(
            f"{folder}: {len(samples):,} images, Imagenette has {count:,}; "
            f"delete {folder.parent}, and `bench run --download` fetches it again"
        )
    return samples


def _idx_set(name: str, classes: tuple[str, ...], root: Path, download: bool) -> Dataset:
    folder = _FOLDERS[name]
    raw = root / folder / "raw"
    if download and _absent_idx(raw) is not None:
        import torchvision.datasets

        _download(name, root, lambda: getattr(torchvision.datasets, folder)(root, download=True))
    absent = _absent_idx(raw)
    if absent is not None:
        raise _missing(name, root, absent)
    info = SETS[name].info
    train = _idx_split(raw, "train", len(classes), info.train_samples)
    test = _idx_split(raw, "t10k", len(classes), info.test_samples)
    return _dataset(name, train, test, classes)


def _absent_idx(raw: Path) -> Path | None:
    """The first of the four files that is not there, gzipped or not."""
    stems, kinds = ("train", "t10k"), ("images-idx3", "labels-idx1")
    names = (f"{stem}-{kind}-ubyte" for stem in stems for kind in kinds)
    return next((raw / name for name in names if idx.find(raw, name) is None), None)


def _idx_split(raw: Path, stem: str, num_classes: int, count: int) -> Split:
    images_path = _found(raw, f"{stem}-images-idx3-ubyte")
    labels_path = _found(raw, f"{stem}-labels-idx1-ubyte")
    images, labels = idx.read(images_path, 3), idx.read(labels_path, 1)
    if images.shape != (count, 28, 28):
        found = " x ".join(map(str, images.shape))
        raise DataError(f"{images_path}: holds {found} pixels, expected {count} x 28 x 28")
    if labels.shape != (count,):
        raise DataError(f"{labels_path}: holds {len(labels)} labels, expected {count}")
    split = Split.from_arrays(images[:, None], labels)
    check_split(split, "training" if stem == "train" else "test", num_classes, str(labels_path))
    return split


def _found(raw: Path, name: str) -> Path:
    return idx.find(raw, name) or raw / name


def _sums(name: str, root: Path) -> dict[Path, str]:
    """The files of a set that torchvision knows the MD5 sums of, with those."""
    import torchvision.datasets

    source = getattr(torchvision.datasets, _ARCHIVES[name])
    if name == "svhn":
        return {root / source.split_list[part][1]: source.split_list[part][2] for part in SPLITS}
    folder = root / source.base_folder
    sums = {folder / file: md5 for file, md5 in (*source.train_list, *source.test_list)}
    sums[folder / source.meta["filename"]] = source.meta["md5"]
    return sums


def _cifar(name: str, root: Path, download: bool) -> Dataset:
    import torchvision.datasets

    source = getattr(torchvision.datasets, _ARCHIVES[name])
    _ensure(name, root, (lambda: source(root, download=True)) if download else None)
    # torchvision unpickles these files, which is safe: their MD5 sums say whose they are.
    train, test = source(root, train=True), source(root, train=False)
    splits = [
        Split.from_arrays(_channels_first(part.data), np.array(part.targets))
        for part in (train, test)
    ]
    return _dataset(name, splits[0], splits[1], tuple(train.classes))


def _channels_first(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _dataset(name: str, train: Split, test: Split, classes: tuple[str, ...]) -> Dataset:
    info = SETS[name].info
    return Dataset(name, train, test, classes, info.mean, info.std, info.foreground)


def _ensure(name: str, root: Path, fetch: Callable[[], object] | None) -> None:
    """See to it that every file is there with its MD5 sum, fetching only if `fetch` is given."""
    sums = _sums(name, root)
    faulty = next((path for path, md5 in sums.items() if not _intact(path, md5)), None)
    if faulty is not None and fetch is not None:
        _download(name, root, fetch)
        faulty = next((path for path, md5 in sums.items() if not _intact(path, md5)), None)
    if faulty is None:
        return
    if not faulty.exists():
        raise _missing(name, root, faulty)
    raise DataError(
        f"{faulty}: its MD5 sum is not that of {name}, the file is corrupt or another; "
        "delete it, and `bench run --download` fetches it again"
    )


def _intact(path: Path, md5: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return (
            hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == md5
        )


def _missing(name: str, root: Path, path: Path) -> DataError:
    size = SETS[name].info.download_mb
    return DataError(
        f"{name} is not in {root}: no {path.relative_to(root)} there; name its folder with "
        f"--data DIR or $BENCH_DATA, or `bench run --download` fetches it ({size:,} MB)"
    )


def _download(name: str, root: Path, fetch: Callable[[], object]) -> None:
    try:
        fetch()
    except Exception as error:
        raise DataError(f"{name} could not be downloaded to {root}: {one_line(error)}") from error
