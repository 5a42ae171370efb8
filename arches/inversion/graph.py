"""A model as a chain of pieces of its graph, for models that compute outside of modules."""

from __future__ import annotations

from typing import Any

from torch import fx, nn
from torch.fx.passes.split_module import split_module
from torch.nn import functional

from arches.inversion.errors import InversionError, first_line

_DROPOUTS: dict[Any, type[nn.Module]] = {
    functional.dropout: nn.Dropout,
    functional.dropout2d: nn.Dropout2d,
}


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
        graph = fx.symbolic_trace(model.eval())
        dropouts_as_modules(graph)
        pieces = _pieces(graph)
        split = split_module(graph, graph, lambda node: pieces[node], keep_original_order=True)
        split.train(training)
        return split
    except Exception as error:  # tracing runs the model's own code, which may raise anything
        raise InversionError(
            "state between stages", f"no graph of the model: {first_line(error)}"
        ) from error
    finally:
        model.train(training)


def dropouts_as_modules(graph: fx.GraphModule) -> None:
    """Read in evaluation mode, a function that drops values would never do so again."""
    for number, node in enumerate(list(graph.graph.nodes)):
        if node.op == "call_function" and node.target in _DROPOUTS:
            share = node.kwargs.get("p", node.args[1] if len(node.args) > 1 else 0.5)
            path = f"dropout_{number}"
            graph.add_submodule(path, _DROPOUTS[node.target](share))
            with graph.graph.inserting_before(node):
                put_in = graph.graph.call_module(path, (node.args[0],))
            node.replace_all_uses_with(put_in)
            graph.graph.erase_node(node)
    graph.recompile()


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
