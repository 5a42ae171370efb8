"""Tables of the keys of suites, recipes and measures, from the models that read them.

A page marks a place with `<!-- fields of MODULE:CLASS -->` and `<!-- end -->`; what stands between
is written anew: the docstring, and a row for each key. Of `<!-- fields of MODULE: -->` it is the
module's docstring alone.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from bench.suite import units

_PLACE = re.compile(r"(<!-- fields of ([\w.]+):(\w*) -->\n).*?(<!-- end -->)", re.DOTALL)
_WORDS = {int: "whole number", float: "number", bool: "true or false", str: "text", Any: "anything"}
_LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
# What a type does not tell: texts that are read as numbers, and what is checked elsewhere.
_READ = {units.seconds: "seconds, or text like `30m`", units.size: "text like `8GiB`"}
_KEYS = {"claims": "list of: `Claim`; or the name of a file of them; or null"}
# A limit that only catches slips of the finger.
_HUGE = 2**31


def filled(page: str) -> str:
    """The page with all marked places written anew."""
    return _PLACE.sub(lambda found: f"{found[1]}{_section(found[2], found[3])}{found[4]}", page)


def _section(module: str, name: str) -> str:
    home = importlib.import_module(module)
    if not name:
        return f"\n{inspect.getdoc(home)}\n\n"
    model: type[BaseModel] = getattr(home, name)
    rows = [_row(key, field) for key, field in model.model_fields.items() if _own(model, key)]
    head = ["| key | takes | default |", "|---|---|---|"]
    return "\n".join(["", inspect.getdoc(model) or "", "", *head, *rows, "", ""])


def _own(model: type[BaseModel], key: str) -> bool:
    """Whether a key is in a mapping in YAML: options of a reference stand beside its name."""
    fields = {"options"} if {"name", "options"} <= set(model.model_fields) else set()
    return key not in fields


def _row(key: str, field: FieldInfo) -> str:
    unknown = field.annotation is Any and key in _KEYS
    kind = _KEYS[key] if unknown else _kind(field.annotation, field.metadata)
    if key == "label":
        default = "its name"
    elif field.is_required():
        default = "must be given"
    else:
        default = _default(field.get_default(call_default_factory=True))
    return f"| `{key}` | {kind} | {default} |"


def _kind(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A type in words, with its limits."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    for one in metadata:
        if getattr(one, "func", None) in _READ:
            return _READ[one.func]
    if origin is Annotated:
        return _kind(inner[0], [*inner[1:], *metadata])
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in inner)
    if origin in (Union, types.UnionType):
        parts = [_kind(part, metadata) for part in inner if part is not type(None)]
        return " or ".join(parts) + ("; or null" if type(None) in inner else "")
    if origin is tuple:
        return f"list of: {_kind(inner[0])}"
    if origin is dict:
        return "mapping" if inner[1] is Any else f"mapping to {_kind(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"`{annotation.__name__.removesuffix('Keys')}`"
    return _WORDS.get(annotation, str(annotation)) + _limits(metadata)


def _limits(metadata: Sequence[Any]) -> str:
    said = []
    for each in metadata:
        for one in (each, *getattr(each, "metadata", ())):
            for name, word in _LIMITS.items():
                limit = getattr(one, name, None)
                if limit is not None and limit != _HUGE:
                    said.append(f"{word} {limit:g}")
    return ", " + ", ".join(dict.fromkeys(said)) if said else ""


def _default(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return "null"
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, tuple) and any(isinstance(one, BaseModel) for one in value):
        return f"its defaults, {len(value)} of them" if len(value) > 1 else "its defaults, once"
    if isinstance(value, str) and not value:
        return "empty"
    if isinstance(value, str):
        return f"`{value}`"
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`".replace('"', "")
