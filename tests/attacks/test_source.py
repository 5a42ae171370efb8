"""Random numbers: the generator's published vectors, distributions, and what they depend on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.attacks.source import KeyedSource, philox

# Counter, key and result of Philox 4x32-10 in the tests of its authors (Random123, kat_vectors).
VECTORS = [
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
FAR = [0, 1, 2**31, 2**32, 2**40 + 1]


def source(
    seed: int = 0, name: str = "a", repeat: int = 0, samples: object = range(8)
) -> KeyedSource:
    return KeyedSource(seed, name, repeat, list(samples))  # type: ignore[call-overload]


def rows(*index: int) -> Tensor:
    return torch.tensor(index, dtype=torch.int64)


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_the_generator_gives_its_authors_numbers(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    given_ = [torch.tensor([word, 0]) for word in counter]
    assert tuple(int(word[0]) for word in philox(given_, key)) == expected


def surprises(draw: str, distribution: str, shape: tuple[int, ...]) -> list[float]:
    """For 60 seeds, how probable so large a deviation from the distribution is."""
    drawn = [getattr(source(seed), draw)(torch.arange(8), 3, shape) for seed in range(60)]
    assert all(part.shape == (8, *shape) for part in drawn)
    assert all(part.dtype == torch.float32 for part in drawn)
    return [scipy.stats.kstest(d.double().numpy().ravel(), distribution).pvalue for d in drawn]


@pytest.mark.parametrize("shape", [(1000,), (3, 7, 11)])
@pytest.mark.parametrize(("draw", "distribution"), [("uniform", "uniform"), ("normal", "norm")])
def test_numbers_have_their_distribution(
    draw: str, distribution: str, shape: tuple[int, ...]
) -> None:
    found = surprises(draw, distribution, shape)
    # Neither worse nor better than random numbers would be.
    assert scipy.stats.kstest(found, "uniform").pvalue > 0.01


def test_uniform_numbers_stay_below_one_and_normal_ones_finite() -> None:
    drawn = source(samples=range(50)).uniform(torch.arange(50), 3, (2000,))
    assert 0 <= float(drawn.min()) < 1e-4
    assert 1 - 1e-4 < float(drawn.max()) < 1
    assert torch.isfinite(source(samples=range(50)).normal(torch.arange(50), 3, (2001,))).all()


def test_numbers_of_neighbours_are_unrelated() -> None:
    whole = source(samples=range(30))
    by_sample = whole.normal(torch.arange(30), 5, (600,))
    by_step = whole.normal(torch.zeros(30).long(), torch.arange(30), (600,))
    for drawn in (by_sample, by_step):
        related = np.corrcoef(drawn.numpy()) - np.eye(30)
        assert np.abs(related).max() < 0.25


@pytest.mark.parametrize("size", [1, 2, 5, 40])
def test_permutations_are_permutations(size: int) -> None:
    drawn = source(samples=range(20)).permutation(torch.arange(20), 0, size)
    assert torch.equal(drawn.sort(1).values, torch.arange(size).expand(20, size))


def test_every_order_is_as_likely() -> None:
    drawn = source(samples=range(6000)).permutation(torch.arange(6000), 2, 4)
    _, counts = np.unique(drawn.numpy(), axis=0, return_counts=True)
    assert len(counts) == 24
    assert scipy.stats.chisquare(counts).pvalue > 0.01


@settings(max_examples=30, deadline=None)
@given(
    samples=st.lists(st.integers(0, 2**40), min_size=1, max_size=12, unique=True),
    step=st.integers(0, 2**31),
    data=st.data(),
)
def test_numbers_follow_the_sample_and_not_the_batch(
    samples: list[int], step: int, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(samples))))
    part = order[: data.draw(st.integers(1, len(order)))]
    whole, other = source(samples=samples), source(samples=[samples[i] for i in part])
    mine = torch.arange(len(part))
    for draw in ("uniform", "normal"):
        expected = getattr(whole, draw)(torch.tensor(part), step, (3, 2))
        assert torch.equal(getattr(other, draw)(mine, step, (3, 2)), expected)
    expected = whole.permutation(torch.tensor(part), step, 7)
    assert torch.equal(other.permutation(mine, step, 7), expected)


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=8))
def test_each_row_can_have_its_own_step(steps: list[int]) -> None:
    whole = source()
    index = torch.arange(len(steps)) % 8
    drawn = whole.normal(index, torch.tensor(steps), (5,))
    for i, step in enumerate(steps):
        assert torch.equal(drawn[i], whole.normal(index[i : i + 1], step, (5,))[0])


def test_every_part_of_the_key_counts() -> None:
    parts = ([0, 1, 2**31 - 1], ["a", "b", "ab"], [0, 1, 2])
    drawn = {
        tuple(source(*key, samples=FAR).uniform(rows(i), step, (4,))[0].tolist())
        for key in itertools.product(*parts)
        for i in range(len(FAR))
        for step in (0, 1, 2**31)
    }
    assert len(drawn) == 27 * 5 * 3


def test_numbers_do_not_move_from_version_to_version() -> None:
    drawn = source(3, "additive_gaussian", 1, [17]).uniform(rows(0), 5, (3,))
    assert (drawn[0] * 2**24).long().tolist() == [4067978, 3947960, 7864488]


def test_nothing_global_is_drawn_from() -> None:
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    whole = source()
    whole.uniform(rows(1), 0, (9,))
    whole.normal(rows(1), 0, (9,))
    whole.permutation(rows(1), 0, 9)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpys)  # type: ignore[index]


def test_no_rows_are_no_problem() -> None:
    empty = torch.zeros(0, dtype=torch.int64)
    assert source().uniform(empty, 1, (2, 3)).shape == (0, 2, 3)
    assert source().normal(empty, 1, (3,)).shape == (0, 3)
    assert source().permutation(empty, 1, 4).shape == (0, 4)
