"""Boxes around components against a flood fill, and MaxBoxAccV2."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from bench.errors import BenchError
from bench.explain import boxes as module
from bench.explain.boxes import best_iou, component_boxes, mask_boxes, max_box_accuracy
from bench.explain.localize import grid

Box = tuple[float, float, float, float]


def flooded(mask: Tensor) -> list[Box]:
    """A box for each component, found from its first pixel on."""
    left = {(y, x) for y, x in mask.nonzero().tolist()}
    found: list[Box] = []
    while left:
        edge = [min(left)]
        left.discard(edge[0])
        component = []
        while edge:
            y, x = edge.pop()
            component.append((y, x))
            near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            edge.extend(near)
        ys, xs = zip(*component, strict=True)
        found.append((min(xs), min(ys), max(xs) + 1, max(ys) + 1))
    return found


def overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return shared / (sum(areas) - shared)


def naive(heatmaps: Tensor, boxes: list[Tensor], thresholds: Tensor) -> list[list[float]]:
    return [
        [
            max(
                (
                    overlap(found, tuple(box))
                    for found in flooded(heat > threshold)
                    for box in some.tolist()
                ),
                default=0.0,
            )
            for threshold in thresholds.to(heat.dtype)
        ]
        for heat, some in zip(heatmaps, boxes, strict=True)
    ]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, list[Tensor]]:
    """Heatmaps of few values, so that components are many and odd, and one to three boxes each."""
    count, height, width = draw(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)))
    values = draw(hnp.arrays(np.float32, (count, height, width), elements=st.sampled_from(LEVELS)))

    def box() -> list[int]:
        x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        return [x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))]

    boxes = [torch.tensor([box() for _ in range(draw(st.integers(1, 3)))]) for _ in range(count)]
    return torch.from_numpy(values), boxes


LEVELS = [0.0, 0.25, 0.5, 1.0]


@settings(deadline=None, max_examples=50)
@given(case=cases())
def test_the_best_fit_is_that_of_a_flood_fill(case: tuple[Tensor, list[Tensor]]) -> None:
    heat, boxes = case
    found = best_iou(heat, boxes, grid(4))
    assert found.dtype == torch.float32
    assert found.tolist() == torch.tensor(naive(heat, boxes, grid(4))).tolist()


@settings(deadline=None, max_examples=50)
@given(masks=hnp.arrays(np.bool_, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7)))
def test_boxes_of_masks(masks: np.ndarray) -> None:
    tensor = torch.from_numpy(masks)
    each = [flooded(mask) for mask in tensor]
    assert [[tuple(box) for box in some.tolist()] for some in component_boxes(tensor)] == each
    for found, boxes in zip(mask_boxes(tensor), each, strict=True):
        assert found.shape == (1 if boxes else 0, 4)
        if boxes:
            low, high = np.min(boxes, 0)[:2].tolist(), np.max(boxes, 0)[2:].tolist()
            assert found.tolist() == [low + high]


def test_a_large_map_has_the_components_that_scipy_finds() -> None:
    noise = np.random.default_rng(0).normal(size=(3, 60, 45))
    masks = scipy.ndimage.gaussian_filter(noise, (0, 1.5, 1.5)) > 0.02
    for mask, found in zip(masks, component_boxes(torch.from_numpy(masks)), strict=True):
        labels, _ = scipy.ndimage.label(mask, np.ones((3, 3)))
        places = scipy.ndimage.find_objects(labels)
        expected = [(x.start, y.start, x.stop, y.stop) for y, x in places]
        assert sorted(expected) == sorted(map(tuple, found.tolist()))


def test_neither_rows_nor_images_run_into_each_other() -> None:
    masks = torch.zeros(2, 3, 3, dtype=torch.bool)
    masks[0, 0, 2] = masks[0, 1, 0] = masks[0, 2, 2] = masks[1, 0, 2] = True
    found = component_boxes(masks)
    assert found[0].tolist() == [[2, 0, 3, 1], [0, 1, 1, 2], [2, 2, 3, 3]]
    assert found[1].tolist() == [[2, 0, 3, 1]]


def test_diagonal_neighbours_are_one_component() -> None:
    assert component_boxes(torch.eye(4).bool()[None])[0].tolist() == [[0, 0, 4, 4]]


def test_work_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = torch.Generator().manual_seed(0)
    heat = torch.rand(5, 6, 7, generator=random)
    boxes = mask_boxes(heat > 0.8)
    whole = best_iou(heat, boxes, grid(20))
    assert whole.shape == (5, 21)
    for pixels in (42 * 8, 42 * 21 * 2, 1):
        monkeypatch.setattr(module, "_AT_ONCE", pixels)
        assert torch.equal(best_iou(heat, boxes, grid(20)), whole)


def test_accuracy_by_hand() -> None:
    best = torch.tensor([[0.2, 0.6, 0.7], [0.3, 0.5, 0.0], [0.4, 0.1, 0.0]])
    found = max_box_accuracy(best, torch.tensor([0.0, 0.5, 0.75]))
    assert found.accuracy == pytest.approx({0.3: 2 / 3, 0.5: 2 / 3, 0.7: 1 / 3})
    assert found.threshold == {0.3: 0.0, 0.5: 0.5, 0.7: 0.75}
    assert found.mean == pytest.approx(5 / 9)
    assert found.images == 3


def test_an_overlap_of_exactly_delta_is_a_hit() -> None:
    heat = torch.zeros(1, 1, 10)
    heat[0, 0, :3] = 1
    best = best_iou(heat, [torch.tensor([[0, 0, 10, 1]])], torch.tensor([0.5]))
    assert max_box_accuracy(best, torch.tensor([0.5]), (0.3,)).mean == 1


def test_the_perfect_map_and_its_opposites() -> None:
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, 1:3, 2:5] = True
    masks[1, 4:, 4:] = True
    boxes = mask_boxes(masks)
    found = max_box_accuracy(best_iou(masks.float(), boxes, grid()), grid())
    assert set(found.accuracy.values()) == {1.0}
    assert found.mean == 1
    # A constant map has the whole image as its box.
    constant = best_iou(torch.full(masks.shape, 0.5), boxes, torch.tensor([0.2, 0.5]))
    assert constant.tolist() == torch.tensor([[6 / 64, 0], [16 / 64, 0]]).tolist()
    assert best_iou(torch.zeros(masks.shape), boxes, grid()).count_nonzero() == 0
    inverse = best_iou((~masks).float(), boxes, grid())
    assert max_box_accuracy(inverse, grid()).mean == 0


def test_images_without_a_box_are_left_out() -> None:
    heat = torch.zeros(3, 4, 4)
    heat[:, 1:3, 1:3] = 1
    masks = heat > 0.5
    masks[1] = False
    best = best_iou(heat, mask_boxes(masks), grid())
    assert best[1].isnan().all()
    assert not best[[0, 2]].isnan().any()
    found = max_box_accuracy(best, grid())
    assert (found.mean, found.images) == (1.0, 2)
    with pytest.raises(BenchError, match="no image has a box"):
        max_box_accuracy(best[1:2], grid())


def test_boxes_may_be_fractions_of_pixels() -> None:
    heat = torch.zeros(1, 4, 4)
    heat[0, 1:3, 1:3] = 1
    best = best_iou(heat, [torch.tensor([[1.0, 1.0, 3.0, 2.5]])], torch.tensor([0.5]))
    assert float(best) == pytest.approx(3 / 4)


def test_what_has_no_box_is_refused() -> None:
    heat = torch.rand(2, 4, 4)
    box = torch.tensor([[0, 0, 2, 2]])
    with pytest.raises(BenchError, match="1 lists of boxes for 2 heatmaps"):
        best_iou(heat, [box], grid())
    with pytest.raises(BenchError, match="image 1 has a box without area"):
        best_iou(heat, [box, torch.tensor([[2, 2, 2, 3]])], grid())
    with pytest.raises(BenchError, match="masks must be bool"):
        mask_boxes(heat)
    with pytest.raises(BenchError, match="masks must be bool"):
        component_boxes(heat)
    with pytest.raises(BenchError, match="ascending"):
        best_iou(heat, [box, box], torch.tensor([0.5, 0.5]))
