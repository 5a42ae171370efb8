"""Many comparisons at once: p-values corrected over the whole board."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def corrected(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the false discovery rate.

    Benjamini and Hochberg, "Controlling the false discovery rate", Journal of the Royal Statistical
    Society B 57 (1995).
    """
    if not p_values:
        return []
    from scipy.stats import false_discovery_control

    return [float(p) for p in false_discovery_control(np.asarray(p_values, dtype=np.float64))]
