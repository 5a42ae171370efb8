"""Training images that stay on the host train the same network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from train_parts import CPU, corner_set, lenet

from bench.data.dataset import Dataset
from bench.models.network import Network, wrap
from bench.seeding import seeded
from bench.suite.recipe import Augment, Recipe
from bench.train.determinism import numerics
from bench.train.images import Images, fit
from bench.train.trainer import History, train

ROOT = Path(__file__).parents[2]
# What is pinned for a batch is in use until its copy has ended.
COPIES = """\
import torch
from bench.train.images import AHEAD, Images

pending, most = [], 0


class Event:
    def record(self, stream):
        global most
        pending.append(self)
        most = max(most, len(pending))

    def synchronize(self):
        assert pending.pop(0) is self, "the one that was begun first ends first"


torch.cuda.Event = Event
images = torch.arange(90, dtype=torch.uint8).reshape(30, 3, 1, 1)
held = Images(images, torch.device("cuda"), resident=False)
for start in range(20):
    index = torch.arange(start, start + 10)
    assert torch.equal(held.at(index).cpu(), images[index])
print(most == AHEAD)
"""
RECIPE = Recipe(
    epochs=2,
    batch_size=16,
    lr=0.05,
    validation=0.2,
    augment=Augment(shift=0.1, flip=0.5, crop=12, crop_padding=1, pca_jitter=0.1),
)


def trained(dataset: Dataset, resident: bool) -> tuple[Network, History]:
    with numerics("deterministic", CPU), seeded(0):
        network = wrap(lenet(dataset), dataset, RECIPE)
        return network, train(network, dataset, RECIPE, 0, CPU, resident=resident)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_network_comes_out(channels: int) -> None:
    dataset = corner_set(90, channels=channels)  # 72 to train on: the last batch has 8
    (here, told), (there, expected) = (trained(dataset, resident) for resident in (False, True))
    weights, others = here.state_dict(), there.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in others)
    assert told.epochs == expected.epochs
    assert told.facts == {**expected.facts, "images": "on the host: too many for the device"}
    assert "images" not in expected.facts


def test_a_batch_is_a_copy_in_the_order_asked_for() -> None:
    images = corner_set(20, channels=3).train.images
    index = torch.tensor([7, 0, 7, 19])
    batch = Images(images, CPU, resident=False).at(index)
    assert torch.equal(batch, images[index])
    before = images.clone()
    batch.zero_()
    assert torch.equal(images, before)


def test_on_the_cpu_images_stay_where_they_are() -> None:
    images = corner_set(20).train.images
    held = Images(images, CPU)
    assert held.resident
    assert held.all.data_ptr() == images.data_ptr()


def test_half_of_what_is_free_is_for_images() -> None:
    assert fit(50, 100)
    assert not fit(51, 100)


def test_the_host_is_a_few_batches_ahead_of_a_gpu_at_most() -> None:
    """On a pretended one, whose copies end when somebody waits for them."""
    path = os.pathsep.join(map(str, (ROOT / "tests" / "run" / "pretended_gpu", ROOT)))
    found = subprocess.run(
        [sys.executable, "-c", COPIES],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert found.stdout == "True\n", found.stderr
