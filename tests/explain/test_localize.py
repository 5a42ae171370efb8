"""Counts of pixels at thresholds, the ratios made of them, and pixel average precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from bench.errors import BenchError
from bench.explain import localize
from bench.explain.localize import (
    Counts,
    counts,
    grid,
    index_of,
    macro,
    micro,
    pixel_average_precision,
    pxap_curve_counts,
    ratios,
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Heatmaps with many values exactly at a threshold or next to one, masks, and thresholds."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    steps = draw(st.sampled_from([1, 3, 10, 100]))
    edges = (np.arange(steps + 1) / steps).astype(dtype)
    near = np.concatenate([edges, np.nextafter(edges, dtype(2)), np.nextafter(edges, dtype(-2))])
    shape = tuple(draw(st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))))
    values = draw(hnp.arrays(dtype, shape, elements=st.sampled_from(near.tolist())))
    masks = draw(hnp.arrays(np.bool_, shape))
    return torch.from_numpy(values), torch.from_numpy(masks), grid(steps)


def naive(heatmaps: Tensor, masks: Tensor, thresholds: Tensor, inclusive: bool = False) -> Counts:
    """One comparison a threshold."""
    found = []
    for threshold in thresholds.to(heatmaps.dtype):
        above = heatmaps >= threshold if inclusive else heatmaps > threshold
        found.append([(above & masks), (above & ~masks), (~above & masks)])
    tp, fp, fn = (torch.stack([f[k].sum((1, 2)) for f in found], 1) for k in range(3))
    return Counts(tp, fp, fn)


def same(one: Counts, other: Counts) -> bool:
    pairs = ((one.tp, other.tp), (one.fp, other.fp), (one.fn, other.fn))
    return all(torch.equal(a, b) and a.dtype == torch.int64 for a, b in pairs)


def maps(count: int, side: int = 12) -> tuple[Tensor, Tensor]:
    """Heatmaps in [0, 1] that know something of their random masks."""
    random = torch.Generator().manual_seed(count)
    masks = torch.rand(count, 3, 3, generator=random).gt(0.5).repeat_interleave(side // 3, 1)
    masks = masks.repeat_interleave(side // 3, 2)
    heat = masks * 0.6 + torch.rand(count, side, side, generator=random)
    return heat / heat.amax((1, 2), keepdim=True), masks


@settings(deadline=None, max_examples=60)
@given(case=cases())
def test_counts_are_those_of_one_comparison_a_threshold(
    case: tuple[Tensor, Tensor, Tensor],
) -> None:
    assert same(counts(*case), naive(*case))
    assert same(pxap_curve_counts(*case), naive(*case, inclusive=True).summed())


def test_counts_do_not_depend_on_how_images_are_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    heat, masks = maps(7)
    whole, pooled = counts(heat, masks, grid()), pxap_curve_counts(heat, masks)
    parts = pxap_curve_counts(heat[:3], masks[:3]) + pxap_curve_counts(heat[3:], masks[3:])
    assert same(parts, pooled)
    monkeypatch.setattr(localize, "_AT_ONCE", 2 * heat[0].numel())
    assert same(counts(heat, masks, grid()), whole)
    assert same(pxap_curve_counts(heat, masks), pooled)
    assert same(whole.select(torch.tensor([1, 4])), counts(heat[[1, 4]], masks[[1, 4]], grid()))


def test_a_pixel_at_the_threshold_is_not_above_it() -> None:
    # The paper's rule, pixel > 0.2: 51 of 255 is exactly 0.2, and no object.
    pixels = torch.tensor([[[51, 52]]], dtype=torch.uint8).float() / 255
    found = counts(pixels, torch.ones(1, 1, 2, dtype=torch.bool), grid())
    at = index_of(grid(), 0.2)
    assert found.tp[0, at] == 1
    assert found.tp[0, at - 1] == 2


def test_ratios_by_hand() -> None:
    heat = torch.tensor([[[0.9, 0.6], [0.3, 0.0]], [[0.8, 0.0], [0.0, 0.0]]])
    masks = torch.tensor([[[1, 0], [1, 1]], [[0, 1], [0, 0]]]).bool()
    found = counts(heat, masks, torch.tensor([0.2, 0.5, 0.85]))
    assert found.tp.tolist() == [[2, 1, 1], [0, 0, 0]]
    assert found.fp.tolist() == [[1, 1, 0], [1, 1, 0]]
    assert found.fn.tolist() == [[1, 2, 2], [1, 1, 1]]
    pooled = micro(found)
    assert pooled.precision.tolist() == pytest.approx([2 / 4, 1 / 3, 1])
    assert pooled.recall.tolist() == pytest.approx([2 / 4, 1 / 4, 1 / 4])
    assert pooled.iou.tolist() == pytest.approx([2 / 6, 1 / 6, 1 / 4])
    assert pooled.f1.tolist() == pytest.approx([4 / 8, 2 / 7, 2 / 5])
    mean = macro(found)
    # At 0.85 nothing of the second image is predicted: no precision, but an F1 of 0.
    assert mean.precision.tolist() == pytest.approx([1 / 3, 1 / 4, 1])
    assert mean.recall.tolist() == pytest.approx([1 / 3, 1 / 6, 1 / 6])
    assert mean.iou.tolist() == pytest.approx([1 / 4, 1 / 8, 1 / 6])
    assert mean.f1.tolist() == pytest.approx([1 / 3, 1 / 5, 1 / 4])


def test_an_image_without_an_object_has_no_recall_and_is_left_out() -> None:
    heat, masks = maps(3)
    masks[0] = False
    found = counts(heat, masks, grid())
    assert ratios(found).recall[0].isnan().all()
    rest = macro(found.select(torch.tensor([False, True, True])))
    assert torch.equal(macro(found).recall, rest.recall)
    assert pixel_average_precision(found).isnan().tolist() == [True, False, False]
    masks[:] = False
    assert math.isnan(pixel_average_precision(pxap_curve_counts(heat, masks)))


def test_the_perfect_map_scores_one() -> None:
    _, masks = maps(4)
    found = counts(masks.float(), masks, grid())
    for at in (micro(found), macro(found)):
        for values in (at.precision, at.recall, at.iou, at.f1):
            assert (values[:-1] == 1).all()
    # Nothing is above 1.
    assert micro(found).precision[-1].isnan()
    assert pixel_average_precision(pxap_curve_counts(masks.float(), masks)) == 1


def test_maps_that_know_nothing_or_worse() -> None:
    _, masks = maps(4)
    share = float(masks.double().mean())
    for level in (0.0, 0.37, 1.0):
        found = pxap_curve_counts(torch.full(masks.shape, level), masks)
        assert float(pixel_average_precision(found)) == pytest.approx(share)
    inverse = (~masks).float()
    assert float(pixel_average_precision(pxap_curve_counts(inverse, masks))) == pytest.approx(share)
    at = micro(counts(inverse, masks, grid()))
    assert at.precision[20] == at.recall[20] == at.iou[20] == at.f1[20] == 0


def average_precision(heat: Tensor, masks: Tensor) -> float:
    """Over every distinct value, from the largest: precision times gain in recall."""
    values, hits = heat.flatten().tolist(), masks.flatten().tolist()
    total, before = 0.0, 0
    for level in sorted(set(values), reverse=True):
        chosen = [hit for value, hit in zip(values, hits, strict=True) if value >= level]
        total += sum(chosen) / len(chosen) * (sum(chosen) - before) / sum(hits)
        before = sum(chosen)
    return total


def test_pxap_is_exact_when_the_grid_has_every_value() -> None:
    heat, masks = maps(3, side=6)
    coarse = (heat * 10).round() / 10
    found = pixel_average_precision(pxap_curve_counts(coarse, masks, grid(10)))
    assert float(found) == pytest.approx(average_precision(coarse, masks), abs=1e-12)


def test_the_fine_grid_is_close_to_every_value_and_the_coarse_one_less() -> None:
    heat, masks = maps(20)
    exact = average_precision(heat[:4], masks[:4])
    fine, coarse = (
        float(pixel_average_precision(pxap_curve_counts(heat[:4], masks[:4], grid(steps))))
        for steps in (1000, 100)
    )
    assert abs(fine - exact) < 1e-3
    assert abs(fine - exact) < abs(coarse - exact) < 1e-2


def test_thresholds_are_found_by_their_decimal() -> None:
    assert grid().tolist() == [float(f"{k / 100:.2f}") for k in range(101)]
    assert [index_of(grid(), k / 100) for k in range(101)] == list(range(101))
    assert index_of(grid(1000).float(), 0.2) == 200
    with pytest.raises(BenchError, match=r"no threshold is 0\.205; the nearest is 0\.2"):
        index_of(grid(), 0.205)


def test_what_cannot_be_counted_is_refused() -> None:
    heat, masks = maps(3)
    with pytest.raises(BenchError, match="masks must be bool"):
        counts(heat, masks.float(), grid())
    with pytest.raises(BenchError, match="masks must be bool"):
        counts(heat, masks[:2], grid())
    with pytest.raises(BenchError, match="N x H x W"):
        counts(heat[0], masks[0], grid())
    with pytest.raises(BenchError, match="ascending"):
        counts(heat, masks, grid().flip(0))
    heat[1, 2, 2] = torch.nan
    with pytest.raises(BenchError, match="heatmap 1 holds NaN"):
        counts(heat, masks, grid())
