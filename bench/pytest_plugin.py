"""A fixture for a project's own tests: leaderboard numbers, and the regression gate.

    def test_no_regression(leaderboard_run):
        leaderboard_run("runs/mine").assert_no_regression("baselines/mine.json")

    def test_accuracy(leaderboard_run):
        run = leaderboard_run("runs/mine")
        assert run.mean("mnist/lenet_fc/td", "accuracy/top1") > 99.0

pytest finds it by the package's entry point; nothing heavy is imported before it is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from leaderboard.gate.finding import Judgement
    from leaderboard.gate.measured import Measured


class LeaderboardRun:
    """A finished run (or a baseline file) to assert numbers of."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._measured: Measured | None = None

    @property
    def measured(self) -> Measured:
        """All numbers; read once.

        Raises:
            BenchError: there is no run.
        """
        if self._measured is None:
            from bench.commands.gate_input import read_either

            self._measured = read_either(self.path).measured
        return self._measured

    def values(self, network: str, number: str) -> dict[int, float]:
        """A number by seed.

        Args:
            network: `dataset/backbone/variant`.
            number: `measure/metric`, such as `accuracy/top1` or `robustness/gaussian_blur/area`.

        Raises:
            KeyError: the run has no such number; the message names those that it has.
        """
        found = {
            ("/".join(key[:3]), f"{key.measure}/{key.metric}"): one
            for key, one in self.measured.numbers.items()
        }
        if (network, number) not in found:
            known = ", ".join(f"{net} {name}" for net, name in found) or "none"
            raise KeyError(f"{self.path}: no {network} {number}; known: {known}")
        return dict(found[network, number].values)

    def mean(self, network: str, number: str) -> float:
        """The mean of `values` over seeds."""
        values = self.values(network, number)
        return sum(values.values()) / len(values)

    def judge(self, baseline: str | os.PathLike[str]) -> Judgement:
        """What `bench check` finds.

        Raises:
            BenchError: one cannot be read, or the baseline is stale.
        """
        from bench.commands.check import judged

        return judged(self.path, Path(baseline))

    def assert_no_regression(
        self, baseline: str | os.PathLike[str], *, allow_inconclusive: bool = False
    ) -> None:
        """Fail the test unless the gate passes; with `allow_inconclusive`, unless something has
        become worse or was not measured, or the two cannot be compared."""
        __tracebackhide__ = True
        from bench.errors import BenchError
        from leaderboard.gate.finding import Exit
        from leaderboard.gate.report import as_text

        try:
            judgement = self.judge(baseline)
        except BenchError as error:
            pytest.fail(str(error), pytrace=False)
        fine = (Exit.PASS, Exit.INCONCLUSIVE) if allow_inconclusive else (Exit.PASS,)
        if judgement.exit not in fine:
            pytest.fail(as_text(judgement, str(self.path)), pytrace=False)


@pytest.fixture(scope="session")
def leaderboard_run() -> Callable[[str | os.PathLike[str]], LeaderboardRun]:
    """Opens a run directory (or baseline file) by its path, as a `LeaderboardRun`."""
    return LeaderboardRun
