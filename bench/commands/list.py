"""`bench list WHAT`: one row a name; a plugin that does not import is a row with its error."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.registry import Registry

Rows = Iterator[tuple[str, str, str | None]]

OTHERS = "timm/..., torchvision/..., module:factory; see --like 'timm/resnet*' for what inverts"


def main(args: argparse.Namespace) -> int:
    """Print the table; 0 even if plugins are broken, for the table says so."""
    if args.what == "attacks" and not args.variant:
        from bench.commands import attack_table

        return attack_table.show(args.like or "*", args.json)
    if args.like or args.variant or args.json:
        if args.what != "backbones":
            raise BenchError(
                f"list {args.what}: --like and --json are for backbones and attacks, "
                "--variant is for backbones"
            )
        from bench.commands import support

        return support.show(args.like or "*", args.variant, args.json)
    rows = list(_suites() if args.what == "suites" else _others(args.what))
    if args.what == "backbones":
        rows.append(("others", OTHERS, None))
    width = max((len(name) for name, _, _ in rows), default=0)
    for name, summary, error in rows:
        text = f"ERROR: {error}" if error else summary
        sys.stdout.write(f"{name:<{width}}  {text}".rstrip() + "\n")
    return 0


def _suites() -> Rows:
    """Shipped suites with the comment that opens each file; no YAML is parsed."""
    from pathlib import Path

    import suites

    for path in sorted(Path(next(iter(suites.__path__))).glob("*.yaml")):
        with path.open(encoding="utf-8") as stream:
            first = stream.readline().strip()
        yield path.stem, first.removeprefix("#").strip() if first.startswith("#") else "", None


def _others(what: str) -> Rows:
    if what == "variants":
        import arches

        for name, summary in arches.VARIANTS.items():
            yield name, summary, None
        return
    for row in _registry(what).rows():
        summary = row.summary
        if row.entry.source != "built in":
            summary = f"{summary} [{row.entry.source}]".strip()
        yield row.entry.name, summary, row.error


def _registry(what: str) -> Registry:
    """The registry of a kind; only that kind's module is imported."""
    homes = {
        "backbones": "bench.models.backbones",
        "datasets": "bench.data.catalog",
        "attacks": "bench.attacks.base",
        "measures": "bench.measures.base",
    }
    found: Registry = importlib.import_module(homes[what]).REGISTRY
    return found
