"""The process that a supervisor starts: does units one after the other and tells what happens.

    python -m bench.run.processes.child EVENTS LOG [DEVICE]

The first two are numbers of inherited file descriptors: a socket for orders and messages, and a
file for what Python's fault handler writes if the process crashes or is asked where it hangs. A
DEVICE has to answer before anything is begun on it.
"""

from __future__ import annotations

import faulthandler
import os
import queue
import signal
import sys
import threading
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from bench.run.processes import wire

if TYPE_CHECKING:
    from bench.run.place import Place
    from bench.run.unit import Unit

# Asked for by a supervisor before it ends a process that hangs.
WHERE = signal.SIGUSR1


def main(events: int, log: int, device: str | None = None) -> None:
    """Work until the supervisor closes the socket."""
    _end_with_the_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    faulthandler.enable(log)
    faulthandler.register(WHERE, log)
    connection = Connection(events)
    orders: queue.SimpleQueue[wire.Order] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, orders), daemon=True).start()
    import torch

    import bench.run.unit  # noqa: F401  (seconds, which belong to no cell)
    from bench.run.devices.lost import silence

    if device and (said := silence(device)):
        connection.send_bytes(wire.Message("dead", said).pack())
        return
    threads = torch.get_num_threads()
    connection.send_bytes(wire.READY.pack())
    while True:
        order = orders.get()
        torch.set_num_threads(threads)
        connection.send_bytes(_work(order, connection).pack())


def _work(order: wire.Order, connection: Connection) -> wire.Message:
    """Do a unit; return how that ended."""
    from bench.run.devices.lost import DeviceLost
    from bench.run.unit import execute

    unit, place = _unpacked(order)
    try:
        execute(unit, place, lambda event: connection.send_bytes(wire.message(event).pack()))
    except DeviceLost:
        return wire.LOST
    return wire.OVER


def _unpacked(order: wire.Order) -> tuple[Unit, Place]:
    """The unit, narrowed to what is left of it, with its files where they are here."""
    from bench.data import catalog
    from bench.run.processes.packed import unpack

    unit, place = unpack(order.unit)
    place = replace(place, **order.place)
    if place.data_root is None:
        place = replace(place, data_root=catalog.default_root())
    here = order.moved
    trained = order.weights or (str(unit.trained) if unit.trained else None)
    return replace(
        unit,
        train=unit.train if unit.train and unit.train.identity in order.todo else None,
        cells=tuple(cell for cell in unit.cells if cell.identity in order.todo),
        trained=Path(here.get(trained, trained)) if trained else None,
        parts={
            identity: {name: Path(here.get(str(file), file)) for name, file in files.items()}
            for identity, files in unit.parts.items()
        },
    ), place


def _receive(connection: Connection, orders: queue.SimpleQueue[wire.Order]) -> None:
    """Take orders; when the supervisor is gone, end at once, with every process started here."""
    try:
        while True:
            orders.put(wire.Order.unpack(connection.recv_bytes()))
    except (EOFError, OSError):
        if os.getpgid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


def _end_with_the_parent() -> None:
    """On Linux: have the kernel end this process when its parent dies, also where native code
    keeps the thread above from running."""
    if sys.platform != "linux":
        return
    import ctypes

    parent = os.getppid()
    pr_set_pdeathsig = 1  # prctl(2)
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
