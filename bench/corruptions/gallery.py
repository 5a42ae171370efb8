"""Draw every corruption of one image: `python -m bench.corruptions.gallery DATASET --out X.png`.

Rows are corruptions, columns severities; the image itself stands first. Large images are drawn as
they are, small ones enlarged.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from bench.corruptions.base import NAMES, SEVERITIES, corrupt
from bench.data import catalog
from bench.errors import BenchError

MARGIN, TITLE = 4, 14
LEAST_SIDE = 96


def main(argv: Sequence[str] | None = None) -> int:
    """Write the picture; return 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(prog="bench.corruptions.gallery", description=__doc__)
    parser.add_argument("dataset", help="as in a suite, such as cifar10 or imagefolder:PATH")
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--image", type=int, default=0, help="number in the test set")
    parser.add_argument("--only", nargs="+", default=NAMES, help="these corruptions")
    parser.add_argument("--seed", type=int, default=0, help="of the corruptions")
    parser.add_argument("--data", type=Path, help="folder of the built-in sets' files")
    options = parser.parse_args(argv)
    try:
        dataset = catalog.load(options.dataset, root=options.data or catalog.default_root())
        images = dataset.test.images
        if not 0 <= options.image < len(images):
            raise BenchError(f"no test image {options.image}; there are {len(images)}")
        clean = images[options.image : options.image + 1].float() / 255
        gallery(clean, options.image, options.only, options.seed).save(options.out, "PNG")
    except (BenchError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def gallery(clean: Tensor, sample: int, names: Sequence[str], seed: int) -> Image.Image:
    """A grid of one image (float 1 x C x H x W in [0, 1]): a row a corruption, a column a severity.

    Raises:
        BenchError: an unknown corruption, or an image that none takes.
    """
    rows = [
        [clean, *(corrupt(clean, name, severity, [sample], seed) for severity in SEVERITIES)]
        for name in names
    ]
    factor = max(1, -(-LEAST_SIDE // min(clean.shape[2:])))
    height, width = (factor * side for side in clean.shape[2:])
    across, down = width + MARGIN, height + TITLE + MARGIN
    page = Image.new("RGB", (across * (len(SEVERITIES) + 1), down * len(rows)), "white")
    pen = ImageDraw.Draw(page)
    for row, (name, images) in enumerate(zip(names, rows, strict=True)):
        for column, image in enumerate(images):
            left, top = column * across, row * down
            title = f"{name} {column}" if column else "clean"
            pen.text((left + 2, top + 1), title, fill="black")
            page.paste(
                _picture(image[0]).resize((width, height), Image.Resampling.NEAREST),
                (left, top + TITLE),
            )
    return page


def _picture(image: Tensor) -> Image.Image:
    levels = image.mul(255).round().to(torch.uint8)
    if len(levels) == 1:
        return Image.fromarray(levels[0].numpy())
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())


if __name__ == "__main__":
    raise SystemExit(main())
