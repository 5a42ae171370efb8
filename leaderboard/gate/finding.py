"""What the gate says of each number, and of a run as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from leaderboard.numbers.summary import Key

# What would tell, of a number that is inconclusive.
MORE_SEEDS = "more seeds would tell"
FURTHER_RUNS = (
    "for speeds, make the baseline with --noise-from of further runs, timed on the same kind of "
    "machine when it is quiet"
)
INFINITE = "infinite values cannot be compared"
OTHER_BATCH = "costs of other batches cannot be compared: measure with as many images"


class Status(StrEnum):
    """Of one number."""

    PASS = "pass"  # noqa: S105
    REGRESSION = "regression"
    INCONCLUSIVE = "inconclusive"
    NOT_MEASURED = "not measured"
    NOT_COMPARED = "not compared"


class Exit(IntEnum):
    """Of the command, worst first where several hold: 1, 4, 3, 0."""

    PASS = 0
    REGRESSION = 1
    BAD_INPUT = 2
    INCONCLUSIVE = 3
    NOT_MEASURED = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """One number against its baseline.

    `gain` is the mean difference over seeds, positive where the run is better: in the metric's
    unit, of a relative threshold in shares (0.1 is 10 %). `bound` is the lowest gain that is
    plausible (one-sided 95 %; of speeds 99 % for a pass, else as high as a regression takes: see
    `leaderboard.gate.speed`), `delta` the loss that is a regression, `margin` the one that a pass
    excludes. `p_value`, corrected over the board, is that of a loss by chance. `reason` is a
    sentence, perhaps empty;
    `remedy` what would tell, where it is inconclusive and more seeds would not.
    """

    key: Key
    unit: str
    status: Status
    reason: str = ""
    before: float | None = None
    after: float | None = None
    gain: float | None = None
    bound: float | None = None
    delta: float | None = None
    margin: float | None = None
    p_value: float | None = None
    relative: bool = False
    suspicious: bool = False
    remedy: str = ""

    @property
    def name(self) -> str:
        """`dataset/backbone/variant/measure metric`."""
        return f"{'/'.join(self.key[:4])} {self.key.metric}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """All findings, and sentences on what else there is to know."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    def count(self, status: Status) -> int:
        """How many numbers have a status."""
        return sum(finding.status is status for finding in self.findings)

    def joined(self, other: Judgement) -> Judgement:
        """Both together."""
        return Judgement(self.findings + other.findings, self.notes + other.notes)

    @property
    def remedies(self) -> tuple[str, ...]:
        """What would tell, of those that are inconclusive; more seeds come last."""
        unsure = [one for one in self.findings if one.status is Status.INCONCLUSIVE]
        found = {one.remedy or MORE_SEEDS: None for one in unsure}
        return tuple(sorted(found, key=lambda remedy: remedy == MORE_SEEDS))

    @property
    def exit(self) -> Exit:
        """What the command ends with. Where nothing was compared, nothing has passed."""
        if self.count(Status.REGRESSION):
            return Exit.REGRESSION
        if self.count(Status.NOT_MEASURED):
            return Exit.NOT_MEASURED
        if self.count(Status.INCONCLUSIVE):
            return Exit.INCONCLUSIVE
        return Exit.PASS if self.count(Status.PASS) else Exit.NOT_MEASURED
