"""Taps, border rows, padding and upsampling, against numbers and naive versions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from arches.layers.filters import (
    antialias_rows,
    bilinear_rows,
    blur_width,
    repetition,
    sampled_gaussian_rows,
)
from arches.layers.resample import downsample, upsample
from arches.layers.same_pad import SameConv2d, SameMaxPool2d, same_padding
from arches.options import DOWNSAMPLING

few = settings(max_examples=40, deadline=None)
many = settings(max_examples=300, deadline=None)


def taps(row: list[float]) -> list[float]:
    return [weight for weight in row if weight]


@pytest.mark.parametrize(
    ("factor", "half"),
    [
        (2, [0.017560, 0.129748, 0.352692]),
        (4, [0.004558, 0.015909, 0.043244, 0.091547, 0.150936, 0.193806]),
    ],
)
@pytest.mark.parametrize("side", [28, 32])
def test_taps(factor: int, half: list[float], side: int) -> None:
    for row in antialias_rows(side, factor)[2:-2]:
        assert taps(row) == pytest.approx(half + half[::-1], abs=6e-7)


@pytest.mark.parametrize(
    ("factor", "border"),
    [
        (2, [0.413622, 0.413622, 0.152163, 0.020593]),
        (4, [0.178677, 0.229426, 0.229426, 0.178677, 0.108373, 0.051192, 0.018832, 0.005396]),
    ],
)
@pytest.mark.parametrize("side", [28, 32, 128])
def test_border_rows(factor: int, border: list[float], side: int) -> None:
    rows = antialias_rows(side, factor)
    assert taps(rows[0]) == pytest.approx(border, abs=6e-7)
    assert taps(rows[-1]) == pytest.approx(border[::-1], abs=6e-7)


@pytest.mark.parametrize("factor", [2, 4, 8, 16])
def test_number_of_taps(factor: int) -> None:
    middle = antialias_rows(128, factor)[128 // factor // 2]
    assert len(taps(middle)) == 3 * factor == blur_width(factor)


def test_sampled_gaussian_profile() -> None:
    row = sampled_gaussian_rows(28, 2, 1.0, 3)[5]
    half = [0.004433, 0.054006, 0.242036]
    assert row[7:14] == pytest.approx([*half, 0.399050, *half[::-1]], abs=6e-7)


@few
@given(
    height=st.integers(16, 45),
    width=st.integers(16, 45),
    factor=st.sampled_from([2, 4, 8]),
    method=st.sampled_from(list(DOWNSAMPLING)),
)
def test_downsampling_of_any_size(height: int, width: int, factor: int, method: str) -> None:
    image = torch.rand(2, 3, height, width, dtype=torch.float64, requires_grad=True)
    small = downsample(image, factor, method)
    assert small.shape == (2, 3, height // factor, width // factor)
    constant = downsample(torch.full_like(image, 0.5), factor, method)
    assert torch.allclose(constant, torch.full_like(constant, 0.5), atol=1e-12)
    (gradient,) = torch.autograd.grad(small.sum(), image)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


@few
@given(side=st.integers(16, 60), factor=st.sampled_from([2, 3, 4, 8]))
def test_antialias_against_pixel_by_pixel(side: int, factor: int) -> None:
    line = np.random.default_rng(side).random(side)
    out = np.array(antialias_rows(side, factor)) @ line
    for index in range(side // factor):
        distance = np.arange(side) + 0.5 - (index + 0.5) * factor
        weight = np.exp(-2 * distance**2 / factor**2) * (np.abs(distance) < 1.5 * factor)
        assert out[index] == pytest.approx((weight * line).sum() / weight.sum(), abs=1e-12)


@few
@given(side=st.integers(8, 40), factor=st.sampled_from([2, 4]))
def test_gaussian_is_a_reflected_blur_that_is_subsampled(side: int, factor: int) -> None:
    half = math.ceil(3 * factor / 2)
    image = torch.rand(1, 1, side, side, dtype=torch.float64)
    ticks = torch.arange(-half, half + 1, dtype=torch.float64)
    line = torch.exp(-2 * ticks**2 / factor**2)
    kernel = torch.outer(line, line)[None, None] / line.sum() ** 2
    padded = functional.pad(image, (half,) * 4, mode="reflect")
    blurred = functional.conv2d(padded, kernel)
    expected = blurred[..., ::factor, ::factor][..., : side // factor, : side // factor]
    assert torch.allclose(downsample(image, factor, "gaussian"), expected, atol=1e-12)


def test_other_methods() -> None:
    image = torch.arange(64.0).view(1, 1, 8, 8)
    assert downsample(image, 2, "noblur")[0, 0, 1].tolist() == [16.0, 18.0, 20.0, 22.0]
    assert downsample(image, 2, "pool")[0, 0, 0].tolist() == [9.0, 11.0, 13.0, 15.0]
    assert downsample(image, 1, "tf") is image


def test_a_blur_wider_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        downsample(torch.rand(1, 1, 6, 6), 4, "gaussian")


def test_half_precision_is_blurred_in_single() -> None:
    image = torch.rand(1, 1, 28, 28)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(downsample(image, 4), downsample(image.clone(), 4))
        assert downsample(image, 4).dtype == torch.float32
    rough = downsample(image.bfloat16(), 4)
    assert rough.dtype == torch.bfloat16
    assert torch.equal(rough, downsample(image.bfloat16().float(), 4).bfloat16())


def test_matrices_made_in_inference_mode_serve_training() -> None:
    image = torch.rand(1, 1, 37, 41)
    with torch.inference_mode():
        downsample(image, 2)
    image.requires_grad_()
    downsample(image, 2).sum().backward()
    assert image.grad is not None


@few
@given(side=st.integers(1, 60), kernel=st.integers(1, 7), stride=st.integers(1, 4))
def test_same_padding_reaches_the_rounded_up_size(side: int, kernel: int, stride: int) -> None:
    before, after = same_padding(side, kernel, stride)
    assert 0 <= after - before <= 1
    padded = max(side + before + after, kernel)
    assert (padded - kernel) // stride + 1 == math.ceil(side / stride)


def test_same_padding_of_even_sides_is_bottom_and_right() -> None:
    assert same_padding(32, 3, 2) == (0, 1)
    assert same_padding(32, 1, 2) == same_padding(28, 2, 2) == (0, 0)
    assert same_padding(7, 3, 2) == (1, 1)


@few
@given(
    height=st.integers(2, 30),
    width=st.integers(2, 30),
    window=st.sampled_from([(2, 2), (3, 2), (4, 2), (3, 3), (5, 4)]),
)
def test_pool_is_that_of_a_padded_map(height: int, width: int, window: tuple[int, int]) -> None:
    kernel, stride = window
    x = -torch.rand(1, 2, height, width)
    top, bottom = same_padding(height, kernel, stride)
    left, right = same_padding(width, kernel, stride)
    padded = functional.pad(x, (left, right, top, bottom), value=-math.inf)
    expected = functional.max_pool2d(padded, kernel, stride)
    assert torch.equal(SameMaxPool2d(kernel, stride)(x), expected)


@few
@given(
    height=st.integers(3, 20),
    width=st.integers(3, 20),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.sampled_from([1, 2]),
)
def test_convolution_is_that_of_a_padded_map(
    height: int, width: int, kernel: int, stride: int
) -> None:
    x = torch.rand(1, 2, height, width)
    conv = SameConv2d(2, 3, kernel, stride)
    top, bottom = same_padding(height, kernel, stride)
    left, right = same_padding(width, kernel, stride)
    padded = functional.pad(x, (left, right, top, bottom))
    expected = functional.conv2d(padded, conv.weight, conv.bias, stride)
    assert torch.allclose(conv(x), expected, atol=1e-6)


@pytest.mark.parametrize("factor", [2, 3, 4, 41])
def test_nearest_repeats_exactly(factor: int) -> None:
    x = torch.rand(2, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    out = upsample(x, (5 * factor, 7 * factor))
    assert torch.equal(out, x.repeat_interleave(factor, 2).repeat_interleave(factor, 3))
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(gradient, torch.full_like(x, factor**2))


@many
@given(side=st.integers(8, 90), factor=st.sampled_from([2, 4, 8]))
def test_nearest_stays_aligned_with_the_pyramid(side: int, factor: int) -> None:
    """Where sides do not divide, a pixel still comes from the coarse pixel that covers it."""
    low, high = side // factor, side // (factor // 2)
    coarse = torch.arange(float(low)).expand(1, 1, low, low)
    out = upsample(coarse, (high, high))[0, 0, 0]
    assert out.tolist() == [float(min(pixel // 2, low - 1)) for pixel in range(high)]


def test_repetition_of_rounded_sides() -> None:
    assert [repetition(7, n) for n in (13, 14, 15)] == [2, 2, 2]
    assert repetition(1, 3) == 3
    assert (repetition(2, 3), repetition(2, 5), repetition(2, 7)) == (2, 2, 4)
    assert repetition(7, 10) == 0
    odd = upsample(torch.arange(7.0).expand(1, 1, 1, 7), (1, 10))[0, 0, 0]
    assert odd.tolist() == [0, 0, 1, 2, 2, 3, 4, 4, 5, 6]


@pytest.mark.parametrize("side", [1, 4, 7])
def test_bilinear_is_that_of_torch_where_sides_divide(side: int) -> None:
    x = torch.rand(1, 2, side, side, dtype=torch.float64)
    expected = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.allclose(upsample(x, (2 * side, 2 * side), "bilinear"), expected, atol=1e-12)
    assert all(math.isclose(sum(row), 1.0) for row in bilinear_rows(side, 2 * side + 1))
