"""`bench describe BACKBONE[@VARIANT]`: a network by depth, or how a model is cut into stages."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

    import arches
    from bench.data.dataset import DatasetInfo
    from bench.suite.schema import BackboneRef

PIPED = 100  # columns where nobody's terminal is written to


def main(args: argparse.Namespace) -> int:
    """Print the description, or the stages, as text or JSON."""
    from bench.models import backbones, stages

    given, variant = _asked(args)
    name = given.name
    try:
        backbones.require(name)
    except UnknownNameError as error:
        hint = "" if args.suite else " (for a label of a suite add --suite SUITE)"
        raise BenchError(f"{error}{hint}") from None
    own = stages.resolved(name, _options(name, args.option), Path.cwd())
    options = {**given.options, **own}
    try:
        if args.stages:
            found = _stages(args, name, options)
            content, text = found.as_dict(), stages.write(found, name)
        else:
            described = _description(args, name, variant, options)
            described = dataclasses.replace(described, name=given.label)
            content, text = described.as_dict(), described.text(_width())
    except (ValueError, TypeError, RuntimeError, MemoryError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise BenchError(f"describe {args.backbone}: {first}") from None
    print(json.dumps(content, indent=2) if args.json else text.rstrip("\n"))
    return 0


def _width() -> int:
    """Columns of the terminal; of files and pipes always the same."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPED


def _asked(args: argparse.Namespace) -> tuple[BackboneRef, str]:
    """The backbone and the variant that the command line means; fills in the sizes of images that
    it leaves open.

    Raises:
        BenchError: the suite cannot be read, or has no such backbone.
    """
    from bench.suite.schema import BackboneRef

    name, _, variant = args.backbone.partition("@")
    sizes = {"image_size": 32, "in_chans": 3, "num_classes": 10}
    if args.suite is None:
        found = BackboneRef(name=name, label=name)
    else:
        found, dataset = _labelled(args.suite, name)
        if dataset is not None:
            sizes = {
                "image_size": dataset.image_size,
                "in_chans": dataset.channels,
                "num_classes": dataset.num_classes,
            }
    for key, size in sizes.items():
        if getattr(args, key) is None:
            setattr(args, key, size)
    return found, variant or "bu"


def _labelled(suite: str, name: str) -> tuple[BackboneRef, DatasetInfo | None]:
    """A suite's backbone by its label, with its stages read, and what is known of the first data
    set that it is used with."""
    from bench.data import catalog
    from bench.models import stages
    from bench.plan.check import read_suite

    checked = read_suite(suite)
    known = {backbone.label: backbone for backbone in checked.suite.backbones}
    if name not in known:
        raise BenchError(f"--suite {suite}: has no backbone '{name}'{did_you_mean(name, known)}")
    found = known[name]
    options = stages.resolved(found.name, found.options, checked.base)
    dataset = next(
        one
        for one in checked.suite.datasets
        if found.datasets is None or one.label in found.datasets
    )
    info = catalog.info(dataset.name, dataset.options, checked.base)
    return found.model_copy(update={"options": options}), info


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
    return arches.describe(
        model,
        variant,
        in_chans=args.in_chans,
        num_classes=args.num_classes,
        image_size=args.image_size,
        measured=not args.no_fields,
        **own,
    )


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
