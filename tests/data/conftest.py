"""Fixtures of the data tests: no network, and the real data sets where they are at hand."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> NoReturn:
        raise AssertionError("a test went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the real sets: $BENCH_SHARED_DATA or ../shared/data beside the repository."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("BENCH_SHARED_DATA") or beside)
    if not folder.is_dir():
        pytest.skip("the real data sets are not at hand (BENCH_SHARED_DATA)")
    return folder
