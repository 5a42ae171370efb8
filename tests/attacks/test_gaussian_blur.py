"""Gaussian blur against scipy, and against a search that takes one image at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
from attack_parts import Logits, contrast, images, problem
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.attacks.gaussian_blur import blur_matrix, run

SIGMAS = [0.001, 0.1, 0.124, 0.125, 0.126, 0.3, 0.5, 1.0, 1.7, 4.0, 11.3, 28.0, 100.0, 1000.0]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 28, 33])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_matrix_is_scipys_filter(size: int, sigma: float) -> None:
    expected = scipy.ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0, mode="reflect")
    np.testing.assert_allclose(blur_matrix(size, sigma).numpy(), expected, atol=1e-12)


@settings(deadline=None)
@given(
    size=st.integers(1, 40), sigma=st.floats(0.01, 300.0), truncate=st.sampled_from([1.0, 3.0, 4.0])
)
def test_the_matrix_is_scipys_filter_anywhere(size: int, sigma: float, truncate: float) -> None:
    found = blur_matrix(size, sigma, truncate).numpy()
    expected = scipy.ndimage.gaussian_filter1d(
        np.eye(size), sigma, axis=0, mode="reflect", truncate=truncate
    )
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found.sum(1), 1.0, atol=1e-12)


def blurred(image: Tensor, sigma: float) -> np.ndarray:
    """One image C x H x W, each channel by scipy in two dimensions."""
    planes = [
        scipy.ndimage.gaussian_filter(plane, sigma, mode="reflect", truncate=4.0)
        for plane in image.double().numpy()
    ]
    cut: np.ndarray = np.clip(np.stack(planes), 0, 1)
    return cut


def one_by_one(clean: Tensor, logits: Logits, epsilons: int) -> tuple[np.ndarray, list[int]]:
    """The first hit of each image by itself, and how many candidates it took."""
    found, spent = [], []
    for image in clean:
        label = int(logits(image[None]).argmax())
        best, tries = image.double().numpy(), epsilons
        for step in range(1, epsilons + 1):
            candidate = blurred(image, step / epsilons * max(image.shape[1:]))
            if int(logits(torch.from_numpy(candidate)[None]).argmax()) != label:
                best, tries = candidate, step
                break
        found.append(best)
        spent.append(tries)
    return np.stack(found), spent


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 9), (1, 6, 14), (2, 14, 6)])
def test_results_are_those_of_one_image_at_a_time(shape: tuple[int, int, int]) -> None:
    clean = images(12, *shape)
    # Of mixed contrast, so that images leave the batch at different steps and some never.
    clean = 0.5 + (clean - 0.5) * torch.linspace(0.3, 1.0, 12)[:, None, None, None]
    logits = contrast(0.07)
    clean[3] = 0.5
    task = problem(clean, logits)
    found = run(task, epsilons=40)
    expected, spent = one_by_one(clean, logits, 40)
    np.testing.assert_allclose(found.double().numpy(), expected, atol=1e-6)
    assert task.evaluations.tolist() == spent
    assert len(set(spent)) > 3
    assert spent[3] == 40
    assert torch.equal(found[3], clean[3])


def test_foolbox_finds_the_same() -> None:
    foolbox: Any = pytest.importorskip("foolbox")

    class Contrasts(torch.nn.Module):
        def forward(self, batch: Tensor) -> Tensor:
            return contrast(0.1)(batch)

    clean = images(16, 3, 12, 12)
    network = foolbox.PyTorchModel(Contrasts().eval(), bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.GaussianBlurAttack(steps=100, channel_axis=1)
    task = problem(clean, contrast(0.1))
    theirs, _, success = attack(network, clean, task.labels, epsilons=None)
    ours = run(task, epsilons=100)
    assert success.all()
    torch.testing.assert_close(
        (ours - clean).flatten(1).norm(dim=1),
        (theirs - clean).flatten(1).norm(dim=1),
        atol=1e-4,
        rtol=1e-4,
    )
