"""Bytes held in tensors, against counting by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from arches.analysis.storages import StorageTracker

FLOAT = 4


def test_views_share_their_storage_and_the_last_one_frees_it() -> None:
    with StorageTracker() as tracker:
        whole = torch.zeros(100)
        assert tracker.live == 100 * FLOAT
        view = whole.view(10, 10)[3:]
        assert tracker.live == 100 * FLOAT
        del whole
        assert tracker.live == 100 * FLOAT
        del view
    assert (tracker.live, tracker.peak) == (0, 100 * FLOAT)


def test_the_peak_is_what_was_alive_at_once() -> None:
    with StorageTracker() as tracker:
        for _ in range(5):
            kept = torch.zeros(1000)  # the new one is there before the old one goes
            del kept
        assert tracker.peak == 1000 * FLOAT
        one, two = torch.zeros(300), torch.zeros(900)
        del two
        three = torch.zeros(500)
        assert tracker.live == 800 * FLOAT
        del one, three
    assert tracker.peak == 1200 * FLOAT


def test_what_was_there_before_does_not_count() -> None:
    weight = torch.ones(1000)
    with StorageTracker() as tracker:
        part = weight[10:].view(-1, 10).t()
        weight.add_(1)
        assert (tracker.live, tracker.peak) == (0, 0)
        product = part * 2
        assert tracker.live == product.numel() * FLOAT


def test_types_have_their_sizes() -> None:
    with StorageTracker() as tracker:
        kept = [
            torch.zeros(10, dtype=torch.float64),
            torch.zeros(10, dtype=torch.bfloat16),
            torch.zeros(10, dtype=torch.uint8),
        ]
        assert tracker.live == 80 + 20 + 10
        del kept


def test_autograd_holds_what_it_needs() -> None:
    x = torch.ones(50, requires_grad=True)
    with StorageTracker() as tracker:
        y = (2 * x).exp().log()  # exp keeps its result, log its input: the same storage
        del x
        assert tracker.live == (50 + 50) * FLOAT
        y.sum().backward()
        assert tracker.live == (50 + 50) * FLOAT, "y, and the gradient of x; exp's result is gone"
        del y


def test_a_networks_training_step_by_hand() -> None:
    """Two linear layers without bias, 10 images: maps 4 and 3 wide."""
    network = nn.Sequential(nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False))
    images = torch.rand(10, 5)
    with StorageTracker() as tracker:
        out = network(images)
        # The map before the ReLU is free: backward looks at its result alone.
        assert tracker.live == (10 * 4 + 10 * 3) * FLOAT
        assert tracker.peak == (10 * 4 + max(10 * 4, 10 * 3)) * FLOAT
        out.sum().backward()
        del out
        assert tracker.live == (5 * 4 + 4 * 3) * FLOAT, "the gradients are left"


def test_operations_with_several_results() -> None:
    with StorageTracker() as tracker:
        values, index = torch.rand(6, 7).max(1)
        assert tracker.live == 6 * 4 + 6 * 8
        first, *rest = values.split(2)
        assert tracker.live == 6 * 4 + 6 * 8
        del values, index, first, rest
    assert tracker.live == 0


@pytest.mark.parametrize("count", [1, 4])
def test_trackers_begin_afresh(count: int) -> None:
    for _ in range(count):
        with StorageTracker() as tracker:
            torch.zeros(25)
        assert (tracker.live, tracker.peak) == (0, 100)
