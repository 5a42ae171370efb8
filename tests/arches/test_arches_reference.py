"""All 18 networks against straight-line references written from tables, in double precision.

The references share no code with the package. They also are the source of the exchange names: a
reference invents its arrays under the names it needs, and the model must take exactly those.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import arches


class Reference:
    """Draws weights on demand, in H x W x in x out, and computes with them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.arrays: dict[str, np.ndarray] = {}

    def draw(self, name: str, kind: str, shape: tuple[int, ...]) -> Tensor:
        rng = self.rng
        if kind == "kernel":
            array = rng.normal(size=shape) * math.sqrt(2 / np.prod(shape[:-1]))
        elif kind in {"gamma", "moving_variance"}:
            array = rng.uniform(0.5, 2.0, size=shape)
        else:
            array = rng.normal(size=shape) * 0.3
        self.arrays[f"{name}/{kind}"] = array
        return torch.from_numpy(array)

    def conv(self, name: str, x: Tensor, size: int, width: int, stride: int = 1) -> Tensor:
        kernel = self.draw(name, "kernel", (size, size, x.shape[1], width))
        bias = self.draw(name, "bias", (width,))
        if stride == 1:
            edge = (size - 1) // 2
            x = functional.pad(x, (edge, edge, edge, edge))
        elif size == 3:
            assert x.shape[-1] % 2 == 0
            x = functional.pad(x, (0, 1, 0, 1))
        return functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, stride)

    def bn(self, name: str, x: Tensor, eps: float) -> Tensor:
        shape = (x.shape[1],)
        gamma, beta = self.draw(name, "gamma", shape), self.draw(name, "beta", shape)
        mean = self.draw(name, "moving_mean", shape)
        variance = self.draw(name, "moving_variance", shape)
        gamma, beta, mean, variance = (v[:, None, None] for v in (gamma, beta, mean, variance))
        return (x - mean) / (variance + eps).sqrt() * gamma + beta

    def cbr(self, name: str, x: Tensor, size: int, width: int) -> Tensor:
        return self.bn(f"{name}.bn", self.conv(name, x, size, width), 1e-3).clamp_min(0)

    def br(self, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
        return self.bn(name, x, eps).clamp_min(0)

    def dense(self, x: Tensor) -> Tensor:
        x = self.br("final.bn", x).mean((2, 3))
        kernel = self.draw("dense", "kernel", (x.shape[1], 10))
        return x @ kernel + self.draw("dense", "bias", (10,))


def maxpool(x: Tensor, size: int) -> Tensor:
    if size == 3:
        assert x.shape[-1] % 2 == 0
        x = functional.pad(x, (0, 1, 0, 1), value=-math.inf)
    return functional.max_pool2d(x, size, 2)


def up(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def resized(x: Tensor, factor: int) -> Tensor:
    """The antialiased Gaussian resize, one output pixel after the other."""
    if factor == 1:
        return x
    side = x.shape[-1]
    matrix = np.zeros((side // factor, side))
    for out in range(side // factor):
        for pixel in range(side):
            distance = pixel + 0.5 - (out + 0.5) * factor
            if abs(distance) < 1.5 * factor:
                matrix[out, pixel] = np.exp(-(distance**2) / (2 * (factor / 2) ** 2))
        matrix[out] /= matrix[out].sum()
    return torch.from_numpy(np.einsum("ai,ncij,bj->ncab", matrix, x.numpy(), matrix))


def merged(x: Tensor, stem: Tensor) -> Tensor:
    return torch.cat([up(x) + stem, stem], 1)


def lenet_bu(r: Reference, image: Tensor) -> Tensor:
    x = maxpool(r.cbr("s1.c1", image, 5, 6), 2)
    x = maxpool(r.cbr("s2.c1", x, 5, 16), 2)
    x = r.cbr("s3.c1", x, 3, 32)
    return r.cbr("cls", x, 1, 10).mean((2, 3))


def lenet_top_down(low: int, mid: int, high: int) -> Callable[[Reference, Tensor], Tensor]:
    def run(r: Reference, image: Tensor) -> Tensor:
        x = r.cbr("in4", resized(image, 4), 3, low)
        if low != mid:
            x = r.cbr("m2.proj", x, 1, mid)
        x = r.cbr("m2.fuse", merged(x, r.cbr("in2", resized(image, 2), 5, mid)), 3, mid)
        x = r.cbr("t2.c1", x, 5, mid)
        if mid != high:
            x = r.cbr("m1.proj", x, 1, high)
        x = r.cbr("m1.fuse", merged(x, r.cbr("in1", image, 5, high)), 3, high)
        x = r.cbr("t1.c1", x, 5, high)
        return r.cbr("cls", x, 1, 10).mean((2, 3))

    return run


def nin_bu(scale: int) -> Callable[[Reference, Tensor], Tensor]:
    w48, w40, w24 = 48 * scale, 40 * scale, 24 * scale

    def run(r: Reference, x: Tensor) -> Tensor:
        for name, size, width in (("c1", 5, w48), ("c2", 1, w40), ("c3", 1, w24)):
            x = r.cbr(f"s1.{name}", x, size, width)
        x = maxpool(x, 3)
        for name, size, width in (("c1", 5, w48), ("c2", 1, w48), ("c3", 1, w48)):
            x = r.cbr(f"s2.{name}", x, size, width)
        x = maxpool(x, 3)
        x = r.cbr("s3.c2", r.cbr("s3.c1", x, 3, w48), 1, w48)
        return r.cbr("cls", x, 1, 10).mean((2, 3))

    return run


def nin_top_down(scale: int, variant: str) -> Callable[[Reference, Tensor], Tensor]:
    w48, w40, w24 = 48 * scale, 40 * scale, 24 * scale
    bottom = {"td": [w48], "td_uni": [w48], "td_rev": [w40, w24]}[variant]
    top = {"td": [w40, w24], "td_uni": [w48, w48], "td_rev": [w48]}[variant]

    def run(r: Reference, image: Tensor) -> Tensor:
        x = r.cbr("in4", resized(image, 4), 3, w48)
        for number, width in enumerate(bottom, start=2):
            x = r.cbr(f"t4.c{number}", x, 1, width)
        if variant == "td_rev":
            x = r.cbr("m2.proj", x, 1, w48)
        x = r.cbr("m2.fuse", merged(x, r.cbr("in2", resized(image, 2), 5, w48)), 3, w48)
        x = r.cbr("t2.c1", x, 5, w48)
        x = r.cbr("t2.c3", r.cbr("t2.c2", x, 1, w48), 1, w48)
        x = r.cbr("m1.fuse", merged(x, r.cbr("in1", image, 5, w48)), 3, w48)
        x = r.cbr("t1.c1", x, 5, w48)
        for number, width in enumerate(top, start=2):
            x = r.cbr(f"t1.c{number}", x, 1, width)
        return r.cbr("cls", x, 1, 10).mean((2, 3))

    return run


def plain_block(r: Reference, name: str, x: Tensor, width: int, stride: int = 1) -> Tensor:
    o = r.br(f"{name}.bn1", x)
    y = r.conv(f"{name}.conv1", o, 3, width, stride)
    y = r.conv(f"{name}.conv2", r.br(f"{name}.bn2", y), 3, width)
    return y + (r.conv(f"{name}.proj", o, 1, width, stride) if stride == 2 else x)


def up_block(
    r: Reference, name: str, x: Tensor, width: int, stem: Tensor, project: bool = True
) -> Tensor:
    o = r.br(f"{name}.bn1", x)
    shortcut = up(r.conv(f"{name}.proj", o, 1, width) if project else x)
    branch = r.conv(f"{name}.conv1", up(o), 3, width)
    branch = r.conv(f"{name}.conv2", r.br(f"{name}.bn2", branch), 3, width)
    joined = torch.cat([shortcut + branch + stem, stem], 1)
    return r.conv(f"{name}.fuse", r.br(f"{name}.fuse.bn", joined), 3, width)


def resnet32_bu(r: Reference, image: Tensor) -> Tensor:
    x = r.conv("stem", image, 3, 16)
    for stage, width in ((1, 16), (2, 32), (3, 64)):
        for block in range(5):
            stride = 2 if stage > 1 and block == 0 else 1
            x = plain_block(r, f"s{stage}.b{block}", x, width, stride)
    return r.dense(x)


def resnet32_top_down(
    widths: tuple[int, int, int], project: bool = True
) -> Callable[[Reference, Tensor], Tensor]:
    def run(r: Reference, image: Tensor) -> Tensor:
        x = r.conv("in4", resized(image, 4), 3, widths[0])
        for block in range(5):
            x = plain_block(r, f"t4.b{block}", x, widths[0])
        for factor, width in ((2, widths[1]), (1, widths[2])):
            stem = r.conv(f"in{factor}", resized(image, factor), 3, width)
            x = up_block(r, f"t{factor}.b0", x, width, stem, project)
            for block in range(1, 5):
                x = plain_block(r, f"t{factor}.b{block}", x, width)
        return r.dense(x)

    return run


def resnet18_bu(r: Reference, image: Tensor) -> Tensor:
    x = maxpool(r.conv("stem", image, 3, 32), 3)
    for stage, width in ((1, 32), (2, 64), (3, 128), (4, 256)):
        x = plain_block(r, f"s{stage}.b0", x, width, 1 if stage == 1 else 2)
        x = plain_block(r, f"s{stage}.b1", x, width)
    return r.dense(x)


def resnet18_td(r: Reference, image: Tensor) -> Tensor:
    x = r.conv("in16", resized(image, 16), 3, 256)
    x = merged(x, r.conv("in8", resized(image, 8), 3, 256))
    x = r.conv("m8.fuse", r.br("m8.fuse.bn", x, eps=1e-3), 3, 256)
    x = plain_block(r, "t8.b0", x, 256)
    x = plain_block(r, "t8.b1", x, 256)
    for factor, width in ((4, 128), (2, 64), (1, 32)):
        stem = r.conv(f"in{factor}", resized(image, factor), 3, width)
        x = up_block(r, f"t{factor}.b0", x, width, stem)
        x = plain_block(r, f"t{factor}.b1", x, width)
    return r.dense(x)


NETWORKS = {
    ("lenet_fc", "bu"): lenet_bu,
    ("lenet_fc", "td"): lenet_top_down(32, 16, 6),
    ("lenet_fc", "td_uni"): lenet_top_down(16, 16, 16),
    ("lenet_fc", "td_rev"): lenet_top_down(6, 16, 32),
    ("nin_light", "bu"): nin_bu(1),
    ("nin_light", "td"): nin_top_down(1, "td"),
    ("nin_light", "td_uni"): nin_top_down(1, "td_uni"),
    ("nin_light", "td_rev"): nin_top_down(1, "td_rev"),
    ("nin", "bu"): nin_bu(4),
    ("nin", "td"): nin_top_down(4, "td"),
    ("nin", "td_uni"): nin_top_down(4, "td_uni"),
    ("nin", "td_rev"): nin_top_down(4, "td_rev"),
    ("resnet32", "bu"): resnet32_bu,
    ("resnet32", "td"): resnet32_top_down((64, 32, 16)),
    ("resnet32", "td_uni"): resnet32_top_down((32, 32, 32), project=False),
    ("resnet32", "td_rev"): resnet32_top_down((16, 32, 64)),
    ("resnet18_half", "bu"): resnet18_bu,
    ("resnet18_half", "td"): resnet18_td,
}
IMAGES = {"lenet_fc": (1, 28), "nin_light": (1, 28), "nin": (3, 16), "resnet18_half": (3, 32)}


@pytest.mark.parametrize(("name", "variant"), list(NETWORKS))
def test_probabilities_are_those_of_the_reference(name: str, variant: str) -> None:
    in_chans, side = IMAGES.get(name, (3, 32))
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, in_chans, side, side, generator=generator, dtype=torch.float64)
    images[1] *= torch.linspace(0, 1, side, dtype=torch.float64)
    reference = Reference(seed=2)
    expected = NETWORKS[name, variant](reference, images)
    # Deep residual networks with random statistics have large logits: keep the softmax soft.
    softness = 1 / expected.std(dim=1).max()

    model = arches.create(name, variant, in_chans=in_chans).eval()
    arches.load_keras_weights(model, reference.arrays)
    with torch.no_grad():
        single = model(images.float())
        double = model.double()
        arches.load_keras_weights(double, reference.arrays)
        exact = double(images)

    wanted = (expected * softness).softmax(1)
    assert (wanted[0] - wanted[1]).abs().max() > 1e-3, "the images must matter"
    assert ((single.double() * softness).softmax(1) - wanted).abs().max() < 1e-5
    assert ((exact * softness).softmax(1) - wanted).abs().max() < 1e-12
