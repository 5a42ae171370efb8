"""Attacks batch by batch: kept parts, memory that runs out, repeats, strengths, misses."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from measure_parts import Bright, attacked, context, first_pixels, tasks
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.errors import BenchError
from bench.measures import base, batches, corruptions, robustness

PIXELS = first_pixels([0, 51, 102, 255, 204, 153, 30, 240], [0, 0, 1, 1, 1, 0, 0, 1])
RIGHT = 6


class Shelf(base.Parts):
    """Keeps parts in memory; breaks off after so many."""

    def __init__(self, last: int = 10**6) -> None:
        self.kept: dict[str, Mapping[str, NDArray[Any]]] = {}
        self.last, self.served = last, 0

    def get(self, name: str) -> Mapping[str, NDArray[Any]] | None:
        self.served += name in self.kept
        return self.kept.get(name)

    def put(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.kept[name] = arrays
        if len(self.kept) == self.last:
            raise KeyboardInterrupt


class Small(Bright):
    """Notes how many images it is asked about; once `limit` is set, more do not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.limit: int | None = None
        self.asked: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.asked.append(len(images))
        if self.limit is not None and len(images) > self.limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")
        return super().forward(images)


def same(one: base.Found, other: base.Found) -> None:
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(other.arrays[name], array)
    assert {**other.metrics, "attack_batch": 0} == {**one.metrics, "attack_batch": 0}


def test_an_interrupted_attack_goes_on_with_the_next_batch() -> None:
    (item,) = tasks("measure_parts:to_random", batch_size=2)
    whole = robustness.run(context(PIXELS, Bright(), item.options))
    shelf = Shelf(last=2)
    with pytest.raises(KeyboardInterrupt):
        robustness.run(context(PIXELS, Bright(), item.options, parts=shelf))
    shelf.last = 10**6
    same(whole, robustness.run(context(PIXELS, Bright(), item.options, parts=shelf)))
    assert shelf.served == 2
    assert len(shelf.kept) == RIGHT / 2


def test_a_batch_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    (item,) = tasks("measure_parts:to_random", batch_size=6)
    whole = robustness.run(context(PIXELS, Bright(), item.options))
    tight = Small()
    # All is well until the attack begins: with the second question.
    tight.register_forward_pre_hook(lambda net, _: setattr(net, "limit", 2 if net.asked else None))
    monkeypatch.setattr("bench.measures.health.LOOKED_AT", 2)
    found = robustness.run(context(PIXELS, tight, item.options))
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
    assert found.metrics["attack_batch"] == 1, "six and three do not fit"
    assert whole.metrics["attack_batch"] == 6


class Holding(nn.Module):
    """Holds feature maps, in vain, in batches of more than one image."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[weakref.ref[Tensor]] = []

    def forward(self, images: Tensor) -> Tensor:
        maps = images + 1
        if len(images) > 1:
            self.made.append(weakref.ref(maps))
            raise RuntimeError("CUDA error: out of memory")
        return maps.flatten(1)[:, :3]


@pytest.mark.parametrize("measure", ["robustness", "corruptions"])
def test_what_did_not_fit_is_gone_when_memory_is_given_back(
    measure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in its handler holds the tensors of all its frames."""
    holding, held = Holding(), []

    def note() -> None:
        held.append(any(maps() is not None for maps in holding.made))

    monkeypatch.setattr("bench.models.memory.release", note)
    whole, index = context(PIXELS, holding), np.arange(4)
    pixels, labels = PIXELS.test.images[:4], torch.zeros(4)
    if measure == "robustness":
        batches.in_batches(
            whole, index, 4, lambda rows: {"logits": whole.network(pixels[rows] / 255).numpy()}
        )
    else:
        corruptions._hits(whole, None, corruptions.Images(pixels, labels, index), 4)
    assert held == [False, False]


def test_one_image_that_does_not_fit_is_an_error() -> None:
    tight = Small()
    tight.register_forward_pre_hook(lambda net, _: setattr(net, "limit", 0 if net.asked else None))
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        attacked(PIXELS, tight, "measure_parts:to_white")


def test_other_errors_are_not_taken_for_memory() -> None:
    with pytest.raises(RuntimeError, match="shape mismatch"):
        attacked(PIXELS, Faulty(), "measure_parts:to_white")


class Faulty(Bright):
    """Fails on white pixels, which only attacks make."""

    def forward(self, images: Tensor) -> Tensor:
        if bool((images[:, 0, 0, 0] == 1).all()):
            raise RuntimeError("shape mismatch")
        return super().forward(images)


def test_repeats_that_are_bit_identical_are_told_and_do_not_count() -> None:
    same_again = attacked(PIXELS, Bright(), "measure_parts:to_white", repeats=3)
    assert same_again.metrics["identical_repeats"] == 2
    assert same_again.metrics["repeats"] == 1
    fresh = attacked(PIXELS, Bright(), "measure_parts:to_random", repeats=3)
    assert fresh.metrics["identical_repeats"] == 0
    assert fresh.metrics["repeats"] == 3


def test_repeats_that_all_find_nothing_are_not_called_identical() -> None:
    found = attacked(PIXELS, Bright(), "measure_parts:returns_the_images", repeats=3)
    assert found.metrics["identical_repeats"] == 0


def test_a_fixed_strength_is_run_on_a_grid_and_gives_a_curve() -> None:
    """Dark first pixels 0, 0.12, 0.2 (and bright ones) need steps of 0.5, 0.38, 0.3 to fool."""
    attack = {"name": "measure_parts:brighter", "epsilons": [0.1, 0.35, 0.6]}
    found = attacked(PIXELS, Bright(), attack, repeats=1)
    dark = {0: 0.6, 1: 0.35, 6: 0.6}
    for number, expected in dark.items():
        assert found.arrays["l2"][number] == pytest.approx(expected, rel=1e-6)
    assert np.isinf(found.arrays["l2"][[3, 4, 7]]).all()
    accuracy = {name: value for name, value in found.metrics.items() if name.startswith("robust")}
    assert accuracy == pytest.approx(
        {
            "robust_top1[0.1]": 100 * 6 / 8,
            "robust_top1[0.35]": 100 * 5 / 8,
            "robust_top1[0.6]": 100 * 3 / 8,
        }
    )
    assert found.arrays["evaluations"][0] == 1 + 3
    assert found.arrays["robust"].tolist()[:4] == [
        [True, True, False],
        [True, False, False],
        [False, False, False],  # misclassified when clean
        [True, True, True],
    ]


def test_perturbations_larger_than_asked_for_do_not_count_and_are_told() -> None:
    """To white is a step of 1, 0.8 and 0.88 for the three dark images, at either strength."""
    attack = {"name": "measure_parts:unbound", "epsilons": [0.85, 0.95]}
    found = attacked(PIXELS, Bright(), attack)
    assert found.metrics["robust_top1[0.85]"] == pytest.approx(100 * 5 / 8)
    assert found.metrics["robust_top1[0.95]"] == pytest.approx(100 * 4 / 8)
    assert found.metrics["oversized"] == 2 + 1
    # They are adversarials of their own size all the same.
    assert found.arrays["l2"][[0, 1, 6]].tolist() == pytest.approx([1.0, 0.8, 225 / 255])
    free = attacked(PIXELS, Bright(), "measure_parts:brighter")
    assert "oversized" not in free.metrics, "it has no norm to keep to"


def test_parts_of_before_sizes_were_checked_are_taken_without() -> None:
    (item,) = tasks({"name": "measure_parts:unbound", "epsilons": [0.85]}, batch_size=2)
    shelf = Shelf()
    whole = robustness.run(context(PIXELS, Bright(), item.options, parts=shelf))
    assert whole.metrics["oversized"] == 2
    for old in (min(shelf.kept), max(shelf.kept)):
        kept = {key: array for key, array in shelf.kept[old].items() if key != "oversized"}
        mixed = Shelf()
        mixed.kept = {**shelf.kept, old: kept}
        found = robustness.run(context(PIXELS, Bright(), item.options, parts=mixed))
        same(base.Found({**found.metrics, "oversized": 2}, found.arrays), whole)
        assert "oversized" not in found.metrics


def test_channels_an_attack_does_not_take() -> None:
    with pytest.raises(BenchError, match=r"'measure_parts:colour' takes images of 3 channels, not"):
        attacked(PIXELS, Bright(), "measure_parts:colour")


@pytest.mark.parametrize("name", ["autoattack", "torchattacks:APGDT"])
def test_too_few_classes_are_told_before_anything_is_trained(name: str) -> None:
    pytest.importorskip("pyautoattack" if name == "autoattack" else "torchattacks")
    (item,) = tasks(name)
    said = f"'{name}' needs 4 classes or more, not 3"
    assert robustness.MEASURE.refusal(item.options, PIXELS) == said
    (ordinary,) = tasks("pgd")
    assert robustness.MEASURE.refusal(ordinary.options, PIXELS) == ""


def test_the_miss_rate_of_an_approximate_search() -> None:
    """Half of the images have a nearer adversarial than the fast search says."""
    fast = attacked(PIXELS, Bright(), {"name": "measure_parts:hasty", "search": "fast"})
    right = fast.arrays["l2"] > 0
    exact = attacked(PIXELS, Bright(), "measure_parts:hasty")
    missed = exact.arrays["l2"][right] < fast.arrays["l2"][right] - 1e-6
    assert 0 < missed.mean() < 1
    assert fast.metrics["miss_rate"] == pytest.approx(100 * missed.mean())
    assert "miss_rate" not in exact.metrics


def test_adversarials_fool_in_a_batch_of_another_size() -> None:
    (item,) = tasks("measure_parts:to_random", batch_size=4, repeats=2)
    watched = Small()
    robustness.run(context(PIXELS, watched, item.options))
    # Four are attacked at once and checked three and one, then two, checked two by two.
    assert {4, 3, 1} <= set(watched.asked)


def test_images_are_those_that_fooled() -> None:
    """What is fed back into the scale inputs is what was found."""
    from bench.attacks.base import load
    from bench.attacks.evaluate import Trial, attack_batch

    room = context(PIXELS, Bright())
    clean = PIXELS.test.images[[0, 1, 3]].float() / 255
    labels = torch.tensor([0, 0, 1])
    trial = Trial("x", load("measure_parts:to_white"), {}, 0, 1, "min-l2")
    done = attack_batch(room.network, trial, clean, labels, [0, 1, 3])
    assert done.images[:, 0, 0, 0].tolist() == [1.0, 1.0, 1.0]
    assert torch.equal(done.images[2], clean[2])
    assert done.repeat.tolist() == [0, 0, -1]
