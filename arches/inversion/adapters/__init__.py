"""Adapters: how the stages of odd families are read, by the class of the model.

Discovery needs one map between units. A family whose stages exchange rows of tokens, lists or
tuples registers a function that rewrites its model to one that computes the same and has such maps.
"""

from arches.inversion.adapters import cells, hiera, lists, parallel, positions, tokens
from arches.inversion.adapters.registry import (
    Adapter,
    Body,
    Rewriting,
    adapt,
    adapter_for,
    register_adapter,
)

__all__ = [
    "Adapter",
    "Body",
    "Rewriting",
    "adapt",
    "adapter_for",
    "cells",
    "hiera",
    "lists",
    "parallel",
    "positions",
    "register_adapter",
    "tokens",
]
