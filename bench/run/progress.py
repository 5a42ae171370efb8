"""What a person sees while a run goes on: a live display, plain lines, or nothing."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from bench.errors import visible
from bench.plan.cell import Cell
from bench.run.events import (
    CellFinished,
    CellPart,
    CellProgress,
    CellStarted,
    CellWarning,
    Event,
)
from bench.store.outcome import NOTES, Outcome

if TYPE_CHECKING:
    from rich.progress import TaskID


class Display(Protocol):
    """Shows events; used as a context manager around the run."""

    def __call__(self, event: Event) -> None: ...

    def __enter__(self) -> Display: ...

    def __exit__(self, *reason: object) -> None: ...


def display(
    cells: Sequence[Cell],
    done_before: int,
    quiet: bool,
    verbose: bool = False,
    told: Iterable[str] = (),
) -> Display:
    """The right display for this terminal; notes on trainings that were `told` are not repeated."""
    if quiet:
        return Quiet()
    if verbose:
        return Verbose(cells, done_before, told)
    if sys.stdout.isatty():
        return Live(cells, done_before, told)
    return Lines(cells, done_before, told)


class Quiet:
    """Shows nothing but failures (on standard error)."""

    def __call__(self, event: Event) -> None:
        if isinstance(event, CellFinished) and event.outcome.error is not None:
            text = f"failed: {event.cell.name}: {event.outcome.error.text}"
            print(visible(text), file=sys.stderr)

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *reason: object) -> None:
        return None


class Estimate:
    """Remaining time, from the durations of cells of the same kind that are over.

    A kind not seen yet is taken for the mean of its measure, else for the mean of all.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        # Counts and sums by kind: what a cell costs must not grow with the number of cells.
        self._left = Counter(self._kinds(cell) for cell in cells)
        self._seen: dict[tuple[str, ...], tuple[float, int]] = {}
        self._started = time.perf_counter()
        self._spent = 0.0

    @staticmethod
    def _kinds(cell: Cell) -> tuple[tuple[str, ...], ...]:
        training = cell.training
        net = (training.dataset.label, training.backbone.label, training.variant)
        # Trials have a title each, and cost much the same.
        kind = "trial" if training.trial else cell.title
        return ((kind, *net), (kind,), ())

    def finished(self, cell: Cell, seconds: float) -> None:
        """Note a finished cell."""
        kinds = self._kinds(cell)
        self._left[kinds] -= 1
        if self._left[kinds] <= 0:
            del self._left[kinds]
        self._spent += seconds
        for kind in kinds:
            total, count = self._seen.get(kind, (0.0, 0))
            self._seen[kind] = total + seconds, count + 1

    def seconds_left(self) -> float | None:
        """Wall seconds left at the present pace; None before the first cell is over."""
        if not self._seen or not self._spent:
            return None
        work = 0.0
        for kinds, left in self._left.items():
            total, count = next(self._seen[kind] for kind in kinds if kind in self._seen)
            work += left * total / count
        pace = (time.perf_counter() - self._started) / self._spent
        return work * min(1.0, pace)


def clock(seconds: float | None) -> str:
    """`1:02:03`, `2:03`, or `?`."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def headline(outcome: Outcome) -> str:
    """The one or two numbers of a cell that fit on a line, or why it failed."""
    if outcome.error is not None:
        return visible(f"FAILED: {outcome.error.text}")
    order = sorted(
        (name for name in outcome.metrics if name in outcome.infos),
        key=lambda name: not outcome.infos[name].headline,
    )
    shown = []
    for name in order[:2]:
        info = outcome.infos[name]
        value = outcome.metrics[name]
        text = f"{value:.{info.decimals}f}" if info.scale == "plain" else f"{value:,.0f}"
        shown.append(f"{info.title} {text} {info.unit}".strip())
    return visible(", ".join(shown))


def _new_notes(outcome: Outcome, told: set[str]) -> list[str]:
    """Lines for what was noted of a training, without those that were told; adds them there."""
    new = [note for note in outcome.facts.get(NOTES, ()) if note not in told]
    told.update(new)
    return [visible(f"note: {note}") for note in new]


class Lines(Quiet):
    """One plain line when a cell ends; for logs and pipes."""

    def __init__(self, cells: Sequence[Cell], done_before: int, told: Iterable[str] = ()) -> None:
        self._noted = set(told)
        self._total = len(cells) + done_before
        self._done = done_before
        self._estimate = Estimate(cells)

    def __call__(self, event: Event) -> None:
        if not isinstance(event, CellFinished):
            return
        self._done += 1
        self._estimate.finished(event.cell, event.outcome.seconds)
        left = clock(self._estimate.seconds_left())
        print(
            f"[{self._done}/{self._total}] {event.cell.name}  {headline(event.outcome)}"
            f"  ({event.outcome.seconds:.1f} s, about {left} left)",
            *_new_notes(event.outcome, self._noted),
            sep="\n",
            flush=True,
        )


class Verbose(Lines):
    """A line for whatever happens; progress that comes faster than one looks is left out."""

    PACE = 1.0  # seconds

    def __init__(self, cells: Sequence[Cell], done_before: int, told: Iterable[str] = ()) -> None:
        super().__init__(cells, done_before, told)
        self._told: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        name = event.cell.name
        if isinstance(event, CellStarted):
            print(f"  {name}: starts", flush=True)
        elif isinstance(event, CellWarning):
            print(f"  {name}: warning: {visible(event.text)}", flush=True)
        elif isinstance(event, CellPart):
            print(f"  {name}: finished part {visible(event.name)}", flush=True)
        elif isinstance(event, CellProgress):
            now = time.monotonic()
            if event.share >= 1 or now - self._told.get(name, -self.PACE) >= self.PACE:
                self._told[name] = now
                print(f"  {name}: {event.text or f'{event.share:.0%}'}", flush=True)
        super().__call__(event)


class Live:
    """Cells done and left, what is being done, epoch and loss, time left."""

    def __init__(self, cells: Sequence[Cell], done_before: int, told: Iterable[str] = ()) -> None:
        from rich.console import Group
        from rich.live import Live as RichLive
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )
        from rich.table import Column

        def text(field: str, ratio: int | None = None) -> TextColumn:
            column = Column(no_wrap=True, overflow="ellipsis", ratio=ratio)
            return TextColumn(f"{{task.{field}}}", markup=False, table_column=column)

        self._estimate = Estimate(cells)
        self._tasks: dict[str, TaskID] = {}
        self._noted = set(told)
        self._all = Progress(
            text("description"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            text("fields[note]"),
        )
        # A table of its own, lest long cell names push the counts off the screen.
        self._now = Progress(text("description", ratio=1), text("fields[note]"), expand=True)
        self._cells = self._all.add_task(
            "cells", total=len(cells) + done_before, completed=done_before, note=""
        )
        self._live = RichLive(Group(self._all, self._now), refresh_per_second=8)

    def __enter__(self) -> Live:
        self._live.start()
        return self

    def __exit__(self, *reason: object) -> None:
        for task in self._tasks.values():
            self._now.remove_task(task)
        self._live.stop()

    def __call__(self, event: Event) -> None:
        identity = event.cell.identity
        if isinstance(event, CellStarted) and identity not in self._tasks:
            self._tasks[identity] = self._now.add_task(event.cell.name, total=100, note="")
        elif isinstance(event, CellProgress) and identity in self._tasks:
            note = event.text or f"{event.share:.0%}"
            self._now.update(self._tasks[identity], note=note)
        elif isinstance(event, CellFinished):
            self._finish(event)

    def _finish(self, event: CellFinished) -> None:
        task = self._tasks.pop(event.cell.identity, None)
        if task is not None:
            self._now.remove_task(task)
        mark = "✗" if event.outcome.error else "✓"
        said = f"{mark} {event.cell.name}  {headline(event.outcome)}"
        for line in (said, *_new_notes(event.outcome, self._noted)):
            self._live.console.print(line, markup=False, highlight=False)
        self._estimate.finished(event.cell, event.outcome.seconds)
        left = clock(self._estimate.seconds_left())
        self._all.update(self._cells, advance=1, note=f"about {left} left")
