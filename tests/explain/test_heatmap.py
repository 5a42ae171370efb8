"""Scaling of maps to heatmaps, against the same steps in numpy, written down directly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scaled_by_hand import Array, bilinear, minmax_scaled, paper_scaled

from bench.explain.heatmap import minmax_heatmap, paper_heatmap, resize

SIDES = st.integers(1, 9)


def maps(seed: int, height: int, width: int, scale: float, offset: float) -> Array:
    random = np.random.default_rng(seed)
    return scale * (random.standard_normal((3, height, width)) + offset)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 999), SIDES, SIDES, SIDES, SIDES, st.sampled_from((1e-8, 1e-3, 1.0, 1e4)))
@example(0, 2, 1, 1, 3, 1e4)  # two deviations that cancel in the only row there is
@example(0, 2, 1, 1, 3, 1e-5)
@example(0, 2, 1, 1, 3, 1e-8)
def test_both_scalings_take_the_steps_in_order(
    seed: int, h: int, w: int, height: int, width: int, scale: float
) -> None:
    cams = maps(seed, h, w, scale, 0.5)
    for scaled, by_hand in ((paper_heatmap, paper_scaled), (minmax_heatmap, minmax_scaled)):
        heat, undefined = scaled(torch.from_numpy(cams), (height, width))
        assert heat.shape == (3, height, width)
        assert heat.dtype == torch.float32
        assert 0 <= heat.min() <= heat.max() <= 1
        for one, found, is_undefined in zip(cams, heat.numpy(), undefined, strict=True):
            if is_undefined:
                assert not found.any()
                assert (
                    by_hand is minmax_scaled
                    or h * w == 1
                    or bilinear(one - one.mean(), (height, width)).max()
                    <= max(1e-10, 1e-6 * np.abs(one - one.mean()).max()) * (1 + 1e-6)
                )
            else:
                np.testing.assert_allclose(found, by_hand(one, (height, width)), atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 999), SIDES, SIDES, SIDES, SIDES)
def test_resizing_is_opencvs(seed: int, h: int, w: int, height: int, width: int) -> None:
    cv2 = pytest.importorskip("cv2")
    one = maps(seed, h, w, 1.0, 0.0)[0].astype(np.float32)
    theirs = cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR)
    ours = resize(torch.from_numpy(one)[None], (height, width))[0].numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(bilinear(one, (height, width)), theirs, atol=1e-5)


@pytest.mark.parametrize("scaled", [paper_heatmap, minmax_heatmap])
@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 1e30, torch.nan, torch.inf])
def test_a_constant_map_is_undefined_and_its_neighbour_is_not(scaled: object, value: float) -> None:
    cams = torch.from_numpy(maps(0, 7, 7, 1.0, 0.0)).float()
    cams[1] = value
    # Sums in another order give a constant map such errors.
    cams[1, ::2] *= 1 + 1e-7
    heat, undefined = scaled(cams, (28, 28))  # type: ignore[operator]
    assert undefined.tolist() == [False, True, False]
    assert not heat[1].any()
    assert heat[[0, 2]].flatten(1).amax(1).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_deviations_below_the_offset_are_undefined() -> None:
    # The authors' scaling would show the 1e-10 that it adds: 1 everywhere.
    cams = torch.from_numpy(maps(0, 7, 7, 1e-13, 0.0))
    assert paper_scaled(cams[0].numpy(), (7, 7)).min() > 0.9
    heat, undefined = paper_heatmap(cams, (7, 7))
    assert undefined.all()
    assert not heat.any()
    assert not paper_heatmap(1e4 * cams, (7, 7))[1].any()


def test_a_map_without_positive_values_is_undefined_for_min_and_max() -> None:
    cams = -torch.from_numpy(maps(0, 7, 7, 1.0, 0.0)).abs() - 0.1
    heat, undefined = minmax_heatmap(cams, (14, 14))
    assert undefined.all()
    assert not heat.any()
    assert not paper_heatmap(cams, (14, 14))[1].any()
