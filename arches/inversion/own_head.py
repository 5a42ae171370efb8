"""The head of a model at the end of an inverted network, for a map of another width."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, fx, nn

from arches.inversion.ending import read_ending
from arches.inversion.head import Head, read_head
from arches.inversion.head_graph import HeadError
from arches.inversion.head_width import head_at_width
from arches.inversion.initial import Law, read_law
from arches.inversion.network import InvertedPosition, LinearHead
from arches.inversion.observe import Seen
from arches.inversion.stages import Stages
from arches.layers.blocks import Unit

# Sides of maps in pixels at which a head is tried.
_SIDES = (3, 6)


class OwnHead(Unit):
    """The head of the model itself.

    Args:
        head: as it was read.
        graph: that graph, or what was made of it.
        in_width: channels of the map.
        num_classes: number of logits.
    """

    def __init__(self, head: Head, graph: fx.GraphModule, in_width: int, num_classes: int) -> None:
        super().__init__("head", ", ".join(head.steps), in_width, num_classes)
        self.parts = graph
        self.layout = head.layout

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W to logits N x num_classes."""
        logits: Tensor = self.parts(x.permute(0, 2, 3, 1) if self.layout == "nhwc" else x)
        return logits

    def leaves(self) -> Iterator[tuple[str, str]]:
        """Its weights have no exchange format."""
        return iter(())


def head_of(
    model: nn.Module,
    stages: Stages,
    end: Sequence[Seen],
    position: InvertedPosition,
    in_chans: int,
    num_classes: int,
) -> tuple[Unit, str]:
    """The head of an inverted network, as far as can be that of the model.

    Args:
        model: not changed.
        stages: of it.
        end: the modules of its last stage, with their maps.
        position: the last one of the inverted network.
        in_chans: channels of the image.
        num_classes: number of logits.

    Returns:
        The head, and how it differs from that of the model; empty where it does not.
    """
    width = position.width
    ending = read_ending(model, stages, width)
    # A merge has a norm of its own.
    kept = ending if position.stage is not None else None
    try:
        found = _read(model, stages, end, in_chans)
    except HeadError as error:
        plain = LinearHead(width, num_classes, kept)
        return plain, f"head: {plain.operation}; that of bu may be another, it is not read: {error}"
    head: Unit | None = None
    note = ""
    if _is_plain(found, 0 if ending is None else len(ending.parts)):
        head = LinearHead(width, num_classes, kept)
    else:
        head = carried_over(found, width, num_classes, read_law(model))
    if head is None:
        head = LinearHead(width, num_classes, kept)
        steps = ", ".join(found.steps)
        note = f"bu has {steps}, so the two differ in their heads, too"
    notes = [f"head: {head.operation}", *filter(None, (note, found.lost))]
    return head, "; ".join(notes) if len(notes) > 1 else ""


def _read(model: nn.Module, stages: Stages, end: Sequence[Seen], in_chans: int) -> Head:
    if not end or len(end[-1].given.widths) > 1:
        raise HeadError("the last stage does not give one map")
    given = end[-1].given
    body = [path for stage in stages.stages for path in stage.modules]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        images = torch.randn(1, in_chans, stages.probe_size, stages.probe_size)
    return read_head(model, body[-1], {*body, *stages.stem}, images, given)


def _is_plain(head: Head, normalised: int) -> bool:
    """Whether it is a mean and a dense layer behind as many norms and activations."""
    return head.any_size and head.steps[normalised:] == ("mean", "dense")


def carried_over(head: Head, width: int, num_classes: int, law: Law) -> OwnHead | None:
    """The head of a model for a map of some width, which may have any size.

    Args:
        head: of the model, which is not changed.
        width: channels of the map.
        num_classes: number of logits.
        law: of the fresh model.

    Returns:
        A head with weights drawn as the model draws its own where shapes differ; none where it
        holds for one size of the map, mixes pixels, or does not run at that width.
    """
    if head.decides or not head.any_size:
        return None
    if any(_is_of_body(m) for path, m in head.graph.named_modules() if path not in head.dense):
        return None
    graph = copy.deepcopy(head.graph)
    try:
        if (width, num_classes) != (head.width, head.num_classes):
            old, new = (_map(channels, head.layout) for channels in (head.width, width))
            head_at_width(graph, old, new, head.num_classes, num_classes, law)
    except Exception:  # a head of modules of one's own may fail in any way
        return None
    made = OwnHead(head, graph, width, num_classes)
    return made if all(_runs(made, side) for side in _SIDES) else None


def _map(width: int, layout: str) -> Tensor:
    """One of any content, and of one size."""
    x = torch.ones(2, width, _SIDES[0], _SIDES[0])
    return x.permute(0, 2, 3, 1) if layout == "nhwc" else x


def _is_of_body(module: nn.Module) -> bool:
    """Whether it convolves or attends: a layer of a body, with costs that depend on the map."""
    weights = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return isinstance(module, nn.MultiheadAttention) or any(one.dim() > 2 for one in weights)


def _runs(head: OwnHead, side: int) -> bool:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        x = torch.randn(2, head.in_width, side, side)
        try:
            out = head.eval()(x)
        except Exception:  # a head that was changed may fail in any way
            return False
        finally:
            head.train()
    return isinstance(out, Tensor) and tuple(out.shape) == (2, head.width)
