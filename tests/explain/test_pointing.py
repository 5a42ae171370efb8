"""The pointing game against a count pixel by pixel."""

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
from bench.explain.boxes import mask_boxes
from bench.explain.pointing import hits


def naive(heat: Tensor, mask: Tensor, tolerance: int) -> float:
    """Every point of the maximum against every pixel of the object."""
    objects = mask.nonzero().tolist()
    if not objects:
        return math.nan
    if heat.max() <= 0:
        return 0.0
    points = (heat == heat.max()).nonzero().tolist()
    hit = [any(math.dist(point, pixel) <= tolerance for pixel in objects) for point in points]
    return sum(hit) / len(hit)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Tensor, int]:
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)))
    values = st.sampled_from([-1.0, 0.0, 0.5, 1.0])
    heat = draw(hnp.arrays(np.float32, shape, elements=values))
    masks = draw(hnp.arrays(np.bool_, shape, elements=st.sampled_from([False, False, True])))
    return torch.from_numpy(heat), torch.from_numpy(masks), draw(st.integers(0, 4))


@settings(deadline=None, max_examples=60)
@given(case=cases())
def test_hits_are_those_counted_pixel_by_pixel(case: tuple[Tensor, Tensor, int]) -> None:
    heat, masks, tolerance = case
    expected = [naive(h, m, tolerance) for h, m in zip(heat, masks, strict=True)]
    found = hits(heat, masks, tolerance=tolerance)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(expected, nan_ok=True)


def spot(*places: tuple[int, int], side: int = 8) -> Tensor:
    heat = torch.full((1, side, side), 0.1)
    for y, x in places:
        heat[0, y, x] = 1
    return heat


@pytest.mark.parametrize(
    ("box", "pixel"),
    [
        ((3.6, 3.6, 4.3, 4.3), (3, 3)),
        ((5.1, 2.0, 5.2, 4.0), (3, 5)),
        ((-4.0, 2.7, 0.3, 3.2), (2, 0)),
        ((7.8, 7.8, 9.0, 9.0), (7, 7)),
    ],
)
def test_a_box_between_pixel_centres_is_hit_at_its_middle(
    box: tuple[float, ...], pixel: tuple[int, int]
) -> None:
    """An object of 5 of 500 pixels, for an image of 32: there is something to point at."""
    boxes = [torch.tensor([box], dtype=torch.float64)]
    assert hits(spot(pixel), boxes=boxes).item() == 1
    y, x = pixel
    others = [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    for other in others:
        if min(other) >= 0 and max(other) < 8:
            expected = 1 if box[1] == 2.0 and other == (2, 5) else 0
            assert hits(spot(other), boxes=boxes).item() == expected


def square(side: int = 8) -> Tensor:
    mask = torch.zeros(1, side, side, dtype=torch.bool)
    mask[0, 2:4, 2:4] = True
    return mask


def test_points_on_and_off_the_object() -> None:
    assert float(hits(spot((3, 2)), square())) == 1
    assert float(hits(spot((4, 2)), square())) == 0
    assert float(hits(spot((4, 2)), square(), tolerance=1)) == 1
    # The diagonal neighbour of a corner is farther than 1.
    assert float(hits(spot((4, 4)), square(), tolerance=1)) == 0
    assert float(hits(spot((4, 4)), square(), tolerance=2)) == 1


def test_equal_maxima_share_the_point() -> None:
    assert float(hits(spot((2, 2), (3, 3), (6, 6), (0, 7)), square())) == 0.5


def test_maps_that_point_nowhere() -> None:
    assert float(hits(torch.full((1, 8, 8), 0.3), square())) == 4 / 64
    assert float(hits(torch.zeros(1, 8, 8), square())) == 0
    assert float(hits(-spot((2, 2)), square())) == 0


def test_the_perfect_map_and_its_inverse() -> None:
    assert float(hits(square().float(), square())) == 1
    assert float(hits((~square()).float(), square())) == 0


def test_boxes_are_masks_of_the_pixels_in_them() -> None:
    random = torch.Generator().manual_seed(0)
    heat = torch.rand(40, 9, 7, generator=random).mul(4).ceil()
    masks = torch.zeros(40, 9, 7, dtype=torch.bool)
    masks[:, 2:6, 3:5] = True
    boxes = mask_boxes(masks)
    assert torch.equal(hits(heat, boxes=boxes), hits(heat, masks))
    # A second box, of another image's count, and one that is empty of any.
    masks[3, 7:9, 0:2] = True
    boxes[3] = torch.cat([boxes[3], torch.tensor([[0, 7, 2, 9]])])
    boxes[5] = boxes[5][:0]
    found, expected = hits(heat, boxes=boxes, tolerance=1), hits(heat, masks, tolerance=1)
    assert found[5].isnan()
    others = torch.arange(40) != 5
    assert torch.equal(found[others], expected[others])


def test_a_pixel_is_in_a_box_that_holds_its_centre() -> None:
    for edge, expected in ((2.4, 1.0), (2.5, 1.0), (2.6, 0.0)):
        for box in ([edge, 2.0, 5.0, 5.0], [2.0, edge, 5.0, 5.0]):
            assert float(hits(spot((2, 2)), boxes=[torch.tensor([box])])) == expected
    for edge, expected in ((2.5, 0.0), (2.6, 1.0)):
        for box in ([0.0, 0.0, edge, 5.0], [0.0, 0.0, 5.0, edge]):
            assert float(hits(spot((2, 2)), boxes=[torch.tensor([box])])) == expected


def test_what_cannot_be_played_is_refused() -> None:
    heat, mask = spot((1, 1)), square()
    with pytest.raises(BenchError, match="either masks or boxes"):
        hits(heat)
    with pytest.raises(BenchError, match="either masks or boxes"):
        hits(heat, mask, mask_boxes(mask))
    with pytest.raises(BenchError, match="2 lists of boxes for 1 heatmaps"):
        hits(heat, boxes=mask_boxes(mask) * 2)
    with pytest.raises(BenchError, match="masks must be bool"):
        hits(heat, mask[:, :4])
    with pytest.raises(BenchError, match="tolerance"):
        hits(heat, mask, tolerance=-1)
    heat[0, 0, 0] = torch.nan
    with pytest.raises(BenchError, match="heatmap 0 holds NaN"):
        hits(heat, mask)
