"""Two classifiers on the same images: which of those they disagree on does each get right.

McNemar, "Note on the sampling error of the difference between correlated proportions",
Psychometrika 12 (1947), in its exact form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr


@dataclass(frozen=True, slots=True)
class Flips:
    """Images of `images` that only the one or only the other gets right."""

    gained: int
    lost: int
    images: int

    @property
    def net(self) -> int:
        """Images gained, less those lost."""
        return self.gained - self.lost

    @property
    def points(self) -> float:
        """The difference of the accuracies, in points."""
        return 100.0 * self.net / self.images

    @property
    def p_value(self) -> float:
        """Two-sided: so lopsided a disagreement, if it were decided by coins."""
        both = self.gained + self.lost
        return min(1.0, 2 * float(bdtr(min(self.gained, self.lost), both, 0.5))) if both else 1.0


def flips(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Flips:
    """Compare two rows of "is correct", of the same images in the same order."""
    if before.shape != after.shape or not before.size:
        raise ValueError(f"not the same images: {before.shape} and {after.shape}")
    return Flips(int((after & ~before).sum()), int((before & ~after).sum()), before.size)
