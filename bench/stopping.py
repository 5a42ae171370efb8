"""How a command ends that is asked to: by Ctrl-C, or by the signal that clusters and CI send."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Terminated(KeyboardInterrupt):
    """SIGTERM came, as clusters, CI and `kill` send it: ends a command as Ctrl-C does."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C. Python ends by the signal itself, whatever code is asked for, if a KeyboardInterrupt
    proper ever left an `exec` of text, as many modules do when they are imported."""


@contextmanager
def stoppable(ends: bool = False) -> Iterator[None]:
    """Within it, SIGTERM raises `Terminated` and Ctrl-C `Interrupted` (in the main thread, which
    alone may ask for that). Ctrl-C that is ignored, as in the background of a shell, or that
    somebody else handles, stays theirs. If the process `ends` after one, more of them are not
    heard, for what is run at its end would tell of each with a traceback. A fork, as a measure may
    use for a pool of processes, is ended as it would be without us."""
    process = os.getpid()

    def stop(number: int, frame: object) -> None:
        if os.getpid() != process:
            signal.signal(number, before[signal.Signals(number)] or signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        raise Terminated if number == signal.SIGTERM else Interrupted

    ours = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        ours.append(signal.SIGINT)
    before = {}
    with suppress(ValueError):  # another thread's
        for number in ours:
            before[number] = signal.signal(number, stop)
    try:
        yield
    except KeyboardInterrupt:
        if ends:
            before = dict.fromkeys(before, signal.SIG_IGN)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
