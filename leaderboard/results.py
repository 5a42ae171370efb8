"""What a leaderboard is made from: plain rows, knowing nothing of how they were measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from leaderboard.claimed import Claim as Claim
from leaderboard.claimed import Expect as Expect
from leaderboard.searched import Searched as Searched
from leaderboard.searched import Trial as Trial
from leaderboard.text import one_line

if TYPE_CHECKING:  # rows can be made, and errors shown, before numpy is loaded
    import numpy as np
    from numpy.typing import NDArray

Better = Literal["higher", "lower", "neither"]
Scale = Literal["plain", "si", "bytes"]
Access = Literal["decision", "score", "gradient"]
Kind = Literal["noise", "one-step", "iterative", "square", "other"]


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """How a metric is shown: its column title, unit, direction, decimals.

    `headline` metrics are columns of the leaderboard's main table; others are in the tidy rows
    only. `scale` is one of "plain", "si" (12.3 k, 4.5 M), "bytes" (12.3 MiB); the latter two have
    one decimal at most.
    """

    title: str
    unit: str = ""
    better: Better = "neither"
    decimals: int = 2
    headline: bool = False
    scale: Scale = "plain"


@dataclass(frozen=True, slots=True)
class Row:
    """One measured number. `measure` is like "accuracy" or "robustness/gaussian_blur"; `value` may
    be inf (attack not successful), never NaN."""

    dataset: str
    backbone: str
    variant: str
    seed: int
    measure: str
    metric: str
    value: float
    unit: str

    def __post_init__(self) -> None:
        # A NaN here would quietly poison every mean above it; it belongs in a Failure.
        if math.isnan(self.value) or self.value == -math.inf:
            name = f"{self.dataset}/{self.backbone}/{self.variant}/seed{self.seed}"
            raise ValueError(f"{name}/{self.measure} {self.metric}: {self.value} is not a result")


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that was tried and failed: its name and why (`error` is one line), and the file that
    tells more, relative to the run directory.

    `measure` is "train" where the training itself failed: whatever that net then lacks is shown
    as failed.
    """

    cell: str
    dataset: str
    backbone: str
    variant: str
    seed: int
    measure: str
    error: str
    log: str = ""

    @property
    def text(self) -> str:
        """The cell, its error and its log on one line."""
        log = f" ({self.log})" if self.log else ""
        return f"{self.cell}: {one_line(self.error, 300)}{log}"


@dataclass(frozen=True, slots=True)
class Missing:
    """A cell planned but never reached; if not `selected`, --only left it out of every run."""

    cell: str
    dataset: str
    backbone: str
    variant: str
    seed: int
    measure: str
    selected: bool = True

    @property
    def reason(self) -> str:
        """Why there is nothing of it."""
        return "never reached" if self.selected else "not selected (--only)"


@dataclass(frozen=True, slots=True)
class AttackInfo:
    """What kind of attack it is: tells which attack ought to be the stronger of two.

    `access` is what it needs of the network, `norm` the distance it looks at ("L2", "Linf", "L0",
    "L1", or "" for none). `kind`: "noise" is random; "one-step" and "iterative" follow gradients;
    "square" is the Square attack; "other" the rest. `strengths` are its fixed epsilons
    in that norm. `family` is its group in the overview, `limits` up to which L2 to sum it up, by
    data set.
    """

    access: Access
    norm: str = ""
    kind: Kind = "other"
    strengths: tuple[float, ...] = ()
    family: str = ""
    limits: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Learned:
    """How a training went: after each epoch the mean loss, and top-1 in percent on the held-out
    part of the training set (None without one)."""

    dataset: str
    backbone: str
    variant: str
    seed: int
    losses: tuple[float, ...]
    validation: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Per-image result of one attack on one trained network.

    `l2` are float64 N minimal L2 distances, 0 where the clean image is misclassified already, inf
    where no adversarial was found; `linf` and `l0` those of the same adversarials. `index` is each
    image's number in the test set (without it, row k is taken for the same image in all samples of
    a data set and attack). Of an attack of K fixed strengths, `robust` is bool N x K: whether the
    image was classified correctly at each of them.
    """

    dataset: str
    backbone: str
    variant: str
    seed: int
    attack: str
    l2: NDArray[np.float64]
    index: NDArray[np.int64] | None = None
    linf: NDArray[np.float64] | None = None
    l0: NDArray[np.float64] | None = None
    robust: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        name = f"{self.dataset}/{self.backbone}/{self.variant}/seed{self.seed}/{self.attack}"
        # A NaN is the least of all, and not >= 0.
        if self.l2.ndim != 1 or self.l2.size == 0 or not self.l2.min() >= 0:
            raise ValueError(f"{name}: l2 must be a non-empty row of distances >= 0, without NaN")
        for field_name in ("index", "linf", "l0"):
            array = getattr(self, field_name)
            if array is not None and (array.shape != self.l2.shape or not array.min() >= 0):
                raise ValueError(f"{name}: {field_name} must have a value >= 0 for each l2")
        if self.index is not None and not _each_once(self.index):
            raise ValueError(f"{name}: index has an image twice")
        if self.robust is not None and self.robust.shape[:-1] != self.l2.shape:
            raise ValueError(f"{name}: robust must have a row for each l2")

    def distances(self, norm: str) -> NDArray[np.float64] | None:
        """The distances in a norm, or None where they are not known."""
        return {"L2": self.l2, "Linf": self.linf, "L0": self.l0}.get(norm)


def _is_row_of_images(index: NDArray[np.int64]) -> bool:
    return index.ndim == 1 and index.size > 0 and _each_once(index)


def _each_once(index: NDArray[np.int64]) -> bool:
    rising = bool((index[1:] > index[:-1]).all())  # as a rule, and quicker to see
    return rising or len(set(index.tolist())) == index.size


@dataclass(frozen=True, slots=True, eq=False)
class Localized:
    """Where the heatmaps of one trained network lie against the objects, image by image.

    `tp`, `fp` and `fn` are counts of pixels, whole numbers n x T, at T rising `thresholds`:
    predicted on the object, predicted beside it, and on it but not predicted. `threshold`, one of
    them, is the one that is reported. `index` is each image's number in the test set, `correct`
    whether it is classified correctly. `item` tells several heatmaps of a network apart, such as by
    their layer. `pixels` is how many an image has, for PxAP, which ends where all are predicted.
    """

    dataset: str
    backbone: str
    variant: str
    seed: int
    index: NDArray[np.int64]
    correct: NDArray[np.bool_]
    tp: NDArray[np.integer[Any]]
    fp: NDArray[np.integer[Any]]
    fn: NDArray[np.integer[Any]]
    thresholds: NDArray[np.float64]
    threshold: float
    item: str = ""
    pixels: int | None = None

    def __post_init__(self) -> None:
        name = f"{self.dataset}/{self.backbone}/{self.variant}/seed{self.seed}"
        wrong = self._wrong()
        if wrong:
            raise ValueError(f"{name}/localization{self.item and '/'}{self.item}: {wrong}")

    @property
    def at(self) -> int:
        """The column of the reported threshold."""
        return int(abs(self.thresholds - self.threshold).argmin())

    def _wrong(self) -> str:
        """What cannot be; empty if nothing."""
        n, steps = self.index.size, self.thresholds
        if steps.ndim != 1 or not steps.size or not bool((steps[1:] > steps[:-1]).all()):
            return "thresholds must be a row of rising numbers"
        # Wide enough for a threshold that was once a float32.
        if not abs(float(steps[self.at]) - self.threshold) < 1e-6:
            return f"threshold {self.threshold:g} is not one of the thresholds"
        if not _is_row_of_images(self.index):
            return "index must be a non-empty row of images, each once"
        if self.correct.shape != (n,) or self.correct.dtype.kind != "b":
            return "correct must have a bool for each image"
        for field_name in ("tp", "fp", "fn"):
            counts = getattr(self, field_name)
            if counts.shape != (n, steps.size) or counts.dtype.kind != "i" or counts.min() < 0:
                return f"{field_name} must have a whole number >= 0 for each image and threshold"
        objects = self.tp + self.fn
        if not bool((objects == objects[:, :1]).all()):
            return "tp + fn, the object's pixels, must be the same at every threshold"
        if self.pixels is not None and not bool((objects + self.fp <= self.pixels).all()):
            return f"counts are of more than the {self.pixels} pixels of an image"
        for counts in (self.tp, self.fp):
            if not bool((counts[:, 1:] <= counts[:, :-1]).all()):
                return "a higher threshold cannot predict more pixels"
        return ""


@dataclass(frozen=True, slots=True, eq=False)
class Removed:
    """How the probability of a class goes and comes with the pixels that its heatmap marks.

    `clean` is the probability of the predicted class of each of n images; `deletion` and
    `insertion` are n x S + 1 probabilities of that class after each of S steps, from none of the
    pixels to all. `index` is each image's number in the test set; `item` tells several heatmaps of
    a network apart. `pixels` is how many an image has: where S does not divide it, steps differ in
    size. Without it (runs of earlier versions), they count as equal.
    """

    dataset: str
    backbone: str
    variant: str
    seed: int
    index: NDArray[np.int64]
    clean: NDArray[np.float64]
    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]
    item: str = ""
    pixels: int | None = None

    def __post_init__(self) -> None:
        name = f"{self.dataset}/{self.backbone}/{self.variant}/seed{self.seed}/faithfulness"
        n = self.index.size
        if not _is_row_of_images(self.index):
            raise ValueError(f"{name}: index must be a non-empty row of images, each once")
        shape = self.deletion.shape
        if len(shape) != 2 or shape[0] != n or shape[1] < 2 or self.insertion.shape != shape:
            raise ValueError(f"{name}: deletion and insertion must be {n} x S + 1, S at least 1")
        if self.clean.shape != (n,):
            raise ValueError(f"{name}: clean must have a probability for each image")
        for values in (self.clean, self.deletion, self.insertion):
            if not bool(((values >= 0) & (values <= 1 + 1e-6)).all()):
                raise ValueError(f"{name}: probabilities must lie in [0, 1]")


@dataclass(frozen=True, slots=True)
class Results:
    """Everything a leaderboard shows.

    `metrics` is keyed by (measure, metric); of attacks the measure is "robustness/gaussian_blur".
    `missing` are cells planned and not tried; trials are in `searches` alone, whatever came of
    them. `nets` is the order (data set, backbone, variant) of the boards' lines; others come last,
    in the order of `rows`. `attacks` maps an attack's label to what is known of it. `claims` are
    judged on the page; `damaged` are those of the `notes` that tell what could not be read.
    `provenance` maps a heading ("command", "date") to text, `timed_on` a network (data set,
    backbone, variant) to the hardware that its speeds were measured on.
    """

    title: str
    rows: tuple[Row, ...]
    metrics: Mapping[tuple[str, str], MetricInfo]
    failures: tuple[Failure, ...] = ()
    missing: tuple[Missing, ...] = ()
    nets: tuple[tuple[str, str, str], ...] = ()
    samples: tuple[Sample, ...] = ()
    localized: tuple[Localized, ...] = ()
    removed: tuple[Removed, ...] = ()
    learned: tuple[Learned, ...] = ()
    searches: tuple[Searched, ...] = ()
    attacks: Mapping[str, AttackInfo] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    timed_on: Mapping[tuple[str, str, str], tuple[str, ...]] = field(default_factory=dict)
