"""Strides go, sizes stay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from arches.inversion.strides import Enlarged, keep_size, without_strides


def sample(side: int) -> Tensor:
    return torch.rand(2, 4, side, side)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("side", [1, 5, 8])
def test_convolutions_keep_the_size(kernel: int, side: int) -> None:
    conv = without_strides(nn.Conv2d(4, 6, kernel, stride=2, padding=kernel // 3, dilation=1))
    assert conv(sample(side)).shape == (2, 6, side, side)


def test_an_even_window_pads_one_more_after_than_before() -> None:
    conv = nn.Conv2d(1, 1, 2, stride=2, bias=False)
    nn.init.ones_(conv.weight)
    out = without_strides(conv)(torch.arange(4.0).reshape(1, 1, 2, 2))
    assert out.tolist() == [[[[6.0, 4.0], [5.0, 3.0]]]]


def test_pools_that_only_thin_out_go_and_others_keep_the_size() -> None:
    assert isinstance(without_strides(nn.MaxPool2d(2)), nn.Identity)
    assert isinstance(without_strides(nn.AvgPool2d(2, ceil_mode=True)), nn.Identity)
    for pool in (nn.MaxPool2d(3, 2), nn.AvgPool2d(3, 2, 1), nn.MaxPool2d(2, 1), nn.MaxPool2d(4, 2)):
        assert without_strides(pool)(sample(7)).shape[-1] == 7


def test_a_module_that_keeps_the_size_is_left_alone() -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1)
    assert keep_size(conv, sample, (8,), 1) is conv


def test_the_given_module_is_not_changed() -> None:
    conv = nn.Conv2d(4, 4, 3, 2, 1)
    changed = keep_size(conv, sample, (8,), 2)
    assert changed is not None
    assert changed(sample(8)).shape[-1] == 8
    assert conv.stride == (2, 2)


def test_where_no_stride_can_be_set_the_map_is_enlarged_first() -> None:
    shuffle = nn.PixelUnshuffle(2)
    changed = keep_size(shuffle, sample, (3, 8), 2)
    assert isinstance(changed, Enlarged)
    assert changed(sample(8)).shape == (2, 16, 8, 8)


def test_a_module_that_makes_one_pixel_has_no_way() -> None:
    assert keep_size(nn.AdaptiveAvgPool2d(1), sample, (8,), 8) is None
