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
    reason = backbones.unsupported(name, variant or "bu")
    if reason:
        raise BenchError(reason)
    if not backbones.is_declared(name):
        raise BenchError(f"'{name}' is a plugin; only declared networks can be described so far")
    try:
        description = arches.describe(
            name,
            variant=variant or "bu",
            in_chans=args.in_chans,
            num_classes=args.num_classes,
            image_size=args.image_size,
        )
    except ValueError as error:
        raise BenchError(f"describe {args.backbone}: {error}") from None
    print(json.dumps(description.as_dict(), indent=2) if args.json else description.text())
    return 0
