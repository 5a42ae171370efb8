"""The layers of a head for a map of another width."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx, nn

from arches.inversion.initial import Law
from arches.inversion.rescale import (
    Rule,
    is_dense,
    last_layers,
    rescale_layer,
    rescale_values,
    resized,
)


def head_at_width(
    head: fx.GraphModule, old: Tensor, new: Tensor, old_classes: int, classes: int, law: Law
) -> None:
    """Re-create the layers of a head that take a map of another width; the head is changed.

    What a dense layer or a 1 x 1 convolution gives keeps its width: those cost next to nothing of a
    pooled image, however wide, and a hidden layer that were as narrow as the finest map would hold
    up what it is to tell apart.

    Args:
        head: of dense layers, 1 x 1 convolutions, norms and modules with a weight of their own.
        old: a map that it takes so far, N x C x H x W or in the model's own order of axes.
        new: one that it is to take.
        old_classes: number of logits so far.
        classes: number of logits that it is to give.
        law: of the fresh model.

    Raises:
        Exception: what the head's own modules raise where it does not run at that width.
    """
    with torch.no_grad():
        head.eval()
        before = _Watched(head)
        before.run(old)
        _Widened(head, before.values, old_classes, classes, law).run(new)


class _Watched(fx.Interpreter):
    """Runs a head and keeps the tensors that its steps give."""

    def __init__(self, head: fx.GraphModule) -> None:
        super().__init__(head, garbage_collect_values=False)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """As the base class; what it draws, if anything, draws nothing from others."""
        with torch.random.fork_rng(devices=[]):
            self.values[n] = super().run_node(n)
        return self.values[n]


class _Widened(_Watched):
    """Runs a head on a map of another width, and re-creates each layer as it is come to."""

    def __init__(
        self,
        head: fx.GraphModule,
        before: dict[fx.Node, Any],
        old_classes: int,
        classes: int,
        law: Law,
    ) -> None:
        super().__init__(head)
        self.head, self.before, self.law = head, before, law
        self.old_classes, self.classes = old_classes, classes
        self.last = last_layers(head)
        self.own = _own_values(head)
        self.done: set[object] = set()

    def run_node(self, n: fx.Node) -> Any:
        """As the base class, once the layer or the weights of the step fit what it takes."""
        taken = [one for one in n.all_input_nodes if one not in self.own]
        if n.op == "call_module":
            module = self.head.get_submodule(str(n.target))
            if module not in self.done:
                self.done.add(module)
                self._fit(module, self.values[taken[0]], self._rule(taken))
        elif n not in self.own:
            for one in n.all_input_nodes:
                if one in self.own:
                    self._fit_own(one, self._rule(taken))
        return super().run_node(n)

    def _rule(self, taken: Iterable[fx.Node]) -> Rule:
        """From numbers of channels to others, by the first tensor that has others than before."""
        for node in taken:
            old, new = self.before[node], self.values[node]
            if isinstance(old, Tensor) and old.shape != new.shape:
                [(was, now)] = {
                    pair for pair in zip(old.shape, new.shape, strict=True) if pair[0] != pair[1]
                }
                return lambda width: (
                    self._as_classes(width, was) or max(1, round(width * now / was))
                )
        return lambda width: self._as_classes(width) or width

    def _as_classes(self, width: int, of_map: int | None = None) -> int | None:
        return self.classes if width == self.old_classes != of_map else None

    def _fit(self, module: nn.Module, x: Tensor, rule: Rule) -> None:
        if isinstance(module, nn.Linear):
            self._fit_layer(module, x.shape[-1], module.in_features, module.out_features)
        elif isinstance(module, nn.Conv2d) and is_dense(module):
            self._fit_layer(module, x.shape[1], module.in_channels, module.out_channels)
        else:
            for part in module.modules():
                self._fit_part(part, rule)

    def _fit_layer(self, layer: nn.Conv2d | nn.Linear, width: int, old: int, given: int) -> None:
        out = self.classes if layer in self.last else given
        if (width, out) != (old, given):
            rescale_layer(layer, lambda _: width, self.law, out)

    def _fit_part(self, part: nn.Module, rule: Rule) -> None:
        """A part of a module that is known from outside only: all of it in proportion."""
        if isinstance(part, nn.Linear):
            if any(rule(width) != width for width in part.weight.shape):
                rescale_layer(part, rule, self.law)
            return
        values = [*part.parameters(recurse=False), *part.buffers(recurse=False)]
        rescale_values(part, rule, {side for value in values for side in value.shape if side > 1})

    def _fit_own(self, node: fx.Node, rule: Rule) -> None:
        """What is made of parameters outside of layers, after those were re-created."""
        if node in self.done:
            return
        self.done.add(node)
        for source in node.all_input_nodes:
            self._fit_own(source, rule)
        if node.op == "get_attr":
            path, _, name = str(node.target).rpartition(".")
            owner = self.head.get_submodule(path)
            value = getattr(owner, name)
            setattr(owner, name, resized(value, rule, {side for side in value.shape if side > 1}))
        self.env[node] = super().run_node(node)


def _own_values(head: fx.GraphModule) -> set[fx.Node]:
    """Parameters and buffers outside of layers, and what is made of them alone."""
    found: set[fx.Node] = set()
    for node in head.graph.nodes:
        made = node.all_input_nodes and all(one in found for one in node.all_input_nodes)
        if node.op == "get_attr" or (made and node.op != "call_module"):
            found.add(node)
    return found
