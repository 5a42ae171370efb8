"""Layers re-created with other numbers of channels, by one rule for all numbers in a stage."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from arches.inversion.initial import Law, draw_like, fans, kind_of
from arches.inversion.network import StageBlock
from arches.inversion.stages import Stage
from arches.inversion.units import weightless

Rule = Callable[[int], int]
"""From a number of channels to another."""

_WIDTH_LIKE = re.compile(
    r"ch(an(nel)?s?|s)?(_|$)|dim|width|features|planes|hidden|split|shape|embed|rank|_c$"
)

# Channels of one head of attention, of which a layer has as many times more as there are heads.
_OF_A_HEAD = ("head_dim", "dim_head", "key_dim", "val_dim", "value_dim")

# Tables by head and distance or place, which know nothing of widths.
_TABLE = re.compile(r"attention_bias|bias_table|relative_position|rel_pos_bias")


def widths_of(block: nn.Module) -> set[int]:
    """Numbers of channels that layers of a block have."""
    found: set[int] = set()
    for module in block.modules():
        for name in ("in_channels", "out_channels", "in_features", "out_features"):
            value = getattr(module, name, None)
            if isinstance(value, int):
                found.add(value)
        if "norm" in type(module).__name__.lower():
            found.update(p.shape[0] for p in module.parameters(recurse=False) if p.dim() == 1)
    return {value for value in found if value > 1}


def rescale(block: StageBlock, stage: Stage, rule: Rule, law: Law) -> None:
    """Re-create all leaves inside; the block, which was built from the stage, is changed."""
    widths = widths_of(block)
    known = widths | {stage.in_width, stage.width}
    for module in block.parts.modules():
        if isinstance(module, nn.Linear) or (
            isinstance(module, nn.Conv2d) and module.weight.dim() == 4
        ):
            rescale_layer(module, rule, law)
        else:
            _rescale_other(module, rule, widths)
        _rescale_attributes(module, rule, known)


def leaves_at_width(module: nn.Module, old: int, new: int) -> None:
    """Re-create norms and gains for maps of another width; the module is changed.

    Args:
        module: without weights that mix channels.
        old: channels of its map so far.
        new: channels that its map is to have.
    """

    def rule(width: int) -> int:
        return width * new // old

    # A part of the map, such as each of two maps side by side, may have a norm of its own.
    widths = {len(value) for value in module.parameters() if value.dim() == 1} - {1}
    for part in module.modules():
        rescale_values(part, rule, widths)


def is_dense(conv: nn.Conv2d) -> bool:
    """Whether a convolution does to each pixel what a dense layer does."""
    ones = {*conv.kernel_size, *conv.stride, conv.groups}
    return ones == {1} and conv.padding in ((0, 0), 0, "valid", "same")


def last_layers(head: fx.GraphModule) -> set[nn.Module]:
    """Dense layers and convolutions from which no way leads through another layer with weights."""
    found: set[nn.Module] = set()
    behind: set[fx.Node] = set()
    weights = _weights_of(head)
    for node in reversed(head.graph.nodes):
        weighs = node not in weights and not weights.isdisjoint(node.all_input_nodes)
        if node.op == "call_module":
            module = head.get_submodule(str(node.target))
            weighs = not weightless(module)
            if node not in behind and isinstance(module, nn.Linear | nn.Conv2d):
                found.add(module)
        if weighs or node in behind:
            behind.update(node.all_input_nodes)
    return found


def _weights_of(head: fx.GraphModule) -> set[fx.Node]:
    """Parameters that mix channels outside of modules, and what is made of them alone."""
    found: set[fx.Node] = set()
    owned = dict(head.named_parameters())
    for node in head.graph.nodes:
        made = node.all_input_nodes and all(one in found for one in node.all_input_nodes)
        own = owned.get(str(node.target)) if node.op == "get_attr" else None
        if made or (own is not None and own.dim() > 1):
            found.add(node)
    return found


def rescale_layer(
    layer: nn.Conv2d | nn.Linear, rule: Rule, law: Law, out: int | None = None
) -> None:
    """Re-create a layer; it is changed.

    Args:
        layer: a dense layer or a convolution.
        rule: for what it takes and, without `out`, for what it gives.
        law: of the fresh model.
        out: channels that it is to give.
    """
    if isinstance(layer, nn.Linear):
        _rescale_linear(layer, rule, law, out)
    else:
        _rescale_conv(layer, rule, law, out)


def rescale_values(module: nn.Module, rule: Rule, widths: set[int]) -> None:
    """Re-create what a module without layers holds itself: gains, moving statistics, and numbers
    that it remembers; it is changed.

    Args:
        module: not looked into.
        rule: for numbers of channels.
        widths: numbers that are such.
    """
    _rescale_other(module, rule, widths)
    _rescale_attributes(module, rule, widths)


def _rescale_conv(conv: nn.Conv2d, rule: Rule, law: Law, out: int | None = None) -> None:
    before = fans(conv, conv.weight)
    kind = kind_of(conv)
    old_in, old_out, groups = conv.in_channels, conv.out_channels, conv.groups
    new_in, new_out = rule(old_in), out or rule(old_out)
    if out is None and old_out == 2 * old_in + 1:
        # Key, value and one score of linear attention.
        new_out = 2 * new_in + 1
    if groups == old_in and groups > 1:
        conv.groups = new_in
        if old_out % old_in == 0:
            new_out = new_in * (old_out // old_in)
    elif groups > 1:
        conv.groups = _new_groups(old_in // groups, groups, new_in, new_out)
    shape = (new_out, new_in // conv.groups, *conv.weight.shape[2:])
    old = conv.weight
    conv.weight = nn.Parameter(torch.empty(shape))
    scale = law.scale(kind, before, fans(conv, conv.weight))
    conv.weight = _parameter(old, draw_like(old, shape, scale))
    _rescale_vectors(conv, old_out, new_out)
    conv.in_channels, conv.out_channels = new_in, new_out


def _new_groups(group_width: int, groups: int, new_in: int, new_out: int) -> int:
    """As many groups as before, else groups as wide as before, else what divides."""
    if new_in % groups == 0 and new_out % groups == 0:
        return groups
    other = new_in // group_width
    if other and new_in % other == 0 and new_out % other == 0:
        return other
    return math.gcd(new_in, new_out, groups)


def _rescale_linear(linear: nn.Linear, rule: Rule, law: Law, out: int | None = None) -> None:
    old, before = linear.weight, fans(linear, linear.weight)
    shape = (out or rule(linear.out_features), rule(linear.in_features))
    linear.weight = nn.Parameter(torch.empty(shape))
    scale = law.scale(kind_of(linear), before, fans(linear, linear.weight))
    linear.weight = _parameter(old, draw_like(old, shape, scale))
    _rescale_vectors(linear, linear.out_features, shape[0])
    linear.out_features, linear.in_features = shape


def _rescale_vectors(layer: nn.Module, old_out: int, new_out: int) -> None:
    """Biases and gains of a layer beside its weight: one entry for each output."""
    for name, value in list(layer.named_parameters(recurse=False)):
        if name != "weight" and old_out in value.shape:
            shape = tuple(new_out if side == old_out else side for side in value.shape)
            setattr(layer, name, _parameter(value, draw_like(value, shape)))


def _rescale_other(module: nn.Module, rule: Rule, widths: set[int]) -> None:
    for name, value in list(module.named_parameters(recurse=False)):
        if not _TABLE.search(name):
            setattr(module, name, resized(value, rule, widths))
    for name, buffer in list(module.named_buffers(recurse=False)):
        if buffer.is_floating_point():
            setattr(module, name, resized(buffer, rule, widths))


def resized(value: Tensor, rule: Rule, widths: set[int]) -> Tensor:
    """A parameter or a buffer at other numbers of channels, drawn as it was.

    Args:
        value: not changed.
        rule: for numbers of channels.
        widths: numbers that are such.
    """
    shape = tuple(rule(side) if side in widths else side for side in value.shape)
    new = value.detach().clone() if shape == value.shape else draw_like(value, shape)
    return _parameter(value, new) if isinstance(value, nn.Parameter) else new


def _parameter(old: Tensor, values: Tensor) -> nn.Parameter:
    """What takes the place of a parameter: frozen if that was."""
    return nn.Parameter(values, requires_grad=old.requires_grad)


def _rescale_attributes(module: nn.Module, rule: Rule, widths: set[int]) -> None:
    """Numbers that a module remembers as widths."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        return
    heads = getattr(module, "num_heads", getattr(module, "heads", None))
    for name, value in list(vars(module).items()):
        if name.startswith("_") or not _WIDTH_LIKE.search(name):
            continue
        if name in _OF_A_HEAD and isinstance(heads, int) and isinstance(value, int):
            setattr(module, name, _share(rule(value * heads), heads))
            continue
        if isinstance(value, int) and not isinstance(value, bool):
            # What a split leaves is no width of any layer, but completes one that is; names that
            # end in _c say so by themselves.
            parts = any(whole - value in widths for whole in widths)
            if value in widths or parts or name.endswith("_c"):
                setattr(module, name, rule(value))
        elif _shape_of_widths(value, widths):
            setattr(module, name, type(value)(rule(v) if v > 1 else v for v in value))


def _share(width: int, heads: int) -> int:
    """Channels of each head."""
    if width % heads:
        raise ValueError(f"{width} channels are no {heads} heads.")
    return width // heads


def _shape_of_widths(value: Any, widths: set[int]) -> bool:
    if not isinstance(value, tuple | list) or not value or any(type(v) is not int for v in value):
        return False
    return sum(value) in widths or all(v in widths or v == 1 for v in value)
