"""Resamples of images and of seeds, and what sums, means and medians are in each of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Marks = NDArray[np.bool_]

REPLICATES = 2000
_BLOCK = 2**22  # values worked on at once: bounds the memory
_EXACT = 2**24  # whole numbers up to here are exact as float32, sums of them too
_TOGETHER = 2**20  # counts of a window's images in a cache, for several rows at once


class Resamples:
    """`replicates` resamples of `images` images and of the seeds, the same for all that asks.

    Networks compared by the same resamples are compared image by image.
    """

    def __init__(self, images: int, replicates: int = REPLICATES, seed: int = 0) -> None:
        self.images = images
        self.replicates = replicates
        self._seed = seed
        self._drawn: dict[int, Floats] = {}
        self._weights: dict[str, NDArray[Any]] = {}

    @cached_property
    def _counts(self) -> NDArray[np.uint16]:
        """How often each image is drawn: replicates x images."""
        random = np.random.default_rng([self._seed, 0, self.images])
        counts = np.empty((self.replicates, self.images), dtype=np.uint16)
        for rows in self._blocks():
            size = len(counts[rows])
            drawn = random.integers(0, self.images, (size, self.images))
            drawn += self.images * np.arange(size)[:, None]
            flat = np.bincount(drawn.ravel(), minlength=size * self.images)
            counts[rows] = flat.reshape(size, self.images)
        return counts

    @cached_property
    def _by_image(self) -> NDArray[Any]:
        """The same, images x replicates, in a type that holds `images`."""
        small = np.int16 if self.images < 2**15 else np.int32
        return np.ascontiguousarray(self._counts.T, dtype=small)

    def seeds(self, number: int) -> Floats:
        """How often each of `number` seeds is drawn: replicates x number."""
        if number not in self._drawn:
            random = np.random.default_rng([self._seed, 1, number])
            drawn = random.integers(0, number, (self.replicates, number))
            counts = (drawn[:, :, None] == np.arange(number)).sum(1)
            # Seed by seed in memory, as all that it is multiplied with.
            self._drawn[number] = np.asfortranarray(counts, dtype=np.float64)
        return self._drawn[number]

    def means(self, values: Floats) -> Floats:
        """Mean over the images of each resample: rows x images to replicates x rows."""
        return self.sums(values) / self.images

    def sums(self, values: Floats) -> Floats:
        """Sum over the images of each resample: rows x images to replicates x rows."""
        return self._sums(np.ascontiguousarray(values, dtype=np.float64))

    def counts(self, marks: Marks) -> Floats:
        """How many of the marked images each resample has: rows x images to replicates x rows."""
        # Sums of so few ones are exact in single precision, which takes half the time.
        kind = np.float32 if self.images < _EXACT else np.float64
        return self._sums(marks.astype(kind)).astype(np.float64)

    def medians(self, l2: Floats, positive: Floats | None = None) -> Floats:
        """Lower median of the values above 0 in each resample: rows x images to replicates x rows.
        Infinite values are the largest; a resample without such values has 0.

        `positive`, replicates x rows, is how many values above 0 each resample has, if known.
        """
        if positive is None:
            positive = self.counts(l2 > 0)
        order = np.argsort(l2, axis=1)  # whichever way ties fall
        starts = (l2 <= 0).sum(1)  # values above 0 come last
        size = self.images - starts
        reach = (_REACH * np.sqrt(size)).astype(int) + 8
        # Where each row's window begins and ends; those that have nothing above 0 have none.
        first = starts + np.maximum(0, size // 2 - reach)
        last = np.minimum(self.images, starts + size // 2 + reach)
        marks = np.zeros(l2.shape, dtype=bool)
        ranks = np.arange(self.images)
        before = (ranks >= starts[:, None]) & (ranks < first[:, None])
        np.put_along_axis(marks, order, before, axis=1)
        left = (positive - 1) // 2 - self.counts(marks)
        found = np.empty((len(l2), self.replicates))
        step = max(1, _TOGETHER // (self.replicates * int((last - first).max(initial=1))))
        for start in range(0, len(l2), step):
            rows = slice(start, start + step)
            found[rows] = self._in_windows(
                l2[rows], order[rows], first[rows], last[rows], left.T[rows], positive.T[rows]
            )
        return found.T

    def _in_windows(
        self,
        l2: Floats,
        order: NDArray[np.intp],
        first: NDArray[np.intp],
        last: NDArray[np.intp],
        left: Floats,
        positive: Floats,
    ) -> Floats:
        """The medians of rows whose images, in rising `order`, are looked at from place `first` to
        before place `last`; of the images there, `left` lie below the median. All but `l2` and
        `order` are rows x replicates or rows."""
        width = max(1, int((last - first).max()))
        ranks = np.minimum(first + np.arange(width)[:, None], self.images - 1)
        rows = np.arange(len(l2))
        counts = self._by_image[order[rows, ranks]]
        # A row of a narrower window runs on into images beyond it, which is as well.
        for above, below in pairwise(counts):  # several times as fast as `cumsum` down the columns
            np.add(above, below, out=below)
        wanted = left.astype(counts.dtype)
        total = counts[np.minimum(width, self.images - first) - 1, rows]
        inside = (left >= 0) & (total > wanted) & (positive > 0)
        kind = np.uint8 if width < 2**8 else np.uint32
        place = (counts <= wanted).view(np.uint8).sum(0, dtype=kind) + first[:, None]
        rising = np.take_along_axis(l2, order, axis=1)
        found = np.take_along_axis(rising, np.minimum(place, self.images - 1), axis=1)
        found[positive == 0] = 0.0
        for row, replicate in np.argwhere(~inside & (positive > 0)):
            own = order[row, self.images - int((l2[row] > 0).sum()) :]
            whole = np.cumsum(self._counts[replicate, own])
            rank = (positive[row, replicate] - 1) // 2
            found[row, replicate] = l2[row, own[np.searchsorted(whole, rank, side="right")]]
        return found

    def _sums(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sums, row by row in memory, in the type of `values`."""
        if self._counts.size <= _BLOCK:
            kind = values.dtype.str
            if kind not in self._weights:
                self._weights[kind] = np.ascontiguousarray(self._counts.T, dtype=values.dtype)
            whole: NDArray[Any] = values @ self._weights[kind]
            return whole.T
        # The counts are whole numbers: of shares, the sums are exact on any machine.
        blocks = [values @ self._counts[rows].T.astype(values.dtype) for rows in self._blocks()]
        return np.concatenate(blocks, axis=1).T

    def _blocks(self) -> Iterator[slice]:
        size = max(1, _BLOCK // self.images)
        return (slice(start, start + size) for start in range(0, self.replicates, size))


# The rank of a resample's median has a standard deviation of half the root of how many there are:
# but for one in 16,000 it is within four of these, so that not all values need be looked at. The
# few others are counted one by one.
_REACH = 2.0


def lower_medians(l2: Floats) -> Floats:
    """The lower median of each row's values above 0 (infinity stays exact); 0 if there are none."""
    rising = np.sort(l2, axis=1)
    count = (rising > 0).sum(1)
    place = rising.shape[1] - count + (count - 1) // 2
    found: Floats = rising[np.arange(len(rising)), np.minimum(place, rising.shape[1] - 1)]
    return np.where(count > 0, found, 0.0)


def lower_median(l2: Floats) -> float:
    """As `lower_medians` of a single row."""
    return float(lower_medians(l2[None])[0])
