"""What holds for every corruption: where its numbers come from, what it takes and returns."""

from __future__ import annotations

import itertools

import pytest
import torch
from corruption_parts import flat, pictures
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.corruptions import base
from bench.corruptions.base import NAMES, SEVERITIES, corrupt
from bench.corruptions.constants import constant
from bench.errors import BenchError, UnknownNameError

PAPER = [
    *("gaussian_noise", "shot_noise", "impulse_noise"),
    *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog"),
    *("brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression"),
]
RANDOM = {
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "glass_blur",
    "motion_blur",
    "snow",
    "frost",
    "fog",
    "elastic_transform",
}
SHAPES = [(1, 28, 28), (3, 32, 32), (3, 28, 45), (1, 50, 31), (3, 64, 64), (3, 130, 121)]


def test_the_fifteen_of_the_paper() -> None:
    assert list(NAMES) == PAPER
    assert SEVERITIES == (1, 2, 3, 4, 5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_results_are_images_of_8_bits(name: str, shape: tuple[int, int, int]) -> None:
    images = pictures(2, *shape)
    before = images.clone()
    for severity in SEVERITIES if max(shape) < 120 else (5,):
        found = corrupt(images, name, severity, [0, 1])
        assert found.shape == images.shape
        assert found.dtype == torch.float32
        assert found.device == images.device
        assert 0 <= float(found.min()) <= float(found.max()) <= 1
        assert torch.equal(found, (found * 255).round() / 255)
        assert not torch.equal(found, images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", NAMES)
def test_black_and_white_images(name: str) -> None:
    for level, channels in itertools.product((0, 255), (1, 3)):
        found = corrupt(flat(level, 2, channels), name, 5, [0, 1])
        assert bool(torch.isfinite(found).all())
        assert 0 <= float(found.min()) <= float(found.max()) <= 1


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    severity=st.sampled_from(SEVERITIES),
    shape=st.sampled_from(SHAPES[:5]),
    seed=st.integers(0, 2**31 - 1),
    first=st.integers(0, 2**40),
    order=st.permutations(range(7)),
    cut=st.integers(1, 6),
    at_once=st.sampled_from([1, 5000, 2**22]),
)
def test_who_else_is_in_the_batch_does_not_matter(
    name: str,
    severity: int,
    shape: tuple[int, int, int],
    seed: int,
    first: int,
    order: list[int],
    cut: int,
    at_once: int,
) -> None:
    images = pictures(7, *shape)
    samples = [first + 3 * k for k in range(7)]
    whole = corrupt(images, name, severity, samples, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "_AT_ONCE", at_once)
        for rows in (order[:cut], order[cut:]):
            part = corrupt(images[rows], name, severity, [samples[k] for k in rows], seed)
            assert torch.equal(part, whole[rows])


@pytest.mark.parametrize("name", NAMES)
def test_numbers_belong_to_seed_severity_and_sample(name: str) -> None:
    images = pictures(1).expand(2, -1, -1, -1).contiguous()
    found = corrupt(images, name, 3, [10, 11], seed=4)
    assert torch.equal(found, corrupt(images, name, 3, [10, 11], seed=4))
    other_seed = corrupt(images, name, 3, [10, 11], seed=5)
    assert torch.equal(found, other_seed) == (name not in RANDOM)
    assert torch.equal(found[0], found[1]) == (name not in RANDOM)
    assert torch.equal(found[1:], corrupt(images[1:], name, 3, [11], seed=4))


def test_corruptions_and_severities_draw_apart() -> None:
    grey = flat(128, 1, 1)
    noise = [corrupt(grey, "gaussian_noise", s, [0]) - grey for s in SEVERITIES]
    noise.append(corrupt(grey, "impulse_noise", 5, [0]) - grey)
    for one, other in itertools.combinations(noise, 2):
        both = torch.stack([one.flatten(), other.flatten()])
        assert abs(float(torch.corrcoef(both)[0, 1])) < 0.12


@pytest.mark.parametrize("name", NAMES)
def test_torchs_own_generator_is_left_alone(name: str) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    corrupt(pictures(1), name, 2, [0])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
def test_other_float_types_and_layouts_give_the_same(name: str) -> None:
    images = pictures(2)
    found = corrupt(images, name, 4, [0, 1])
    double = corrupt(images.double(), name, 4, [0, 1])
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), found, atol=1e-6, rtol=0)
    last = corrupt(images.contiguous(memory_format=torch.channels_last), name, 4, [0, 1])
    assert torch.equal(last, found)
    assert corrupt(images[:0], name, 4, []).shape == (0, 3, 32, 32)


def test_what_lies_between_grey_levels_is_rounded_first() -> None:
    images = pictures(1)
    between = (images + 0.4 / 255 * torch.linspace(-1, 1, 32)).clamp(0, 1)
    for name in ("shot_noise", "contrast"):
        assert torch.equal(corrupt(between, name, 3, [0]), corrupt(images, name, 3, [0]))


@pytest.mark.parametrize("name", NAMES)
def test_grey_is_what_equal_channels_are(name: str) -> None:
    """But for noise, which is drawn for each value, JPEG's chroma, and the colour of frost."""
    grey = pictures(1, 1)
    colour = corrupt(grey.expand(-1, 3, -1, -1), name, 3, [0])
    if name in {"gaussian_noise", "shot_noise", "impulse_noise"}:
        assert not torch.equal(colour[:, 0], colour[:, 1])
    elif name != "frost":
        torch.testing.assert_close(
            colour, corrupt(grey, name, 3, [0]).expand(-1, 3, -1, -1), atol=1.01 / 255, rtol=0
        )


@pytest.mark.parametrize(
    ("name", "side", "severity", "expected"),
    [
        ("fog", 28, 5, (1.5, 1.75)),
        ("fog", 48, 1, (0.2, 3)),
        ("fog", 49, 1, (0.4, 3)),
        ("fog", 119, 5, (2, 1.75)),
        ("fog", 120, 5, (3, 1.4)),
        ("fog", 500, 1, (1.5, 2)),
        ("snow", 64, 4, (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65)),
        ("snow", 224, 3, (0.55, 0.3, 4, 0.9, 12, 8, 0.7)),
    ],
)
def test_constants_are_those_of_the_nearest_published_size(
    name: str, side: int, severity: int, expected: object
) -> None:
    assert constant(name, severity, side) == expected


def test_the_shorter_side_counts() -> None:
    wide = corrupt(flat(100, 1, 1, 130)[:, :, :32], "contrast", 1, [0])
    assert torch.equal(wide, flat(100, 1, 1, 130)[:, :, :32])
    edge = flat(0, 1, 1, 130)[:, :, :32].clone()
    edge[..., :65] = 1
    # CIFAR-10-C's 0.75 of the contrast, not ImageNet-C's 0.4.
    assert float(corrupt(edge, "contrast", 1, [0]).max()) == pytest.approx(0.875, abs=0.003)


def test_what_cannot_be_corrupted() -> None:
    images = pictures(1)
    with pytest.raises(UnknownNameError, match="'fogg'; did you mean 'fog'"):
        corrupt(images, "fogg", 1, [0])
    with pytest.raises(UnknownNameError, match=r"unknown corruption 'xyz'; known: .*jpeg_comp"):
        corrupt(images, "xyz", 1, [0])
    for severity in (0, 6):
        with pytest.raises(BenchError, match=f"severity {severity} is not one of 1 to 5"):
            corrupt(images, "fog", severity, [0])
    with pytest.raises(BenchError, match="1 or 3 channels, not \\(1, 2, 32, 32\\)"):
        corrupt(images[:, :2], "fog", 1, [0])
    with pytest.raises(BenchError, match="at least 28 x 28 pixels, not 27 x 32"):
        corrupt(images[:, :, :27], "fog", 1, [0])
    with pytest.raises(BenchError, match="2 sample numbers for 1 images"):
        corrupt(images, "fog", 1, [0, 1])


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_the_gpu_makes_the_same_images(name: str) -> None:
    for shape in SHAPES:
        images = pictures(4, *shape)
        for severity in SEVERITIES:
            here = corrupt(images, name, severity, range(4))
            there = corrupt(images.cuda(), name, severity, range(4)).cpu()
            apart = (here - there).abs() * 255
            # A value that falls on half a grey level within float64's rounding is thinkable.
            assert float(apart.max()) <= 1.001
            assert float((apart > 0.5).double().mean()) < 1e-4
