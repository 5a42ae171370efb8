"""Deletion and insertion against a loop over pixels, with networks whose answers are known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.errors import BenchError
from bench.explain.removal import BLUR, Baseline, deletion, insertion, ranks, replaced

BASELINES: tuple[Baseline, ...] = ("zero", "mean", "blur")


def linear(seed: int, channels: int, height: int, width: int) -> Callable[[Tensor], Tensor]:
    """Three classes; each image's logits depend on it alone, to the last bit."""
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, channels, height, width, generator=random)

    def predict(images: Tensor) -> Tensor:
        return (images[:, None].double() * weight).sum((2, 3, 4)).float()

    return predict


def distinct(seed: int, count: int, height: int, width: int) -> Tensor:
    """Heatmaps without ties."""
    random = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(height * width, generator=random) for _ in range(count)]
    return torch.stack(orders).reshape(count, height, width).float()


def images(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def walked(
    predict: Callable[[Tensor], Tensor],
    start: Tensor,
    end: Tensor,
    heat: Tensor,
    target: int,
    steps: int,
) -> list[float]:
    """One image, one pixel after the other, in falling order of the heatmap."""
    width = heat.shape[1]
    order = sorted(range(heat.numel()), key=lambda p: -float(heat.flatten()[p]))
    now, found, done = start.clone(), [], 0
    for step in range(steps + 1):
        while done < step * heat.numel() // steps:
            y, x = divmod(order[done], width)
            now[:, y, x] = end[:, y, x]
            done += 1
        found.append(float(predict(now[None])[0].double().softmax(0)[target]))
    return found


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**16),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    channels=st.sampled_from([1, 3]),
    baseline=st.sampled_from(BASELINES),
    data=st.data(),
)
def test_curves_are_those_of_a_loop_over_pixels(
    seed: int, height: int, width: int, channels: int, baseline: Baseline, data: st.DataObject
) -> None:
    steps = data.draw(st.integers(1, height * width))
    clean, heat = images(seed, 3, channels, height, width), distinct(seed, 3, height, width)
    predict = linear(seed, channels, height, width)
    target = torch.tensor([0, 1, 2])
    gone = replaced(clean, baseline)
    down = deletion(predict, clean, heat, target, steps, baseline)
    up = insertion(predict, clean, heat, target, steps, baseline)
    for n in range(3):
        one = walked(predict, clean[n], gone[n], heat[n], n, steps)
        other = walked(predict, gone[n], clean[n], heat[n], n, steps)
        assert down.probability[n].tolist() == pytest.approx(one, abs=1e-6)
        assert up.probability[n].tolist() == pytest.approx(other, abs=1e-6)
    expected = predict(clean).double().softmax(1).diagonal()
    assert down.clean.tolist() == up.clean.tolist() == expected.tolist()
    # What is removed in reverse order is what is inserted, read from the end.
    if height * width % steps == 0:
        back = insertion(predict, clean, -heat, target, steps, baseline)
        assert torch.equal(back.probability, down.probability.flip(1))


def test_curves_by_hand() -> None:
    # The first class's logit is the sum of the pixels, the other's 0.
    def predict(batch: Tensor) -> Tensor:
        total = batch.sum((1, 2, 3))
        return torch.stack([total, torch.zeros_like(total)], 1) - 0.75

    clean = torch.tensor([[[[1.0, 0.0], [0.5, 0.25]]]])
    heat = torch.tensor([[[0.9, 0.1], [0.2, 0.8]]])
    found = deletion(predict, clean, heat, torch.tensor([0]), steps=4)
    sums = torch.tensor([1.75, 0.75, 0.5, 0.0, 0.0], dtype=torch.float64)
    assert found.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    curve = sums.sigmoid()
    assert found.probability[0].tolist() == pytest.approx(curve.tolist(), abs=1e-7)
    area = float((curve[:-1] + curve[1:]).sum()) / 8
    assert float(found.area()) == pytest.approx(area, abs=1e-7)
    assert found.clean.tolist() == pytest.approx([float(curve[0])], abs=1e-7)


def test_a_map_that_knows_beats_one_that_does_not() -> None:
    def predict(batch: Tensor) -> Tensor:
        total = batch[:, 0, :3, :3].sum((1, 2))
        return torch.stack([total, 9 - total], 1)

    clean = torch.ones(1, 1, 6, 6)
    good = torch.zeros(1, 6, 6)
    good[0, :3, :3] = 1
    target = torch.tensor([0])
    maps = {"good": good, "constant": torch.ones_like(good), "inverse": -good}
    down = {n: float(deletion(predict, clean, m, target, 36).area()) for n, m in maps.items()}
    up = {
        n: float(insertion(predict, clean, m, target, 36, "zero").area()) for n, m in maps.items()
    }
    assert down["good"] < 0.2 < down["constant"] < 0.7 < down["inverse"]
    assert up["good"] > 0.8 > up["constant"] > 0.3 > up["inverse"]


def test_a_network_that_looks_at_nothing_has_a_flat_curve() -> None:
    logits = torch.tensor([0.0, 1.0, 3.0])
    clean, heat = images(0, 4, 3, 5, 5), distinct(0, 4, 5, 5)
    # 7 does not divide 25 pixels: the steps are unequal, the area is not.
    found = deletion(lambda x: logits.expand(len(x), 3), clean, heat, torch.full((4,), 2), 7)
    share = float(logits.double().softmax(0)[2])
    assert found.area().tolist() == pytest.approx([share] * 4)
    assert found.shares.tolist() == [k * 25 // 7 / 25 for k in range(8)]


def test_every_pixel_has_its_turn_in_falling_order() -> None:
    heat = images(1, 6, 9, 7).mul(3).round()
    turns = ranks(heat, range(6)).flatten(1)
    for turn, values in zip(turns, heat.flatten(1), strict=True):
        assert turn.sort().values.tolist() == list(range(63))
        assert (values[turn.argsort()].diff() <= 0).all()


def test_equal_pixels_follow_the_image_not_the_batch() -> None:
    flat = torch.ones(8, 6, 6)
    whole = ranks(flat, range(8))
    assert torch.equal(ranks(flat[:3], [5, 6, 7]), whole[5:])
    assert torch.equal(ranks(flat.double() * 7, range(8)), whole)
    assert len({tuple(turn.flatten().tolist()) for turn in whole}) == 8
    # The draw is pinned: another one would move every published curve.
    assert whole[0].flatten()[:6].tolist() == [22, 20, 11, 14, 24, 6]


def test_equal_pixels_favour_no_place() -> None:
    turns = ranks(torch.zeros(2000, 4, 4), range(2000)).double()
    # A uniform turn of 16 has deviation 4.6; of 2,000 the mean has 0.1.
    assert (turns.mean(0) - 7.5).abs().max() < 0.5


def test_batches_gradients_and_random_numbers_leave_no_trace() -> None:
    clean, heat = images(2, 7, 2, 4, 4), torch.ones(7, 4, 4, requires_grad=True)
    target = torch.arange(7) % 3
    before, state = clean.clone(), torch.get_rng_state()
    sizes: list[int] = []
    inner = linear(0, 2, 4, 4)

    def predict(batch: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        sizes.append(len(batch))
        return inner(batch)

    whole = deletion(predict, clean, heat, target, 4, "blur")
    assert set(sizes) == {7}
    parts = deletion(predict, clean, heat, target, 4, "blur", batch_size=3)
    assert max(sizes[5:]) == 3
    assert torch.equal(whole.probability, parts.probability)
    late = deletion(predict, clean[4:], heat[4:], target[4:], 4, "blur", samples=range(4, 7))
    assert torch.equal(late.probability, whole.probability[4:])
    assert torch.equal(clean, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_baselines() -> None:
    clean = images(3, 2, 3, 10, 14)
    assert replaced(clean, "zero").count_nonzero() == 0
    mean = replaced(clean, "mean")
    assert torch.allclose(mean.amax((2, 3)), clean.mean((2, 3)))
    assert torch.allclose(mean.amin((2, 3)), clean.mean((2, 3)))
    sigma = BLUR * 14
    expected = scipy.ndimage.gaussian_filter(
        clean.double().numpy(), (0, 0, sigma, sigma), mode="reflect", truncate=4
    )
    assert torch.allclose(replaced(clean, "blur"), torch.from_numpy(expected).float(), atol=1e-6)
    assert replaced(clean, "blur").dtype == clean.dtype
    with pytest.raises(BenchError, match="unknown baseline 'noise'; known: zero, mean, blur"):
        replaced(clean, "noise")


def test_what_does_not_fit_is_refused() -> None:
    clean, heat, target = images(4, 2, 1, 3, 3), distinct(4, 2, 3, 3), torch.tensor([0, 1])
    predict = linear(0, 1, 3, 3)
    for steps in (0, 10):
        with pytest.raises(BenchError, match="steps must be 1 to 9"):
            deletion(predict, clean, heat, target, steps)
    for wrong in (
        (clean[:1], heat, target),
        (clean, heat[:, :2], target),
        (clean, heat, target[:1]),
    ):
        with pytest.raises(BenchError, match="do not fit"):
            insertion(predict, *wrong, steps=3)
    with pytest.raises(BenchError, match="do not fit"):
        insertion(predict, clean, heat, target, 3, samples=[0])
    heat[1, 0, 0] = torch.nan
    with pytest.raises(BenchError, match="holds NaN"):
        deletion(predict, clean, heat, target, 3)
