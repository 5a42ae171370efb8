"""The graph of what a model does with its last feature map."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection
from typing import Any

from torch import Tensor, fx, nn

from arches.inversion.graph import asks_for_mode, dropouts_as_modules, is_installed
from arches.inversion.trace import PerCall
from arches.inversion.units import weightless

# A model that decides more often has loops over its values.
_MOST_DECISIONS = 16


class HeadError(Exception):
    """A head that cannot be read; the message says why, without a full stop."""


class HeadTracer(fx.Tracer):
    """Goes into modules as far as their parts have to be known one by one.

    Where the model decides by values or sizes what it does, it goes the way of some images.

    Attributes:
        last: path of the module that gives the last feature map.
        decides: whether it does so once it has the last feature map. What it decided before is a
            matter of the body, which is not made from the graph.
    """

    def __init__(self, last: str, body: Collection[str], images: Tensor) -> None:
        super().__init__()
        self.last, self.body, self.images = last, frozenset(body), images
        self.decides = False
        self._decisions = 0
        self._deciding = False

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one step, whatever is inside."""
        if module_qualified_name in self.body:
            return True
        if isinstance(m, fx.GraphModule):  # a piece of the model's graph, of functions
            return False
        if next(m.children(), None) is None:
            return True
        # What it does in training only is in no graph that is read in evaluation.
        return is_norm(m) or asks_for_mode(m) or super().is_leaf_module(m, module_qualified_name)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """What a condition is for the images."""
        self.decides |= any(node.target == self.last for node in self.graph.nodes)
        self._decisions += 1
        if self._decisions > _MOST_DECISIONS:
            return super().to_bool(obj)
        so_far = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        so_far.graph_copy(self.graph, copies)
        so_far.output(copies[obj.node])
        self._deciding = True
        try:
            return bool(fx.Interpreter(fx.GraphModule(self.root, so_far)).run(self.images))
        finally:
            self._deciding = False

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """As the base class, but for decisions, which need values, and for a module made in
        forward, such as a slice, which is its parts."""
        if self._deciding or not is_installed(self.root, m):
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Likewise."""
        if self._deciding:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


def is_norm(module: nn.Module) -> bool:
    """Whether it is a norm, maybe with its activation."""
    return "norm" in type(module).__name__.lower() and weightless(module)


def graph_of(model: nn.Module, tracer: HeadTracer) -> fx.GraphModule:
    """What follows the last feature map; its modules are those of the model."""
    for module in model.modules():
        if isinstance(module, PerCall):
            module.coming = 0
    whole = tracer.trace(model)
    starts = [n for n in whole.nodes if n.op == "call_module" and n.target == tracer.last]
    if not starts:
        raise HeadError(f"{tracer.last} is not in the graph of the model")
    graph = fx.Graph()
    start = graph.placeholder("x")
    made: dict[fx.Node, fx.Node] = {starts[-1]: start}
    for node in _behind_output(whole):
        if _is_batch_size(node):
            made[node] = graph.call_method("size", (start, 0))
        elif node.op == "get_attr" or any(source in made for source in node.all_input_nodes):
            if missing := [n for n in node.all_input_nodes if n not in made]:
                raise HeadError(f"it takes more than the last feature map, by {missing[0].name}")
            made[node] = graph.node_copy(node, made.__getitem__)
    if len(made) < 3:
        raise HeadError("an adapter reads the stages only")
    found = fx.GraphModule(model, graph, "Head")
    graph.eliminate_dead_code()
    dropouts_as_modules(found)
    return found


def _behind_output(graph: fx.Graph) -> list[fx.Node]:
    """The nodes on which the output depends, in order; checks of shapes are none of them."""
    needed: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        if node.op == "output" or node in needed:
            needed.update((node, *node.all_input_nodes))
    return [node for node in graph.nodes if node in needed]


def _is_batch_size(node: fx.Node) -> bool:
    """Whether it is how many images there are: any map tells."""
    if node.op == "call_method" and node.target == "size":
        return node.args[1:] == (0,)
    if node.op != "call_function" or node.target is not operator.getitem or node.args[1] != 0:
        return False
    shape = node.args[0]
    if not isinstance(shape, fx.Node):
        return False
    if shape.target is getattr:
        return bool(shape.args[1] == "shape")
    return shape.op == "call_method" and shape.target == "size" and len(shape.args) == 1


def replace(graph: fx.GraphModule, node: fx.Node, pool: nn.Module | None) -> None:
    """Put a pool in the place of a step, or nothing."""
    first = node.op == "placeholder"
    source = node if first else node.all_input_nodes[0]
    if pool is not None:
        path = f"pool_{node.name}"
        graph.add_submodule(path, pool)
        with graph.graph.inserting_after(node):
            pooled = graph.graph.call_module(path, (source,))
        node.replace_all_uses_with(pooled, lambda user: user is not pooled)
    else:
        node.replace_all_uses_with(source)
    if not first:
        graph.graph.erase_node(node)
