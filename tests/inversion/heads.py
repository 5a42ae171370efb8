"""Endings of networks: what stands between the last feature map and the logits."""

from __future__ import annotations

from collections.abc import Callable

import nets
import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 32
"""Channels of the last feature map, at 1/8 of the image; the finest stage has 8."""


class Net(nn.Module):
    """The stages of :func:`nets.residual`, then a head of one's own."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*list(nets.residual(3, 10).children())[:-3])
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(x))
        return out


def average() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 10))


class AverageByFunction(nn.Module):
    """The mean over the image, as it is often written: in one of several ways."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.fc = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "mean":
            x = x.mean((2, 3))
        elif self.how == "mean twice":
            x = x.mean(-1).mean(-1)
        elif self.how == "adaptive":
            x = functional.adaptive_avg_pool2d(x, (1, 1)).squeeze(-1).squeeze(-1)
        elif self.how == "window by function":
            x = functional.avg_pool2d(x, 8)
            x = x.view(x.size(0), -1)
        else:
            x = x.flatten(2).mean(2)
        out: Tensor = self.fc(x)
        return out


def window() -> nn.Module:
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(WIDTH, 10))


def dropout() -> nn.Module:
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(WIDTH, 10)
    )


class DropoutByFunction(nn.Module):
    """A dropout that asks for the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.dropout(x.mean((2, 3)), 0.3, training=self.training)
        out: Tensor = self.fc(x)
        return out


def largest() -> nn.Module:
    return nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 10))


def largest_in_window() -> nn.Module:
    return nn.Sequential(nn.MaxPool2d(8), nn.Flatten(), nn.Linear(WIDTH, 10))


class Both(nn.Module):
    """Mean and maximum side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.avgpool, self.maxpool = nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)
        self.fc = nn.Linear(2 * WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.avgpool(x), self.maxpool(x)], 1)
        out: Tensor = self.fc(x.flatten(1))
        return out


class Cosine(nn.Module):
    """Cosines between features and a direction of each class."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(10, WIDTH))
        self.scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.normalize(x.mean((2, 3)))
        return self.scale * functional.linear(x, functional.normalize(self.weight))


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(WIDTH),
        nn.Linear(WIDTH, 64),
        nn.GELU(),
        nn.Dropout(0.2),
        nn.Linear(64, 10),
    )


def normalised() -> nn.Module:
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, 10)
    )


class LastActivation(nn.Module):
    """An activation by function before the pool."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(functional.relu(x).mean((2, 3)))
        return out


class TwoHeads(nn.Module):
    """The mean of two classifiers, as log-probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(WIDTH, 10), nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3))
        return functional.log_softmax((self.one(x) + self.two(x)) / 2, dim=1)


class GeneralisedMean(nn.Module):
    """A pool with a power that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor([3.0]))

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(min=1e-6).pow(self.power).mean((2, 3)).pow(1 / self.power)


def generalised() -> nn.Module:
    return nn.Sequential(GeneralisedMean(), nn.Linear(WIDTH, 10))


def score_map() -> nn.Module:
    return nn.Sequential(nn.Conv2d(WIDTH, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Mean(nn.Module):
    """Over the image."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class SqueezeNet(nn.Module):
    """As SqueezeNet ends: scores at each pixel, an activation, their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), nn.Conv2d(WIDTH, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.classifier(x), 1)


def pooled_convolutions() -> nn.Module:
    """As MobileNetV3 ends: convolutions of the pooled image."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(WIDTH, 64, 1),
        nn.Hardswish(),
        nn.Conv2d(64, 10, 1),
        nn.Flatten(),
    )


def wide_convolution() -> nn.Module:
    """As EfficientNet ends: a convolution that makes many channels at each pixel."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(WIDTH, 64, 1), nn.BatchNorm2d(64), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def flattened() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(WIDTH * 8 * 8, 10))


def grid() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * WIDTH, 10))


class ByValue(nn.Module):
    """It asks for values, on the way to a mean and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3))
        if bool(x.isnan().any()):
            raise ValueError("not a number")
        out: Tensor = self.fc(x)
        return out


def grid_of_its_own() -> nn.Module:
    """What the images that a network is read with happen to give: 28 x 28."""
    return nn.Sequential(nn.AdaptiveMaxPool2d(28), nn.Flatten(), nn.Linear(784 * WIDTH, 10))


class Loop(nn.Module):
    """It goes through the images one by one, so that it cannot be read."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.fc(x[number].mean((1, 2))) for number in range(int(x.shape[0]))])


class LastAxis(nn.Module):
    """A convolution of a map whose channels then are the last axis, as transformers have them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)
        self.again = nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.again(self.conv(x))
        return out.permute(0, 2, 3, 1)


class LargestToken(nn.Module):
    """The maximum over the pixels of a map with its channels on the last axis, normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.fc = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(self.norm(x.flatten(1, 2).amax(1)))
        return out


def tokens() -> nn.Module:
    """A network whose last map has its channels on the last axis."""
    network = Net(LargestToken())
    network.body[-1] = nn.Sequential(nets.Block(16, WIDTH, 2), LastAxis())
    return network


PLAIN: dict[str, Callable[[], nn.Module]] = {
    "average": average,
    "window": window,
    **{
        how: (lambda how=how: AverageByFunction(how))  # type: ignore[misc]
        for how in ("mean", "mean twice", "adaptive", "window by function", "flatten")
    },
    "by value": ByValue,
}
"""Mean and dense layer."""

CARRIED: dict[str, Callable[[], nn.Module]] = {
    "dropout": dropout,
    "dropout by function": DropoutByFunction,
    "maximum": largest,
    "maximum in window": largest_in_window,
    "both": Both,
    "cosine": Cosine,
    "perceptron": perceptron,
    "normalised": normalised,
    "activation": LastActivation,
    "two heads": TwoHeads,
    "generalised mean": generalised,
    "score map": score_map,
    "squeezenet": SqueezeNet,
    "pooled convolutions": pooled_convolutions,
}
"""What works at any width and size."""

REPLACED: dict[str, Callable[[], nn.Module]] = {
    "wide convolution": wide_convolution,
    "flattened": flattened,
    "grid": grid,
    "grid of its own": grid_of_its_own,
    "loop": Loop,
}
"""What does not, or cannot be read."""
