"""What a person sees while a run goes on: a live display, plain lines, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from bench.errors import visible
from bench.run.events import (
    CellFinished,
    CellPart,
    CellProgress,
    CellStarted,
    CellWarning,
    Event,
)
from bench.run.remaining import Remaining, clock
from bench.store.outcome import NOTES, Outcome

if TYPE_CHECKING:
    from rich.progress import TaskID

    from leaderboard.results import MetricInfo


_SPREAD = "_iqr"  # ends the name of a metric's interquartile range


class Display(Protocol):
    """Shows events; used as a context manager around the run."""

    def __call__(self, event: Event) -> None: ...

    def __enter__(self) -> Display: ...

    def __exit__(self, *reason: object) -> None: ...


def display(
    left: Remaining,
    count: int,
    done_before: int,
    quiet: bool,
    verbose: bool = False,
    told: Iterable[str] = (),
) -> Display:
    """The right display for this terminal.

    Args:
        left: told of every cell that ends, and asked for the time.
        count: of cells to do.
        done_before: cells of earlier sessions.
        quiet, verbose: less, or more than usual.
        told: notes on trainings that are not repeated.
    """
    if quiet:
        return Quiet()
    if verbose:
        return Verbose(left, count, done_before, told)
    if sys.stdout.isatty():
        return Live(left, count, done_before, told)
    return Lines(left, count, done_before, told)


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


def headline(outcome: Outcome) -> str:
    """The one or two numbers of a cell that fit on a line, or why it failed."""
    if outcome.error is not None:
        return visible(f"FAILED: {outcome.error.text}")
    # What only tells how another number was measured, or how far it spreads, is none of the two.
    order = sorted(
        (name for name in outcome.metrics if name in outcome.infos and not name.endswith(_SPREAD)),
        key=lambda name: (
            not outcome.infos[name].headline,
            outcome.infos[name].better == "neither",
        ),
    )
    return visible(", ".join(_told(outcome, name) for name in order[:2]))


def _told(outcome: Outcome, name: str) -> str:
    """`images/s 10,211 (IQR 368)`, `FLOPs 7,391,160 per image`."""
    info = outcome.infos[name]
    unit = "" if info.unit.lower() in info.title.lower().split() else info.unit
    spread = outcome.metrics.get(name + _SPREAD)
    beside = "" if spread is None else f"(IQR {_number(spread, info)})"
    parts = (info.title, _number(outcome.metrics[name], info), unit, beside)
    return " ".join(part for part in parts if part)


def _number(value: float, info: MetricInfo) -> str:
    return f"{value:.{info.decimals}f}" if info.scale == "plain" else f"{value:,.0f}"


def _new_notes(outcome: Outcome, told: set[str]) -> list[str]:
    """Lines for what was noted of a training, without those that were told; adds them there."""
    new = [note for note in outcome.facts.get(NOTES, ()) if note not in told]
    told.update(new)
    return [visible(f"note: {note}") for note in new]


class Lines(Quiet):
    """One plain line when a cell ends; for logs and pipes."""

    def __init__(
        self, left: Remaining, count: int, done_before: int, told: Iterable[str] = ()
    ) -> None:
        self._noted = set(told)
        self._total = count + done_before
        self._done = done_before
        self._left = left

    def __call__(self, event: Event) -> None:
        if not isinstance(event, CellFinished):
            return
        self._done += 1
        self._left.finished(event.cell, event.outcome.seconds)
        left = clock(self._left.seconds())
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

    def __init__(
        self, left: Remaining, count: int, done_before: int, told: Iterable[str] = ()
    ) -> None:
        super().__init__(left, count, done_before, told)
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

    def __init__(
        self, left: Remaining, count: int, done_before: int, told: Iterable[str] = ()
    ) -> None:
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

        self._left = left
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
            "cells", total=count + done_before, completed=done_before, note=""
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
        self._left.finished(event.cell, event.outcome.seconds)
        left = clock(self._left.seconds())
        self._all.update(self._cells, advance=1, note=f"about {left} left")
