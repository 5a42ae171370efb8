"""`bench describe BACKBONE[@VARIANT]`: a network by depth."""

from __future__ import annotations

import argparse
import json

import arches
from bench.errors import BenchError
from bench.models import backbones


def main(args: argparse.Namespace) -> int:
    """Print the description as text or JSON."""
    name, _, variant = args.backbone.partition("@")
    backbones.REGISTRY.find(name)
    if not backbones.is_declared(name):
        raise BenchError(f"'{name}': only the paper's networks can be described so far")
    try:
        description = arches.describe(
            name,
            variant=variant or "bu",
            in_chans=args.in_chans,
            num_classes=args.num_classes,
            image_size=args.image_size,
        )
    except (ValueError, RuntimeError, MemoryError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise BenchError(f"describe {args.backbone}: {first}") from None
    print(json.dumps(description.as_dict(), indent=2) if args.json else description.text())
    return 0
