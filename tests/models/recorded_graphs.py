"""A stand-in for CUDA graphs: what was recorded is done again at a replay, on the same tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import ClassVar
from weakref import WeakSet

import pytest
import torch


class Stream:
    def wait_stream(self, other: object) -> None:
        assert isinstance(other, Stream)


class Recorder:
    """A graph; while one is recorded, it is `recording`, and functions append their work to its
    `calls`."""

    recording: ClassVar[Recorder | None] = None
    replays: ClassVar[int] = 0
    captures: ClassVar[list[tuple[object, object]]] = []  # the pool and the stream of each
    alive: ClassVar[WeakSet[Recorder]] = WeakSet()

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []
        Recorder.alive.add(self)

    def replay(self) -> None:
        Recorder.replays += 1
        for call in self.calls:
            call()


@contextlib.contextmanager
def recorded(graph: Recorder, pool: object, stream: object) -> Iterator[None]:
    assert isinstance(stream, Stream)
    Recorder.recording = graph
    Recorder.captures.append((pool, stream))
    try:
        yield
    finally:
        Recorder.recording = None


def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have PyTorch record and replay like this until the test ends."""
    Recorder.replays = 0
    Recorder.captures.clear()
    for name, does in {
        "Stream": lambda device: Stream(),
        "current_stream": lambda device: Stream(),
        "stream": contextlib.nullcontext,
        "set_stream": lambda stream: None,
        "CUDAGraph": Recorder,
        "graph": recorded,
        "graph_pool_handle": object,
        "get_sync_debug_mode": lambda: 0,
        "set_sync_debug_mode": lambda mode: None,
        "synchronize": lambda device: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, does)
