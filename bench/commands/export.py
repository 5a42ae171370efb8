"""`bench export RUN --to tensorboard|mlflow`: curves and numbers where people already look."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.errors import BenchError
from bench.observe import export
from bench.store.database import Store


def main(args: argparse.Namespace) -> int:
    """Export and say where to look."""
    store = Store.open(args.run)
    try:
        found = export.curves(store)
        name = store.facts().get("suite", args.run.name)
        damaged = len(store.broken().cells)
    finally:
        store.close()
    if not found:
        raise BenchError(f"{args.run}: nothing is done there yet")
    try:
        if args.to == "tensorboard":
            out = str(args.out or args.run / "tensorboard")
            export.to_tensorboard(found, Path(out))
            look = f"tensorboard --logdir {out}"
        else:
            out = args.out or f"sqlite:///{(args.run / 'mlflow.sqlite').resolve()}"
            export.to_mlflow(found, out, name)
            look = f"mlflow ui --backend-store-uri {out}"
    except OSError as error:
        raise BenchError(f"{args.out or args.run}: cannot be written: {error}") from None
    if damaged:
        cells = f"{damaged} damaged cell{'s' if damaged > 1 else ''}"
        text = f"note: {cells} left out; `python -m bench doctor {args.run}` names what is damaged"
        print(text, file=sys.stderr)
    count = f"{len(found)} network{'s' if len(found) > 1 else ''}"
    print(f"{count} exported to {out}; look with: {look}")
    return 0
