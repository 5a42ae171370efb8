"""Single pixel, salt and pepper, and pointwise: by definition, and by what must hold at the end."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from attack_parts import Logits, images, problem, roughness
from torch import Tensor

from bench.attacks import pointwise, salt_and_pepper, single_pixel
from bench.attacks.problem import Problem
from bench.attacks.source import KeyedSource


def bright(threshold: float) -> Logits:
    """Class 1 for images with a pixel row whose mean is above the threshold."""

    def logits(batch: Tensor) -> Tensor:
        value = torch.stack([image.double().mean(0).mean(1).max() for image in batch])
        return torch.stack([torch.full_like(value, threshold), value], 1)

    return logits


def salt_and_pepper_one_by_one(
    image: Tensor, logits: Logits, draw: KeyedSource, row: int, epsilons: int, repetitions: int
) -> tuple[Tensor, int]:
    label, limit = int(logits(image[None]).argmax()), 1.0
    kept, distance, tries = image, np.inf, 0
    for repetition in range(repetitions):
        for step, p in enumerate(np.linspace(0, limit, epsilons + 1)[1:], 1):
            number = repetition * epsilons + step
            u = draw.uniform(torch.tensor([row]), number, (1, *image.shape[1:]))[0].expand_as(image)
            candidate = torch.where(u >= 1 - p / 2, 1.0, torch.where(u < p / 2, 0.0, image))
            l2 = float((candidate - image).double().norm())
            if l2 >= distance or l2 == 0:
                continue
            tries += 1
            if int(logits(candidate[None]).argmax()) != label:
                kept, distance, limit = candidate, l2, min(1.0, 1.2 * p)
                break
    return kept, tries


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 5, 7)])
def test_salt_and_pepper_is_that_of_one_image_at_a_time(shape: tuple[int, int, int]) -> None:
    clean, logits = 0.3 + 0.4 * images(8, *shape), roughness(0.22)
    task = problem(clean, logits, name="salt_and_pepper")
    found = salt_and_pepper.run(task, epsilons=20, repetitions=4)
    draw = KeyedSource(0, "salt_and_pepper", 0, range(8))
    for row, image in enumerate(clean):
        expected, tries = salt_and_pepper_one_by_one(image, logits, draw, row, 20, 4)
        assert torch.equal(found[row], expected)
        assert task.evaluations[row] == tries
    assert len(set(task.evaluations)) > 3


def test_steps_are_no_more_than_pixels() -> None:
    task = problem(0.5 * images(2, 1, 2, 3), lambda b: torch.tensor([[1.0, 0.0]] * len(b)))
    salt_and_pepper.run(task, epsilons=100, repetitions=10)
    assert (task.evaluations <= 60).all()


def test_single_pixel_finds_a_pixel_wherever_there_is_one() -> None:
    clean, logits = 0.8 * images(10, 3, 5, 5), bright(0.62)
    task = problem(clean, logits, name="single_pixel")
    found = single_pixel.run(task)
    for image, result in zip(clean, found, strict=True):
        label = int(logits(image[None]).argmax())
        hits = []
        for y, x, value in [(y, x, v) for y in range(5) for x in range(5) for v in (0.0, 1.0)]:
            candidate = image.clone()
            candidate[:, y, x] = value
            if int(logits(candidate[None]).argmax()) != label:
                hits.append(candidate)
        assert any(torch.equal(result, hit) for hit in hits) or (
            not hits and torch.equal(result, image)
        )
    changed = (found != clean).any(1).flatten(1).sum(1)
    assert changed.max() == 1
    assert changed.min() == 0


def test_single_pixel_tries_the_first_pixels_of_a_random_order() -> None:
    clean, seen = torch.full((1, 1, 4, 6), 0.5), []

    def watching(batch: Tensor) -> Tensor:
        seen.append((batch[0, 0] - 0.5).clone())
        return torch.tensor([[1.0, 0.0]])

    source = KeyedSource(0, "single_pixel", 0, [0])
    single_pixel.run(Problem(clean, torch.zeros(1).long(), watching, source), max_pixels=7)
    assert [float(change.sum()) for change in seen] == [-0.5, 0.5] * 7
    places = [int(change.abs().T.flatten().argmax()) for change in seen]
    assert (
        places[::2] == places[1::2] == source.permutation(torch.tensor([0]), 0, 24)[0, :7].tolist()
    )


def test_a_pixel_that_has_the_value_is_not_asked_about() -> None:
    clean = torch.zeros(2, 1, 3, 3)
    clean[1, 0, 0] = 1.0
    task = problem(clean, lambda batch: torch.tensor([[1.0, 0.0]] * len(batch)))
    single_pixel.run(task)
    assert task.evaluations.tolist() == [9, 9]


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_more_can_be_taken_from_a_pointwise_result(channels: int) -> None:
    """No value can be reset, none can come closer by a thousandth: the last pass tried all."""
    clean, logits = 0.3 + 0.4 * images(6, channels, 6, 6), roughness(0.2)
    task = problem(clean, logits, name="pointwise")
    found = pointwise.run(task, epsilons=30, repetitions=3)
    assert task.distance.isfinite().any()
    for row in task.distance.isfinite().nonzero()[:, 0]:
        image, result = clean[row].flatten(), found[row].flatten()
        for place in (image != result).nonzero()[:, 0]:
            for share in (1.0, 2.0**-10):
                nearer = result.clone()
                nearer[place] += share * (image[place] - result[place])
                if nearer[place] == result[place]:
                    continue
                again = logits(nearer.view(1, channels, 6, 6)).argmax(1)
                assert int(again) == int(task.labels[row])


def test_pointwise_improves_on_salt_and_pepper() -> None:
    clean, logits = 0.3 + 0.4 * images(10), roughness(0.2)
    start, task = (problem(clean, logits, name="pointwise") for _ in range(2))
    salt_and_pepper.run(start, epsilons=30, repetitions=3)
    pointwise.run(task, epsilons=30, repetitions=3)
    assert torch.equal(start.distance.isfinite(), task.distance.isfinite())
    assert (task.distance <= start.distance).all()
    assert (task.distance < 0.99 * start.distance).sum() > 7
    assert (task.evaluations > start.evaluations)[start.distance.isfinite().numpy()].all()


def test_pointwise_resets_everything_that_is_not_needed() -> None:
    """Only the first pixel decides: it alone is left, just beyond the border."""

    def first(batch: Tensor) -> Tensor:
        value = batch[:, 0, 0, 0].double()
        return torch.stack([torch.full_like(value, 0.6), value], 1)

    clean = torch.full((5, 1, 6, 6), 0.5)
    task = problem(clean, first, name="pointwise")
    found = pointwise.run(task)
    change = (found - clean).flatten(1)
    assert torch.equal(change[:, 1:], torch.zeros(5, 35))
    torch.testing.assert_close(change[:, 0], torch.full((5,), 0.1), atol=2e-4, rtol=0)
