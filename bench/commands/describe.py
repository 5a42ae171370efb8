"""`bench describe BACKBONE[@VARIANT]`: a network by depth, or how a model is cut into stages."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    from torch import nn

    import arches


def main(args: argparse.Namespace) -> int:
    """Print the description, or the stages, as text or JSON."""
    from bench.models import backbones, stages

    name, _, variant = args.backbone.partition("@")
    backbones.require(name)
    options = stages.resolved(name, _options(name, args.option), Path.cwd())
    try:
        if args.stages:
            found = _stages(args, name, options)
            content, text = found.as_dict(), stages.write(found, name)
        else:
            described = _description(args, name, variant or "bu", options)
            content, text = described.as_dict(), described.text()
    except (ValueError, TypeError, RuntimeError, MemoryError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise BenchError(f"describe {args.backbone}: {first}") from None
    print(json.dumps(content, indent=2) if args.json else text.rstrip("\n"))
    return 0


def _options(name: str, given: Sequence[str]) -> dict[str, Any]:
    """Options from `key=value` words, each value read as YAML.

    Raises:
        BenchError: no such option, or not a value for it.
    """
    import yaml

    from bench.models import backbones, stages

    found: dict[str, Any] = {}
    for word in given:
        key, equals, text = word.partition("=")
        if not (key and equals):
            raise BenchError(f"--option {word}: write KEY=VALUE")
        try:
            found[key] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise BenchError(f"--option {word}: {text} is no value in YAML") from None
        if key != stages.KEY or not backbones.takes_stages(name):
            reason = backbones.wrong_option(name, key, found[key])
            if reason:
                raise BenchError(f"--option {word}: {reason}")
    return found


def _stages(args: argparse.Namespace, name: str, options: dict[str, Any]) -> arches.Stages:
    import arches
    from bench.models import backbones, stages

    if backbones.is_declared(name):
        raise BenchError(f"'{name}' is the paper's own: its stages are declared, not read")
    if stages.KEY in options:
        raise BenchError("--stages prints what was read; leave out --option stages=...")
    model, own = _model(args, name, options)
    return arches.stages(model, args.in_chans, args.image_size, **own)


def _description(
    args: argparse.Namespace, name: str, variant: str, options: dict[str, Any]
) -> arches.Description:
    import arches

    model, own = _model(args, name, options)
    found = arches.describe(
        model,
        variant,
        in_chans=args.in_chans,
        num_classes=args.num_classes,
        image_size=args.image_size,
        measured=not args.no_fields,
        **own,
    )
    return dataclasses.replace(found, name=name)


def _model(
    args: argparse.Namespace, name: str, options: dict[str, Any]
) -> tuple[str | nn.Module, dict[str, Any]]:
    """What `arches` is to describe, and with which options: a plugin's module is made here."""
    import torch

    from bench.models import backbones

    if backbones.is_declared(name) or backbones.is_foreign(name):
        return name, options
    torch.manual_seed(0)
    return backbones.plugin(name, args.in_chans, args.num_classes, options)
