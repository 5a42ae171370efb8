"""From what a caller names to a plain bottom-up model."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from arches.choices import unknown
from arches.inversion.errors import InversionError, first_line


@dataclass(frozen=True, slots=True)
class Source:
    """A model and what is known about it.

    Attributes:
        name: as the caller wrote it; the class name of an instance.
        model: the plain network, not shared with the caller.
        native_size: side of the images it was made for, in pixels, where that is known.
        given: whether the weights are the caller's own or published ones, not fresh ones.
        packages: whose code it is, see :func:`arches.code.packages`; empty until told.
    """

    name: str
    model: nn.Module
    native_size: int | None
    given: bool
    packages: frozenset[str] = frozenset()


def load(
    backbone: str | nn.Module,
    in_chans: int,
    num_classes: int,
    pretrained: bool = False,
    options: Mapping[str, Any] | None = None,
    image_size: int | None = None,
) -> Source:
    """The model that a text or an instance stands for.

    Args:
        backbone: ``timm/<name>``, ``torchvision/<name>``, ``module:factory``, or a module.
        in_chans: channels of the image; an instance must take them already.
        num_classes: number of logits; an instance must have them already if it is run as it is.
        pretrained: whether published weights are asked for.
        options: keywords for the factory.
        image_size: for models of timm that are built for one size: that size, where they allow it.

    Raises:
        ValueError: for an unknown name, with the nearest one that exists; for an option that the
            factory does not take; where a library is missing.
    """
    keywords = dict(options or {})
    if isinstance(backbone, nn.Module):
        return Source(type(backbone).__name__, copy.deepcopy(backbone), None, True)
    home, _, name = backbone.partition("/")
    if home == "timm" and name:
        if image_size is not None:
            keywords["img_size"] = image_size
        return _from_timm(name, in_chans, num_classes, pretrained, keywords)
    if home == "torchvision" and name:
        return _from_torchvision(name, in_chans, num_classes, pretrained, keywords)
    if ":" in backbone:
        return _from_factory(backbone, in_chans, num_classes, keywords)
    raise ValueError(
        f"unknown backbone {backbone!r}: write timm/<name>, torchvision/<name> or module:factory, "
        f"or give an nn.Module."
    )


def _library(name: str) -> Any:
    if importlib.util.find_spec(name) is None:
        raise ValueError(
            f"backbones {name}/... need {name}: install the extra, "
            f"pip install 'topdown-bench[{name}]'."
        )
    return importlib.import_module(name)


def _from_timm(
    name: str, in_chans: int, num_classes: int, pretrained: bool, keywords: dict[str, Any]
) -> Source:
    timm = _library("timm")
    if not timm.is_model(name):
        raise _unknown_name("timm", name, timm.list_models())
    try:
        model = timm.create_model(
            name, pretrained=pretrained, in_chans=in_chans, num_classes=num_classes, **keywords
        )
    except TypeError as error:
        raise InversionError(
            "options", f"timm/{name} cannot be built: {first_line(error)}"
        ) from error
    except Exception as error:  # a constructor may raise anything, assertions among them
        if not pretrained:
            raise InversionError(
                "factory", f"timm/{name} cannot be built: {first_line(error)}"
            ) from error
        raise InversionError(
            "weights", f"no published weights for timm/{name} could be had: {first_line(error)}"
        ) from error
    settings: Mapping[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    size = settings.get("input_size")
    return Source(f"timm/{name}", model, int(size[-1]) if size else 224, pretrained)


def _from_torchvision(
    name: str, in_chans: int, num_classes: int, pretrained: bool, keywords: dict[str, Any]
) -> Source:
    models = importlib.import_module("torchvision.models")
    names = models.list_models(module=models)
    if name not in names:
        raise _unknown_name("torchvision", name, names)
    if name in ("googlenet", "inception_v3"):
        keywords = {"aux_logits": False, "init_weights": True, **keywords}
    try:
        weights = "DEFAULT" if pretrained else None
        model = models.get_model(
            name,
            weights=weights,
            **({} if pretrained else {"num_classes": num_classes}),
            **keywords,
        )
    except TypeError as error:
        raise InversionError(
            "options", f"torchvision/{name} cannot be built: {first_line(error)}"
        ) from error
    except OSError as error:
        raise InversionError(
            "weights",
            f"no published weights for torchvision/{name} could be had: {first_line(error)}",
        ) from error
    if in_chans != 3:
        _replace_first_conv(model, in_chans)
    if pretrained:
        _replace_classifier(model, num_classes)
    return Source(f"torchvision/{name}", model, 299 if name == "inception_v3" else 224, pretrained)


def _from_factory(text: str, in_chans: int, num_classes: int, keywords: dict[str, Any]) -> Source:
    module_name, _, attribute = text.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"backbone {text!r}: {error}") from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        public = [name for name, value in vars(module).items() if callable(value)]
        raise unknown(f"factory of {module_name}", attribute, public)
    try:
        inspect.signature(factory).bind(in_chans, num_classes, **keywords)
    except TypeError as error:
        raise ValueError(
            f"{text} must be callable as (in_chans, num_classes, **options): {error}."
        ) from error
    model = factory(in_chans, num_classes, **keywords)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{text} returned {type(model).__name__}, not a torch.nn.Module.")
    return Source(text, model, None, False)


def _unknown_name(home: str, name: str, names: list[str]) -> ValueError:
    """The error for a name among hundreds: the nearest ones instead of all."""
    import difflib

    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(f'{home}/{entry}' for entry in near)}?" if near else ""
    return ValueError(f"unknown backbone '{home}/{name}'.{hint} {home} has {len(names)} names.")


def _replace_first_conv(model: nn.Module, in_chans: int) -> None:
    """Give the convolution that reads the image another number of input channels."""
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            fresh = type(module)(
                in_chans,
                module.out_channels,
                module.kernel_size,  # type: ignore[arg-type]
                module.stride,  # type: ignore[arg-type]
                module.padding,  # type: ignore[arg-type]
                bias=module.bias is not None,
            )
            # Drawn as wide as the one it replaces, whose own rule is not known.
            nn.init.normal_(fresh.weight, std=float(module.weight.detach().std()))
            model.set_submodule(path, fresh)
            return


def _replace_classifier(model: nn.Module, num_classes: int) -> None:
    """Give the last dense layer (or 1 x 1 convolution) another number of outputs."""
    path, last = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ][-1]
    fresh: nn.Module
    if isinstance(last, nn.Linear):
        fresh = nn.Linear(last.in_features, num_classes)
    else:
        fresh = nn.Conv2d(last.in_channels, num_classes, 1)
    model.set_submodule(path, fresh)
