"""How long a cell takes, and the outcome made from it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from typing import Any

from bench.errors import BenchError, own_line
from bench.store.outcome import Failed, Outcome


class CellClock:
    """Wall and CPU time of a cell since it was made."""

    def __init__(self) -> None:
        self.started = time.time()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def done(self, metrics: Mapping[str, float], infos: Any, **more: Any) -> Outcome:
        """The outcome of a cell that has ended now."""
        return Outcome(*self._times(), metrics=metrics, infos=infos, **more)

    def failed(self, error: BaseException) -> Outcome:
        """The outcome of a cell that an error has ended; to be called while it is handled."""
        text = (str(error).strip().splitlines() or ["no message"])[0] + own_line(error)
        failed = Failed(type(error).__name__, text, traceback.format_exc())
        return Outcome(*self._times(), error=failed)

    def changed(self, what: str, dataset: str) -> Outcome:
        """The outcome of a cell that has changed the network, or that of the data set: its "test
        images", say."""
        text = (
            "the network was changed while it was measured: by the measure, or by itself as it "
            "predicts (such as batch normalization that stays in training mode); neither may"
        )
        if what != "network":
            text = (
                f"the {what} of dataset '{dataset}' were changed while the network was measured; "
                "let the measure work on a copy (`.clone()`)"
            )
        try:
            raise BenchError(text)
        except BenchError as error:  # it is only now that it has a traceback to be recorded
            return self.failed(error)

    def _times(self) -> tuple[float, float, float]:
        wall = time.perf_counter() - self._wall
        return self.started, wall, time.process_time() - self._cpu
