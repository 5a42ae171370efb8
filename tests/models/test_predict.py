"""Logits of many images are those of a few at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import arches
from bench.models.predict import PIECE, in_pieces


@pytest.mark.parametrize("count", [1, PIECE, PIECE + 1, 150, 256])
@pytest.mark.parametrize("variant", ["bu", "td"])
def test_pieces_give_the_same_logits(variant: str, count: int) -> None:
    """To the last bit or two, as batches of different sizes do."""
    network = arches.create("lenet_fc", variant, in_chans=1, num_classes=10).eval()
    network = network.to(memory_format=torch.channels_last)
    images = torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(
            in_pieces(network)(images), network(images), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 129, 500])
def test_pieces_are_few_and_even(count: int) -> None:
    sizes: list[int] = []

    def network(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return images.flatten(1)[:, :2]

    images = torch.rand(count, 1, 2, 2)
    assert torch.equal(in_pieces(network)(images), images.flatten(1)[:, :2])
    assert len(sizes) == -(-count // PIECE)
    assert max(sizes) - min(sizes) <= 1


def test_gradients_reach_the_images() -> None:
    images = torch.rand(130, 3, 4, 4, requires_grad=True)
    in_pieces(lambda x: x.flatten(1) ** 2)(images).sum().backward()
    assert images.grad is not None
    assert torch.equal(images.grad, 2 * images.detach())


@pytest.mark.gpu
def test_a_gpu_gets_all_images_at_once() -> None:
    sizes: list[int] = []

    def network(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return images.flatten(1)

    in_pieces(network)(torch.rand(500, 1, 2, 2, device="cuda"))
    assert sizes == [500]
