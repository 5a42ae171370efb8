"""The built-in data sets: facts that need neither torch nor their files.

Means and standard deviations are the field's conventional per-channel values, computed on the
training splits (Imagenette: ImageNet's). Download sizes are those of the archives that
torchvision fetches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.data import options
from bench.data.dataset import DatasetInfo


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """One built-in set: where its factory is, what is known of it, and the options it takes."""

    target: str
    info: DatasetInfo
    checks: Mapping[str, options.Check] = field(default_factory=lambda: options.COMMON)


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A kind of own data, `<scheme>:PATH`; `target` has `load(path, ...)`, `inspect(path, ...)`.
    Only files with one of the `suffixes` are read."""

    target: str
    summary: str
    suffixes: frozenset[str]
    checks: Mapping[str, options.Check] = field(default_factory=lambda: options.COMMON)


# Of sets of bright objects on black: the paper's threshold (section 4.3).
FOREGROUND = 0.2

SETS: Mapping[str, BuiltIn] = {
    "fashion-mnist-mini": BuiltIn(
        "bench.data.embedded:fashion_mnist_mini",
        DatasetInfo(
            "4,000 + 1,000 images of Fashion-MNIST, embedded in the package",
            channels=1,
            image_size=28,
            num_classes=10,
            train_samples=4_000,
            test_samples=1_000,
            mean=(0.2860,),
            std=(0.3530,),
            foreground=FOREGROUND,
            licence="MIT",
        ),
    ),
    "mnist": BuiltIn(
        "bench.data.torchvision_sets:mnist",
        DatasetInfo(
            "handwritten digits",
            channels=1,
            image_size=28,
            num_classes=10,
            train_samples=60_000,
            test_samples=10_000,
            mean=(0.1307,),
            std=(0.3081,),
            foreground=FOREGROUND,
            download_mb=12,
            licence="CC BY-SA 3.0",
        ),
    ),
    "fashion-mnist": BuiltIn(
        "bench.data.torchvision_sets:fashion_mnist",
        DatasetInfo(
            "grey pictures of clothes",
            channels=1,
            image_size=28,
            num_classes=10,
            train_samples=60_000,
            test_samples=10_000,
            mean=(0.2860,),
            std=(0.3530,),
            foreground=FOREGROUND,
            download_mb=31,
            licence="MIT",
        ),
    ),
    "cifar10": BuiltIn(
        "bench.data.torchvision_sets:cifar10",
        DatasetInfo(
            "small colour pictures of animals and vehicles",
            channels=3,
            image_size=32,
            num_classes=10,
            train_samples=50_000,
            test_samples=10_000,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
            download_mb=170,
        ),
    ),
    "cifar100": BuiltIn(
        "bench.data.torchvision_sets:cifar100",
        DatasetInfo(
            "small colour pictures of 100 things",
            channels=3,
            image_size=32,
            num_classes=100,
            train_samples=50_000,
            test_samples=10_000,
            mean=(0.5071, 0.4865, 0.4409),
            std=(0.2673, 0.2564, 0.2762),
            download_mb=169,
        ),
    ),
    "svhn": BuiltIn(
        "bench.data.torchvision_sets:svhn",
        DatasetInfo(
            "house numbers from street views",
            channels=3,
            image_size=32,
            num_classes=10,
            train_samples=73_257,
            test_samples=26_032,
            mean=(0.4377, 0.4438, 0.4728),
            std=(0.1980, 0.2010, 0.1970),
            download_mb=246,
            licence="non-commercial use",
        ),
    ),
    "imagenette": BuiltIn(
        "bench.data.torchvision_sets:imagenette",
        DatasetInfo(
            "ten easy classes of ImageNet, full size, resized to squares",
            channels=3,
            image_size=128,
            num_classes=10,
            train_samples=9_469,
            test_samples=3_925,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            download_mb=1_557,
            licence="Apache-2.0; the images under ImageNet's terms",
        ),
        options.TWO_SIZES,
    ),
}

IMAGES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)

FORMATS: Mapping[str, FileFormat] = {
    "imagefolder": FileFormat(
        "bench.data.imagefolder",
        "own images: PATH/train/CLASS/* and PATH/test/CLASS/* (or val, valid, validation)",
        IMAGES,
        options.TWO_SIZES,
    ),
    "parquet": FileFormat(
        "bench.data.parquet",
        "own images: PATH/train*.parquet and PATH/test*.parquet, Hugging Face image schema",
        frozenset((".parquet",)),
        {**options.TWO_SIZES, "image_column": options.text, "label_column": options.text},
    ),
}
