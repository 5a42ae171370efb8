"""A model as a chain of pieces of its graph, for models that compute outside of modules."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import zip_longest
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.split_module import split_module
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from arches.inversion.errors import InversionError, first_line

_DROPOUTS: dict[Any, type[nn.Module]] = {
    functional.dropout: nn.Dropout,
    functional.dropout2d: nn.Dropout2d,
    functional.alpha_dropout: nn.AlphaDropout,
    functional.feature_alpha_dropout: nn.FeatureAlphaDropout,
    torch.dropout: nn.Dropout,
}


class ModeTracer(fx.Tracer):
    """Leaves whole what does something else in training, such as a module that drops paths."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one step, whatever is inside."""
        return super().is_leaf_module(m, module_qualified_name) or asks_for_mode(m)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """As the base class, but a module made in forward, such as a slice, is its parts."""
        if not is_installed(self.root, m):
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)


def is_installed(root: nn.Module, module: nn.Module) -> bool:
    """Whether a module is a part of another, and was not made for one call, as ``body[:2]`` is."""
    return any(module is one for one in root.modules())


def asks_for_mode(module: nn.Module) -> bool:
    """Whether the code of a module's forward reads its mode, if not for a dropout of a function."""
    names = getattr(getattr(type(module).forward, "__code__", None), "co_names", ())
    drops = {one.__name__ for one in _DROPOUTS} & set(names)
    parts = next(module.children(), None) is not None
    return "training" in names and not (parts and drops)


def as_graph(model: nn.Module) -> fx.GraphModule:
    """The same model, cut wherever a single value connects what was with what comes.

    Weights are shared with the model. What depends on the mode must do so inside of modules; for a
    dropout that is called as a function a module is put in.

    Args:
        model: whose mode is left as it was.

    Returns:
        A module whose parts ``submod_0``, ``submod_1``, ... run one after the other.

    Raises:
        InversionError: where the model decides by values what it does, so that it has no graph.
    """
    training = model.training
    try:
        graph = _traced(model.eval())
        dropouts_as_modules(graph)
        pieces = _pieces(graph)
        split = split_module(graph, graph, lambda node: pieces[node], keep_original_order=True)
        _hand_over(split)
        split.train(training)
        return split
    except Exception as error:  # tracing runs the model's own code, which may raise anything
        raise InversionError(
            "state between stages", f"no graph of the model: {first_line(error)}"
        ) from error
    finally:
        model.train(training)


def _traced(model: nn.Module) -> fx.GraphModule:
    tracer = ModeTracer()
    return fx.GraphModule(model, tracer.trace(model), type(model).__name__)


@contextlib.contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Leave the mode of each module and the buffers as they were, whatever is run within."""
    modes = [(module, module.training) for module in model.modules()]
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)


def require_mode(model: nn.Module, graph: fx.GraphModule, images: Tensor) -> None:
    """Refuse a graph that does not give what its model does, in training or in evaluation.

    Weights, moving statistics, mode and random state are left as they were.

    Args:
        model: to compare with.
        graph: from :func:`as_graph`.
        images: N x C x H x W, two or more.

    Raises:
        InversionError: where the two differ.
    """
    kept = {name: value.clone() for name, value in model.named_buffers()}
    with undisturbed(model), undisturbed(graph):
        for mode in (False, True):
            if not _agree(model.train(mode), graph.train(mode), images, kept):
                name = only_in_training(model)
                what = f"; it calls {name} there" if name else ""
                raise InversionError(
                    "not faithful",
                    f"forward does something of its own in training{what}: put that into a module "
                    "of its own.",
                )


def _agree(one: nn.Module, other: nn.Module, images: Tensor, kept: dict[str, Tensor]) -> bool:
    given: list[Any] = []
    for network in (one, other):
        _restore(one, kept)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            try:
                given.append(network(images))
            except Exception:  # the model's own modules may raise anything
                # What the model itself cannot do, its graph need not.
                return network is one
    own, traced = (tree_leaves(values) for values in given)
    return len(own) == len(traced) and all(
        isinstance(b, Tensor) and torch.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)
        for a, b in zip(own, traced, strict=True)
        if isinstance(a, Tensor)
    )


def _restore(model: nn.Module, kept: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in model.named_buffers():
            value.copy_(kept[name])


def only_in_training(model: nn.Module) -> str | None:
    """The first function that a model calls in training, and otherwise not or differently."""
    found = None
    with undisturbed(model), contextlib.suppress(Exception):  # tracing runs the model's own code
        plain, trained = (list(_traced(model.train(mode)).graph.nodes) for mode in (False, True))
        for one, other in zip_longest(plain, trained):
            if other is not None and (one is None or _as_text(one) != _as_text(other)):
                found = str(getattr(other.target, "__name__", other.target))
                break
    return found if found != "output" else None


def _as_text(node: fx.Node) -> str:
    return f"{node.target}{node.args}{node.kwargs}"


def dropouts_as_modules(graph: fx.GraphModule) -> None:
    """Read in evaluation mode, a function that drops values would never do so again."""
    for number, node in enumerate(list(graph.graph.nodes)):
        if node.op == "call_function" and node.target in _DROPOUTS and not _always(node):
            share = node.kwargs.get("p", node.args[1] if len(node.args) > 1 else 0.5)
            path = f"dropout_{number}"
            graph.add_submodule(path, _DROPOUTS[node.target](share))
            with graph.graph.inserting_before(node):
                put_in = graph.graph.call_module(path, (node.args[0],))
            node.replace_all_uses_with(put_in)
            graph.graph.erase_node(node)
    graph.recompile()


def _hand_over(split: fx.GraphModule) -> None:
    """Give each piece the parameters and buffers that it uses outside of modules, as its own."""
    for node in [node for node in split.graph.nodes if node.op == "get_attr"]:
        value = attrgetter(str(node.target))(split)
        for call in list(node.users):
            piece = split.get_submodule(str(call.target)) if call.op == "call_module" else None
            if not isinstance(value, Tensor) or not isinstance(piece, fx.GraphModule):
                continue
            taken = [inner for inner in piece.graph.nodes if inner.op == "placeholder"]
            name = f"own_{node.name}"
            if isinstance(value, nn.Parameter):
                piece.register_parameter(name, value)
            else:
                piece.register_buffer(name, value)
            for inner, given in zip(taken, call.args, strict=True):
                if given is node:
                    with piece.graph.inserting_before(inner):
                        inner.replace_all_uses_with(piece.graph.get_attr(name))
                    piece.graph.erase_node(inner)
            call.args = tuple(given for given in call.args if given is not node)
            piece.recompile()
        if not node.users:
            split.graph.erase_node(node)
    split.recompile()
    split.delete_all_unused_submodules()


def _always(node: fx.Node) -> bool:
    """Whether a dropout drops in evaluation, too, as it does unless it is told the mode."""
    for name in ("training", "train"):
        if name in node.kwargs:
            return node.kwargs[name] is not False
    return len(node.args) < 3 or node.args[2] is not False


def _pieces(graph: fx.GraphModule) -> dict[fx.Node, int]:
    """For each node the number of its piece; a new one starts where one value is all there is."""
    nodes = list(graph.graph.nodes)
    place = {node: number for number, node in enumerate(nodes)}
    last = {node: max((place[user] for user in node.users), default=-1) for node in nodes}
    pieces: dict[fx.Node, int] = {}
    piece = 0
    alive: set[fx.Node] = set()
    for number, node in enumerate(nodes):
        pieces[node] = piece
        alive = {other for other in alive if last[other] > number}
        if node.op != "get_attr":
            alive.add(node)
        if alive == {node} and node.op not in ("placeholder", "output"):
            piece += 1
    return pieces
