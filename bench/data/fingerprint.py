"""What a data set contains, in one hash: whether two runs saw the same images."""

from __future__ import annotations

import hashlib
import json

from bench.data.dataset import Dataset, Split


def fingerprint(dataset: Dataset) -> str:
    """Return the hexadecimal SHA-256 over classes, shapes, and all bytes of images and labels;
    where objects of the test images are known, then a "+" and one over their masks and boxes.

    Name and statistics do not count. About a second per gigabyte.
    """
    sha = hashlib.sha256(json.dumps(["dataset 1", *dataset.classes]).encode())
    for split in (dataset.train, dataset.test):
        _add(sha, split)
    return sha.hexdigest() + _objects(dataset.test)


def is_of_images_alone(known: str, found: str) -> bool:
    """Whether a fingerprint is what earlier versions made of what is `found` now, for which masks
    and boxes did not count."""
    return "+" not in known and found.startswith(f"{known}+")


def difference(known: str, found: str) -> tuple[str, str, str]:
    """What differs between two fingerprints, in words, and the beginnings of the parts that do."""
    (images, _, objects), (others, _, other_objects) = (x.partition("+") for x in (known, found))
    if images != others:
        return "images or labels", images[:12], others[:12]
    return "masks or boxes", objects[:12] or "none", other_objects[:12] or "none"


def _objects(split: Split) -> str:
    if split.masks is None and split.boxes is None:
        return ""
    sha = hashlib.sha256()
    if split.masks is not None:
        sha.update(b"masks" + split.masks.cpu().contiguous().numpy().astype("u1").tobytes())
    for boxes in split.boxes or ():
        sha.update(json.dumps(boxes.tolist()).encode())
    return f"+{sha.hexdigest()}"


def _add(sha: hashlib._Hash, split: Split) -> None:
    labelled = split.labels is not None
    sha.update(json.dumps([list(split.images.shape), labelled]).encode())
    sha.update(split.images.cpu().contiguous().numpy().data)
    if split.labels is not None:
        sha.update(split.labels.cpu().numpy().astype("<i8").data)
