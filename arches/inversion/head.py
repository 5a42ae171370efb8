"""What a model does between its last stage and its logits, read off its graph.

Steps are told by what they give, not by how they are written: the mean over the image is one
whether a module, a function or two means in a row make it.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from arches.inversion.errors import first_line
from arches.inversion.head_graph import (
    HeadError,
    HeadTracer,
    graph_of,
    is_norm,
    replace,
)
from arches.inversion.rescale import is_dense, last_layers
from arches.inversion.training import lost_in_training
from arches.inversion.units import Map

# Pools up to this window are strides of the body, which an inversion takes out, and not its end.
_LOCAL = 3

_VIEWS = ("flatten", "reshape", "contiguous", "clone", "to", "float")
_WINDOWS = (functional.avg_pool2d, functional.max_pool2d, torch.max_pool2d)
_NORMS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm")


@dataclass(slots=True)
class Head:
    """The end of a model.

    Attributes:
        graph: maps the last feature map, in the model's own order of axes, to logits, with the
            modules of the model; pools of the whole image by a window of its size are such of any
            size.
        steps: what it does, a word for each step; reshaping is none.
        layout: order of the axes of the map, ``nchw`` or ``nhwc``.
        width: channels of the map.
        num_classes: number of logits.
        any_size: whether the features do not depend on the size of the map.
        decides: whether it decides by values or sizes what it does; then this is its way for one
            size.
        dense: paths of 1 x 1 convolutions that are dense layers of the pooled image, or give the
            scores of the classes at each pixel.
        lost: what it does in training and the graph does not, a sentence; empty for nothing.
    """

    graph: fx.GraphModule
    steps: tuple[str, ...]
    layout: str
    width: int
    num_classes: int
    any_size: bool
    decides: bool
    dense: frozenset[str]
    lost: str


def read_head(
    model: nn.Module, last: str, body: Collection[str], images: Tensor, given: Map
) -> Head:
    """The head of a model.

    Args:
        model: not changed.
        last: path of the module that gives the last feature map.
        body: paths of modules whose inside does not matter, that one among them.
        images: N x C x H x W, of a size that the model takes.
        given: the last feature map of such images.

    Raises:
        HeadError: where it has no graph, or is no function of that map alone.
    """
    side, width, layout = given.size, given.width, given.layout
    shape = (2, width, side, side) if layout == "nchw" else (2, side, side, width)
    tracer = HeadTracer(last, body, images)
    training = model.training
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            graph = graph_of(model.eval(), tracer)
            recorder = _Recorder(graph.eval())
            logits = recorder.run(torch.randn(shape))
            steps = _Steps(graph, recorder.values, side)
        lost = lost_in_training(model, last, graph, torch.cat([images, images.flip(-1)]))
    except HeadError:
        raise
    except Exception as error:  # tracing runs the model's own code, which may raise anything
        if isinstance(error, fx.proxy.TraceError) or "Proxy" in str(error):
            raise HeadError("its forward loops over values or sizes") from error
        raise HeadError(first_line(error)) from error
    finally:
        model.train(training)
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 2:
        raise HeadError("it does not end in one tensor of logits")
    for node, pool in steps.replaced:
        replace(graph, node, pool)
    graph.recompile()
    words = tuple(steps.words.values())
    classes = int(logits.shape[1])
    dense = frozenset(steps.dense(classes))
    return Head(graph, words, layout, width, classes, steps.any_size, tracer.decides, dense, lost)


class _Recorder(fx.Interpreter):
    """Runs a head and keeps what each step gives."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """As the base class; a copy, because a later step may write over it."""
        out = super().run_node(n)
        self.values[n] = out.clone() if isinstance(out, Tensor) else out
        return out


class _Steps:
    """Words for the steps of a head.

    Attributes:
        words: for each step that is one.
        replaced: steps that hold for one size of map only, with what takes their place.
        any_size: see :class:`Head`.
    """

    def __init__(self, graph: fx.GraphModule, values: dict[fx.Node, Any], side: int) -> None:
        self.graph, self.values = graph, values
        self.sides = {side}
        self.words: dict[fx.Node, str] = {}
        self.replaced: list[tuple[fx.Node, nn.Module | None]] = []
        self.any_size = True
        for node in graph.graph.nodes:
            value = values.get(node)
            if isinstance(value, Tensor) and node.op not in ("get_attr", "output"):
                self._read(node, value)

    def dense(self, classes: int) -> Iterator[str]:
        """Paths of 1 x 1 convolutions that may be kept: their costs do not grow with the width of
        a map of many pixels."""
        last = last_layers(self.graph)
        for node in self.graph.graph.nodes:
            module = self._module(node)
            if not isinstance(module, nn.Conv2d) or not is_dense(module):
                continue
            pooled = max(self.values[node].shape[2:]) == 1
            if pooled or (module in last and module.out_channels == classes):
                yield str(node.target)

    def _read(self, node: fx.Node, value: Tensor) -> None:
        if node.op == "placeholder":
            if self.sides == {1}:
                self.words[node] = "mean"
                self.replaced.append((node, _global("mean")))
            return
        window = self._window(node)
        if window is not None and window <= _LOCAL:
            self._take_out(node, value)
            return
        maps, between = self._back_to_maps(node) if self._reduces(node, value) else ([], [])
        pool = next((p for one in maps if (p := _pooled(self.values[one], value))), None)
        if pool is not None:
            for step in between:
                self.words.pop(step, None)
            self.words[node] = pool
            if window is not None:
                self.replaced.append((node, _global(pool)))
            return
        if self._keeps_a_grid(node, value):
            self.any_size = False
        if word := self._word(node, value):
            self.words[node] = word

    def _keeps_a_grid(self, node: fx.Node, value: Tensor) -> bool:
        """Whether it pools to several pixels, or makes features of all pixels of a map."""
        if _is_map(value):
            return not any(list(value.shape[1:]).count(side) >= 2 for side in self.sides)
        return self._flattens(node, value)

    def _flattens(self, node: fx.Node, value: Tensor) -> bool:
        taken = (self.values.get(source) for source in node.all_input_nodes)
        return value.dim() == 2 and any(
            _is_map(one) and one.numel() == value.numel() for one in taken
        )

    def _take_out(self, node: fx.Node, value: Tensor) -> None:
        """A stride of the body, which ends before the pooling of the image."""
        side = int(value.shape[-1])
        self.sides.add(side)
        if side == 1:
            self.words[node] = "mean"
        self.replaced.append((node, _global("mean") if side == 1 else None))

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self.graph.get_submodule(str(node.target)) if node.op == "call_module" else None

    def _window(self, node: fx.Node) -> int | None:
        """Side of the window of a pool that has one and no own idea of the whole image."""
        module = self._module(node)
        size: Any = None
        if isinstance(module, nn.AvgPool2d | nn.MaxPool2d):
            size = module.kernel_size
        elif node.op == "call_function" and node.target in _WINDOWS:
            size = node.kwargs.get("kernel_size", node.args[1] if len(node.args) > 1 else None)
        size = max(size) if isinstance(size, tuple | list) else size
        return size if isinstance(size, int) else None

    def _back_to_maps(self, node: fx.Node) -> tuple[list[fx.Node], list[fx.Node]]:
        """The last maps on the ways to a step, and the steps between them and it."""
        maps: list[fx.Node] = []
        between: list[fx.Node] = []
        waiting = list(node.all_input_nodes)
        while waiting:
            source = waiting.pop()
            if _is_map(self.values.get(source)):
                maps.append(source)
            elif source not in between:
                between.append(source)
                waiting.extend(source.all_input_nodes)
        return maps, between

    def _word(self, node: fx.Node, value: Tensor) -> str:
        """What a step is called; nothing for one that only orders values anew."""
        module = self._module(node)
        if isinstance(module, nn.modules.dropout._DropoutNd):
            return "dropout" if module.p > 0 else ""
        name = type(module).__name__ if module is not None else _name(node)
        if self._flattens(node, value):
            return "flatten"
        if name in _VIEWS or self._passes(node, module, value):
            return ""
        if isinstance(module, nn.Linear) or name == "linear":
            return "dense"
        if isinstance(module, nn.Conv2d) or name == "conv2d":
            return "conv"
        if (module is not None and is_norm(module)) or name in _NORMS:
            return "norm"
        return {"cat": "concatenation", "concat": "concatenation"}.get(name, name)

    def _reduces(self, node: fx.Node, value: Tensor) -> bool:
        taken = [self.values.get(source) for source in node.all_input_nodes]
        return any(isinstance(one, Tensor) and one.numel() > value.numel() for one in taken)

    def _passes(self, node: fx.Node, module: nn.Module | None, value: Tensor) -> bool:
        """Whether a step without weights gives what it takes, in whatever order."""
        if module is not None and next(module.parameters(), None) is not None:
            return False
        given = [one for one in node.all_input_nodes if isinstance(self.values[one], Tensor)]
        if len(given) != 1:
            return False
        before, after = (one.flatten().sort().values for one in (self.values[given[0]], value))
        return torch.equal(before, after) and not (module and self._acts_in_training(node, module))

    def _acts_in_training(self, node: fx.Node, module: nn.Module) -> bool:
        """Whether a module gives something else in training, as a dropout of one's own does."""
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), self.values.__getitem__)
        given: list[Tensor] = []
        for mode in (False, True):
            own = copy.deepcopy(module).train(mode)
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.manual_seed(0)
                given.append(own(*args, **kwargs))
        return not torch.equal(*given)


def _is_map(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.dim() == 4 and all(s > 1 for s in value.shape[1:])


def _pooled(values: Tensor, value: Tensor) -> str | None:
    """Whether a tensor is the mean or the maximum over the pixels of a map."""
    for axes in ((2, 3), (1, 2)):
        for word, pool in (("mean", torch.mean), ("max", torch.amax)):
            expected = pool(values, dim=axes)
            if expected.numel() == value.numel() and torch.allclose(
                expected.flatten(), value.flatten(), atol=1e-5
            ):
                return word
    return None


def _global(pool: str) -> nn.Module:
    return nn.AdaptiveMaxPool2d(1) if pool == "max" else nn.AdaptiveAvgPool2d(1)


def _name(node: fx.Node) -> str:
    target = node.target
    return target if isinstance(target, str) else str(getattr(target, "__name__", target))
