"""From the tree of calls to the ordered list of units of which a network is a chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, fx, nn

from arches.inversion.kinds import pooled_to
from arches.inversion.trace import Call

# Sides divided by more than the first are a change of resolution, by more than the second are more
# than one change, or a patch embedding.
_SHRINKS, _AT_ONCE = 4 / 3, 2.9


@dataclass(frozen=True, slots=True)
class Map:
    """Shape of a feature map.

    Attributes:
        size: height in pixels.
        widths: channels of each tensor; a map may be a tuple of tensors.
        layout: order of the axes, ``nchw`` or ``nhwc``.
    """

    size: int
    widths: tuple[int, ...]
    layout: str

    @property
    def width(self) -> int:
        """Channels of all tensors together."""
        return sum(self.widths)


@dataclass(frozen=True, slots=True)
class ChainUnit:
    """A module of the chain, with the maps that it takes and gives."""

    path: str
    module: nn.Module
    taken: Map
    given: Map

    @property
    def leaf(self) -> bool:
        """Whether the module has no parts."""
        return next(self.module.children(), None) is None

    @property
    def leaf_or_norm(self) -> bool:
        """Whether the module has no parts, or is a norm that carries its activation, or a piece of
        a graph, which is as small as can be."""
        piece = isinstance(self.module, fx.GraphModule)
        return self.leaf or piece or "norm" in type(self.module).__name__.lower()

    @property
    def light(self) -> bool:
        """Whether it has no weights that mix channels or pixels: norm, activation, pool."""
        return weightless(self.module)

    @property
    def fixed(self) -> bool:
        """Whether it pools to a size of its own, whatever the size of its map."""
        sizes = {pooled_to(module) for module in self.module.modules()}
        return self.given.size in sizes and self.taken.size > _SHRINKS * self.given.size

    @property
    def spatial(self) -> bool:
        """Whether a convolution larger than 1 x 1 is inside."""
        return any(
            max(kernel) > 1
            for module in self.module.modules()
            if isinstance(kernel := getattr(module, "kernel_size", None), tuple)
            and isinstance(module, nn.Conv2d)
        )


@dataclass(frozen=True, slots=True)
class Chain:
    """The units from the image on.

    Attributes:
        units: each takes exactly what the one before gives.
        ended: whether the chain ends where the network pools, and not because something else than
            one map goes on.
        sizes: how many different sides the maps have anywhere in the network.
        flat: whether the units only embed patches, and all that follows stays at their resolution.
        scored: whether no weights follow, so that the last unit that has some gives the logits, one
            channel for each.
    """

    units: tuple[ChainUnit, ...]
    ended: bool
    sizes: int
    flat: bool = False
    scored: bool = False


def read_chain(root: Call) -> Chain:
    """The longest chain of units that starts at the image.

    Child k + 1 must take what child k gives, by identity and version: nothing may happen to a map
    outside modules. A module of which this holds from its input to its output is replaced by its
    parts, and so on down.
    """
    found: list[ChainUnit] = []
    layout = "nchw"
    ended = False
    for call in _prefix(root):
        taken, given = read_map(call.inputs, layout), read_map(call.outputs, layout)
        if taken is None:
            break
        used = {call.path, *(unit.path for unit in found)}
        between = pooled_to(call.module) > 0 and _goes_on(root, used)
        if given is None or (not between and _pools(call, taken, given)):
            ended = all(tensor.dim() <= 2 for tensor in call.outputs) or given is not None
            break
        layout = given.layout
        found.append(ChainUnit(call.path, call.module, taken, given))
    else:
        ended = not _goes_on(root, {unit.path for unit in found})
    used = {unit.path for unit in found}
    flat = not ended and _embeds(found) and _stays(root, used, found[-1].given.size)
    scored = bool(found) and _as_logits(found[-1].given, root) and not _weighs(root, used)
    return Chain(tuple(found), ended, _count_levels(_sizes(root)), flat, scored)


def _as_logits(last: Map, root: Call) -> bool:
    """Whether a network gives one value for each channel, or each value, of its last map."""
    shapes = [tuple(tensor.shape) for tensor in root.outputs]
    return shapes in ([(1, last.width)], [(1, last.width * last.size**2)])


def _weighs(node: Call, used: set[str]) -> bool:
    """Whether weights that mix channels are applied outside of the chain."""
    if node.path in used:
        return False
    own = any(parameter.dim() > 1 for parameter in node.module.parameters(recurse=False))
    return own or any(_weighs(child, used) for child in node.children)


def _embeds(units: list[ChainUnit]) -> bool:
    """Whether units are an embedding of patches: no two with weights give one resolution."""
    sides = [unit.given.size for unit in units if not unit.light]
    return bool(sides) and len(set(sides)) == len(sides) and sides[-1] == units[-1].given.size


# Tokens that stand for no patch: of the class, of distillation, registers.
_EXTRA_TOKENS = 16


def _stays(node: Call, used: set[str], side: int) -> bool:
    """Whether modules outside of the chain give maps of this side only, or as many tokens.

    Of a module that takes and gives such maps, the inside does not matter: mixers turn tokens into
    channels and back, attention has maps of its own.
    """
    if node.path in used:
        return True
    given = _fit(node.outputs, side)
    if not node.children:
        return given is not False
    if given and _fit(node.inputs, side):
        return True
    return all(_stays(child, used, side) for child in node.children)


def _fit(tensors: tuple[Tensor, ...], side: int) -> bool | None:
    """Whether maps have this side, or as many tokens; none where there are no maps."""

    def fits(shape: tuple[int, ...]) -> bool:
        tokens = any(side**2 <= count <= side**2 + _EXTRA_TOKENS for count in shape[1:])
        return tokens or 1 in shape[1:] or (len(shape) == 4 and side in shape[1:])

    shapes = [tuple(tensor.shape) for tensor in tensors]
    maps = [shape for shape in shapes if len(shape) in (3, 4) and shape[0] == 1]
    return all(map(fits, maps)) if maps else None


def _sizes(node: Call) -> set[int]:
    """Sides of the maps that leave layers, in any order of axes, or as rows of tokens."""
    if node.children:
        return set().union(*map(_sizes, node.children))
    found = set()
    for tensor in node.outputs:
        shape = tuple(tensor.shape)
        # Windows of attention are more than one entry of the batch, and no resolution.
        if len(shape) == 4 and shape[0] == 1 and shape[2] in (shape[1], shape[3]):
            found.add(shape[2])
        elif len(shape) == 3 and shape[0] == 1:
            found.add(round(shape[1] ** 0.5))
    return found


def _count_levels(sizes: set[int]) -> int:
    """How many of these sides are clearly different; a single pixel is no level."""
    count, last = 0, 0.0
    for size in sorted(size for size in sizes if size > 1):
        if size > last * _SHRINKS:
            count, last = count + 1, size
    return count


def _prefix(node: Call) -> Iterator[Call]:
    """Leading calls of a module that may do more at its end, such as pool and classify."""
    expected = node.taken
    for child in node.children:
        if child.taken != expected or child.extras or not child.whole:
            return
        parts = _parts(child)
        maps = all(tensor.dim() == 4 and tensor.shape[2] > 1 for tensor in child.outputs)
        if len(parts) == 1 and child.children and not maps:
            yield from list(_prefix(child)) or parts
            return
        yield from parts
        expected = child.given


def _parts(node: Call) -> list[Call]:
    """The parts of a call that is a chain of its children, or the call itself.

    A module of its own class is left whole where it changes the resolution at most once, for a
    block should not be cut in two; unless all it does, it does before that change.
    """
    if not node.children or not _is_chain(node):
        return [node]
    parts = [part for child in node.children for part in _parts(child)]
    if isinstance(node.module, nn.Sequential):
        return parts
    sides = [_side(part.inputs) / max(_side(part.outputs), 1) for part in parts]
    changes = [place for place, ratio in enumerate(sides) if ratio > _SHRINKS]
    if len(changes) > 1 or any(sides[place] > _AT_ONCE for place in changes):
        return parts
    heavy = [place for place, part in enumerate(parts) if not weightless(part.module)]
    if changes and heavy and heavy[0] < changes[0] and heavy[-1] <= changes[0]:
        return parts
    return [node]


def _is_chain(node: Call) -> bool:
    expected = node.taken
    for child in node.children:
        if child.taken != expected or child.extras or not child.whole:
            return False
        expected = child.given
    return expected == node.given


def _side(tensors: tuple[Tensor, ...]) -> int:
    """Side of the first map in pixels; 1 for anything else."""
    found = read_map(tensors, "nchw")
    return 1 if found is None else found.size


def weightless(module: nn.Module) -> bool:
    """Whether a module has no weights that mix channels or pixels."""
    return all(parameter.dim() < 2 for parameter in module.parameters())


def read_map(tensors: tuple[Tensor, ...], layout: str) -> Map | None:
    """The shape of one map or a tuple of maps of the same size; none for anything else.

    Args:
        tensors: that enter or leave a module.
        layout: of the map before, which decides where the shape does not.
    """
    if not tensors or any(tensor.dim() != 4 for tensor in tensors):
        return None
    shape = tensors[0].shape
    first, last = shape[1] == shape[2], shape[2] == shape[3]
    if first != last:
        layout = "nhwc" if first else "nchw"
    height, channel = (2, 1) if layout == "nchw" else (1, 3)
    if len({tensor.shape[height] for tensor in tensors}) > 1:
        return None
    widths = tuple(tensor.shape[channel] for tensor in tensors)
    return Map(int(shape[height]), widths, layout)


def _pools(call: Call, taken: Map, given: Map) -> bool:
    """Whether a call ends the body: an adaptive pool, or all pixels become one."""
    name = type(call.module).__name__.lower()
    if "adaptive" in name or "globalpool" in name or "globalavg" in name:
        return True
    return given.size == 1 and taken.size > 4


def _goes_on(node: Call, used: set[str]) -> bool:
    """Whether convolutions or projections of a map follow that are not in the chain."""
    if node.path in used:
        return False
    module = node.module
    if isinstance(module, nn.Conv2d) and node.outputs:
        return max(module.kernel_size) > 1 and node.outputs[0].shape[-1] > 1
    if isinstance(module, nn.Linear) and node.inputs:
        return node.inputs[0].dim() > 2
    return any(_goes_on(child, used) for child in node.children)
