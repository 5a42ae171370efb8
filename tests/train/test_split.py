"""The validation split: random, not stratified, exact in size, drawn per seed."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.train.trainer import split


@given(
    count=st.integers(1, 3000),
    share=st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.5, 0.9]),
    seed=st.integers(0, 2**31 - 1),
)
def test_a_split_uses_every_image_once(count: int, share: float, seed: int) -> None:
    train, validation = split(count, share, seed)
    assert torch.equal(torch.cat([train, validation]).sort().values, torch.arange(count))
    assert len(validation) == -(-count * round(100 * share) // 100)


def test_the_papers_sizes() -> None:
    assert [len(part) for part in split(60_000, 0.1, 0)] == [54_000, 6_000]
    assert [len(part) for part in split(50_000, 0.1, 0)] == [45_000, 5_000]
    assert [len(part) for part in split(9_469, 0.1, 0)] == [8_522, 947]


def test_no_share_holds_nothing_out() -> None:
    train, validation = split(40, 0.0, 3)
    assert (len(train), len(validation)) == (40, 0)


def test_each_seed_draws_its_own() -> None:
    held_out = [frozenset(split(500, 0.1, seed)[1].tolist()) for seed in range(20)]
    assert len(set(held_out)) == 20
    assert held_out[4] == frozenset(split(500, 0.1, 4)[1].tolist())
    # Two draws of 10 % share about 10 % of their members.
    shared = [len(one & other) for one, other in itertools.pairwise(held_out)]
    assert 3 <= sum(shared) / len(shared) <= 7


def test_it_is_not_stratified() -> None:
    labels = torch.arange(4000) % 10
    counts = [labels[split(4000, 0.1, seed)[1]].bincount() for seed in range(5)]
    assert all(not torch.equal(count, torch.full((10,), 40)) for count in counts)
    assert all(10 <= int(count.min()) <= int(count.max()) <= 80 for count in counts)


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    split(100, 0.1, 7)
    assert torch.equal(torch.get_rng_state(), before)
