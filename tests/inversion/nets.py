"""Networks that nobody prepared for inversion."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class Functional(nn.Module):
    """Two strided convolutions, activations and pooling by functions, a dropout by a function."""

    def __init__(self, in_chans: int, num_classes: int, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_chans, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.norm2 = nn.BatchNorm2d(2 * width)
        self.conv3 = nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1)
        self.fc = nn.Linear(4 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv1(x))
        x = functional.relu(self.norm2(self.conv2(x)))
        x = functional.dropout(x, 0.1, training=self.training)
        x = functional.relu(self.conv3(x))
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


class Block(nn.Module):
    """A residual block that adds in place."""

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        self.act = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(in_width, width, 3, stride, 1)
        self.skip = nn.Conv2d(in_width, width, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(x)
        out: Tensor = self.conv(x)
        out += self.skip(x)
        return out


def residual(in_chans: int, num_classes: int) -> nn.Module:
    """Stem of stride 2, then stages at 1/2, 1/4, 1/8."""
    return nn.Sequential(
        nn.Conv2d(in_chans, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        Block(8, 8, 1),
        Block(8, 16, 2),
        Block(16, 16, 1),
        Block(16, 32, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, num_classes),
    )


class WindowedEnd(nn.Module):
    """As `residual`, with an end that convolves the map of a 224-pixel image to one pixel."""

    def __init__(self, in_chans: int, num_classes: int) -> None:
        super().__init__()
        self.body = residual(in_chans, num_classes)[:-3]
        self.window = nn.Conv2d(32, 16, 28)
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        if x.shape[-1] < 28:
            x = functional.adaptive_avg_pool2d(x, 28)
        out: Tensor = self.fc(self.window(x).relu().mean((2, 3)))
        return out


def two_convs(in_chans: int, num_classes: int) -> nn.Module:
    """Nothing but two strided convolutions."""
    return nn.Sequential(
        nn.Conv2d(in_chans, 8, 3, 2, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 16, 3, 2, 1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, num_classes),
    )


def one_resolution(in_chans: int, num_classes: int) -> nn.Module:
    """Patches, then convolutions at one resolution."""
    return nn.Sequential(
        nn.Conv2d(in_chans, 8, 4, 4),
        *(nn.Conv2d(8, 8, 3, 1, 1) for _ in range(3)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, num_classes),
    )


class TwoMaps(nn.Module):
    """Two maps of different sizes go from stage to stage, chosen by their values."""

    def __init__(self, in_chans: int, num_classes: int) -> None:
        super().__init__()
        self.fine = nn.Conv2d(in_chans, 8, 3, 2, 1)
        self.coarse = nn.Conv2d(8, 8, 3, 2, 1)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        if float(fine.detach().abs().max()) < 0:
            fine = -fine
        coarse = self.coarse(fine + 1)
        out: Tensor = self.fc(coarse.mean((2, 3)) + fine.mean((2, 3)))
        return out


class Unused(nn.Module):
    """Parameters that no gradient reaches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, 2, 1)
        self.never = nn.Parameter(torch.zeros(width))
        self.neither = nn.Linear(width, width)
        self.nor = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


def padded_apart(in_chans: int, num_classes: int) -> nn.Module:
    """Layers of their own pad the maps for the convolutions after them."""
    widths = ((in_chans, 8, 1), (8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 32, 2), (32, 32, 1))
    blocks = [
        nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(taken, given, 3, stride), nn.ReLU())
        for taken, given, stride in widths
    ]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, num_classes))
    return nn.Sequential(*blocks, *head)


def unused(in_chans: int, num_classes: int) -> nn.Module:
    """Stages of which one has parameters for nothing."""
    model = residual(in_chans, num_classes)
    model[5] = nn.Sequential(Unused(16), nn.Conv2d(16, 32, 1))
    return model


def no_module(in_chans: int, num_classes: int) -> str:
    """A factory that gives something else."""
    return f"{in_chans} {num_classes}"


class ByFunction(nn.Module):
    """Blocks with an activation between stem and body, which looks for infinite values.

    Args:
        in_chans: channels of the image.
        num_classes: number of logits.
        act: the activation.
    """

    def __init__(
        self, in_chans: int, num_classes: int, act: Callable[[Tensor], Tensor] = functional.relu
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_chans, 8, 3, padding=1)
        self.down1, self.down2 = Block(8, 8, 2), Block(8, 16, 2)
        self.fc = nn.Linear(16, num_classes)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        if bool(x.isinf().any()):
            raise ValueError("infinite")
        x = self.down2(self.down1(x))
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


class OneForAll(nn.Module):
    """Three convolutions at three resolutions, with one activation and one pool for all.

    Args:
        in_chans: channels of the image.
        num_classes: number of logits.
        by_value: whether it decides by values, so that it has no graph.
        unused: whether it has a layer of 65 parameters that it never calls.
    """

    def __init__(
        self, in_chans: int, num_classes: int, by_value: bool = False, unused: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_chans, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.conv3 = nn.Conv2d(16, 32, 3, padding=1)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(32, num_classes)
        self.by_value = by_value
        if unused:
            self.unused = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        x = self.relu(self.conv3(x))
        if self.by_value and bool(x.isnan().any()):
            raise ValueError("not a number")
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


class OneActivation(nn.Sequential):
    """The same instance of an activation at several places of a sequence."""

    def __init__(self, in_chans: int, num_classes: int) -> None:
        act = nn.GELU()
        super().__init__(
            nn.Conv2d(in_chans, 8, 3, padding=1),
            act,
            nn.Conv2d(8, 16, 3, 2, 1),
            act,
            nn.Conv2d(16, 32, 3, 2, 1),
            act,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            act,
            nn.Linear(32, num_classes),
        )


class OneConvolution(nn.Module):
    """One convolution at every resolution; between them pools, as modules or as functions."""

    def __init__(self, in_chans: int, num_classes: int, functions: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_chans, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.pools = nn.ModuleList(nn.MaxPool2d(2) for _ in range(2))
        self.fc = nn.Linear(8, num_classes)
        self.functions = functions

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for pool in self.pools:
            x = self.conv(functional.max_pool2d(x, 2) if self.functions else pool(x))
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


class ByClass(OneForAll):
    """It asks of which class its modules are, and so takes no others."""

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(self.relu, nn.ReLU):
            x = 2 * x
        return super().forward(x)


def convolutional(in_chans: int, num_classes: int) -> nn.Module:
    """Convolutions to the end: the last gives the scores of the classes, whose mean is taken."""
    return nn.Sequential(
        nn.Conv2d(in_chans, 8, 3, 1, 1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Conv2d(32, num_classes, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


class ConvolutionalByFunction(nn.Module):
    """The same with functions between its modules and a map of one pixel at its end."""

    def __init__(self, in_chans: int, num_classes: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(in_chans, 8, 3, 1, 1)
        self.b, self.c = nn.Conv2d(8, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1)
        self.scores = nn.Conv2d(32, num_classes, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.a, self.b, self.c):
            x = functional.relu(conv(x))
        return functional.relu(self.scores(x)).mean((2, 3))


class DropPath(nn.Module):
    """Drops whole images of a branch in training."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * (torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5)


class InTraining(Functional):
    """A residual branch that something is done to in training only.

    Args:
        how: ``path`` by a module without parts, ``block`` by one with parts, ``noise`` in forward
            itself, ``alpha`` by a dropout of another function, ``always`` by one that does not ask.
    """

    def __init__(self, in_chans: int, num_classes: int, how: str) -> None:
        super().__init__(in_chans, num_classes)
        self.how = how
        self.branch = nn.Conv2d(16, 16, 3, 1, 1)
        self.drop = DropPath()
        self.block = NoisyBlock(16)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv1(x))
        x = functional.relu(self.norm2(self.conv2(x)))
        if self.how == "path":
            x = x + self.drop(functional.relu(self.branch(x)))
        elif self.how == "block":
            x = functional.relu(self.block(x))
        elif self.how == "noise" and self.training:
            x = x + torch.randn_like(x)
        elif self.how == "alpha":
            x = functional.feature_alpha_dropout(x, 0.5, self.training)
        elif self.how == "always":
            x = functional.dropout(x, 0.5)
        x = functional.relu(self.conv3(x))
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


class NoisyBlock(nn.Module):
    """A convolution whose map is noisy in training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x + torch.randn_like(x) if self.training else x


class Recurrent(nn.Module):
    """A block with weights that one stage calls again and again."""

    def __init__(self, in_chans: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_chans, 8, 3, 1, 1)
        self.down = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.again = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU())
        self.coarse = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(self.stem(x))
        for _ in range(3):
            x = self.again(x)
        out: Tensor = self.fc(self.coarse(x).mean((2, 3)))
        return out


def tied(in_chans: int, num_classes: int) -> nn.Module:
    """Two stages whose convolutions have the same weights."""
    first, second = nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
    second.weight = first.weight
    return nn.Sequential(
        nn.Conv2d(in_chans, 8, 3, 1, 1),
        nn.ReLU(),
        *(first, nn.ReLU(), second, nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)),
    )


class OwnValues(nn.Module):
    """It normalises images by buffers, and scales maps and logits by parameters of its own."""

    def __init__(self, in_chans: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((1, in_chans, 1, 1), 0.5))
        self.stem = nn.Conv2d(in_chans, 8, 3, 1, 1)
        self.down1 = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.gain = nn.Parameter(torch.full((16, 1, 1), 0.5))
        self.down2 = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())
        self.fc = nn.Linear(32, num_classes)
        self.temperature = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        x = self.down1(self.stem(x - self.mean)) * self.gain
        out: Tensor = self.temperature * self.fc(self.down2(x).mean((2, 3)))
        return out


class FixedPools(nn.Module):
    """Pools to 16 and to 8 pixels between convolutions, as modules or as functions.

    Args:
        in_chans: channels of the image.
        num_classes: number of logits.
        modules: whether they are modules.
    """

    def __init__(self, in_chans: int, num_classes: int, modules: bool = True) -> None:
        super().__init__()
        widths = (in_chans, 8, 8, 16, 32)
        self.stem, self.fine, self.middle, self.coarse = (
            nn.Sequential(nn.Conv2d(taken, given, 3, 1, 1), nn.BatchNorm2d(given), nn.ReLU())
            for taken, given in itertools.pairwise(widths)
        )
        self.modules_between = modules
        self.pool1, self.pool2 = nn.AdaptiveAvgPool2d(16), nn.AdaptiveMaxPool2d((8, 8))
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fine(self.stem(x))
        x = self.pool1(x) if self.modules_between else functional.adaptive_avg_pool2d(x, 16)
        x = self.middle(x)
        x = self.pool2(x) if self.modules_between else functional.adaptive_max_pool2d(x, 8)
        out: Tensor = self.fc(self.coarse(x).mean((2, 3)))
        return out
