"""Bottom-up networks and their top-down counterparts, all from one rule.

``arches.create("nin_light", "td")`` builds a network; :func:`names` and :data:`VARIANTS` list what
there is. Importing the package and listing names loads no torch; the rest is loaded on first use.

Source: Lelekas, Tomen, Pintea, van Gemert, "Top-Down Networks: A coarse-to-fine reimagination of
CNNs" (2020).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arches.analysis.describing import describe
    from arches.analysis.description import Description
    from arches.analysis.effective_field import EffectiveField, effective_fields
    from arches.analysis.estimate import estimate
    from arches.analysis.measured_field import MeasuredField, measured_fields
    from arches.backbones import BACKBONES, VARIANTS, names
    from arches.declaration import Backbone
    from arches.factory import create
    from arches.inversion.adapters import register_adapter
    from arches.inversion.bottom_up import BottomUp
    from arches.inversion.errors import InversionError
    from arches.inversion.invert import invert, stages
    from arches.inversion.network import InvertedNetwork
    from arches.inversion.options import InvertOptions
    from arches.inversion.stages import Stage, Stages
    from arches.network import Network
    from arches.options import Options
    from arches.receptive_field import Field, receptive_fields
    from arches.surface import ScaledNetwork
    from arches.weights import keras_weights, load_keras_weights, load_weights, save_weights

_HOMES = {
    "BACKBONES": "arches.backbones",
    "VARIANTS": "arches.backbones",
    "names": "arches.backbones",
    "Backbone": "arches.declaration",
    "Description": "arches.analysis.description",
    "describe": "arches.analysis.describing",
    "EffectiveField": "arches.analysis.effective_field",
    "effective_fields": "arches.analysis.effective_field",
    "estimate": "arches.analysis.estimate",
    "create": "arches.factory",
    "BottomUp": "arches.inversion.bottom_up",
    "InversionError": "arches.inversion.errors",
    "InvertedNetwork": "arches.inversion.network",
    "InvertOptions": "arches.inversion.options",
    "Stage": "arches.inversion.stages",
    "Stages": "arches.inversion.stages",
    "invert": "arches.inversion.invert",
    "register_adapter": "arches.inversion.adapters",
    "stages": "arches.inversion.invert",
    "MeasuredField": "arches.analysis.measured_field",
    "measured_fields": "arches.analysis.measured_field",
    "Network": "arches.network",
    "Options": "arches.options",
    "Field": "arches.receptive_field",
    "receptive_fields": "arches.receptive_field",
    "ScaledNetwork": "arches.surface",
    "keras_weights": "arches.weights",
    "load_keras_weights": "arches.weights",
    "load_weights": "arches.weights",
    "save_weights": "arches.weights",
}

__all__ = [
    "BACKBONES",
    "VARIANTS",
    "Backbone",
    "BottomUp",
    "Description",
    "EffectiveField",
    "Field",
    "InversionError",
    "InvertOptions",
    "InvertedNetwork",
    "MeasuredField",
    "Network",
    "Options",
    "ScaledNetwork",
    "Stage",
    "Stages",
    "create",
    "describe",
    "effective_fields",
    "estimate",
    "invert",
    "keras_weights",
    "load_keras_weights",
    "load_weights",
    "measured_fields",
    "names",
    "receptive_fields",
    "register_adapter",
    "save_weights",
    "stages",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
