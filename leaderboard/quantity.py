"""Numbers as people read them: 91.20 ± 0.31, 7.7 k, 12.3 MiB, ∞."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from leaderboard.numbers.summary import Summary
from leaderboard.results import MetricInfo
from leaderboard.rounding import fixed, rounded

_STEPS: dict[str, tuple[float, tuple[str, ...]]] = {
    "plain": (math.inf, ("",)),
    "si": (1000.0, ("", "k", "M", "G", "T", "P", "E")),
    "bytes": (1024.0, ("B", "KiB", "MiB", "GiB", "TiB", "PiB")),
}
SOME_INFINITE = (
    "∞ for k of n: infinite for k of n seeds and finite for the others, as a median is where an "
    "attack fools less than half of the images. There is no mean to give an interval of: such a "
    "number is not bold, and if the best is such a number, nothing is."
)
_TOO_LONG = 1e15  # beyond, digits before the point say less than an exponent


@dataclass(frozen=True, slots=True)
class Shown:
    """A quantity's text, and the mean that a reader sees in it (rounded as displayed)."""

    text: str
    mean: float


def show(summary: Summary, info: MetricInfo) -> Shown:
    """A summary as `info` wants it: the deviation, if there is one, in the unit of the mean."""
    if 0 < summary.infinite < summary.n:
        return Shown(infinite_for(summary.infinite, summary.n), summary.mean)
    decimals = info.decimals if info.scale == "plain" else min(info.decimals, 1)
    factor, prefix = unit(summary.mean, info)
    if info.scale != "plain" and factor == 1 and not summary.sd and summary.mean.is_integer():
        decimals = 0  # 512 B, not 512.0 B
    mean, shown = _digits(summary.mean / factor, decimals)
    # A counted quantity is the same for each seed, and "± 0" would only be in the way.
    if summary.sd is not None and (summary.sd or info.scale == "plain"):
        mean = f"{mean} ± {_digits(summary.sd / factor, decimals)[0]}"
    return Shown(f"{mean} {prefix}".rstrip(), shown * factor)


def infinite_for(some: int | None = None, seeds: int = 0) -> str:
    """A number that is infinite for some seeds and finite for others (`SOME_INFINITE`); or how any
    such text begins."""
    return "∞ for " if some is None else f"∞ for {some} of {seeds}"


def three_digits(value: float, info: MetricInfo) -> MetricInfo:
    """`info` with decimals enough for three digits of a small number: 0.0963, not 0.10."""
    if info.scale != "plain" or not info.decimals or not math.isfinite(value) or not value:
        return info
    return replace(info, decimals=max(info.decimals, 2 - math.floor(math.log10(abs(value)))))


def unit(value: float, info: MetricInfo) -> tuple[float, str]:
    """The factor and the prefix in which a number of this size is shown: (1e6, "M")."""
    decimals = info.decimals if info.scale == "plain" else min(info.decimals, 1)
    step, prefixes = _STEPS[info.scale]
    factor = 1.0
    if not math.isfinite(value):
        return factor, ""
    for prefix in prefixes[:-1]:
        # Compared as rounded, so that 999,999 is 1.0 M and not 1000.0 k.
        if abs(rounded(value / factor, decimals)) < step:
            return factor, prefix
        factor *= step
    return (factor if len(prefixes) > 1 else 1.0), prefixes[-1]


def in_prefix(heading: str, prefix: str) -> str:
    """The heading of numbers that are told in one prefix: `FLOPs (per image)` in millions is
    `FLOPs (M per image)`, `Parameters` is `Parameters (M)`."""
    if not prefix:
        return heading
    title, bracket, unit_name = heading.rpartition("(")
    return f"{title}({prefix} {unit_name}" if bracket else f"{heading} ({prefix})"


def _digits(value: float, decimals: int) -> tuple[str, float]:
    if math.isinf(value):
        return "∞", value
    if abs(value) >= _TOO_LONG:
        text = f"{value:.{decimals}e}"
        return text, float(text)
    return fixed(value, decimals), rounded(value, decimals)
