"""The fast dropout against PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import arches
from arches.layers.dropout import HalfDropout, build_dropout


def dropped(x: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return HalfDropout().train()(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("last", [False, True])
def test_values_are_zero_or_doubled_half_of_them_each(dtype: torch.dtype, last: bool) -> None:
    form = torch.channels_last if last else torch.contiguous_format
    x = (torch.rand(16, 8, 15, 13) + 0.5).to(dtype).contiguous(memory_format=form)
    out = dropped(x)
    assert (out.dtype, out.stride()) == (dtype, x.stride())
    kept = out != 0
    assert torch.equal(out[kept], 2 * x[kept])
    # Five standard deviations, of the whole and of each channel and row.
    assert abs(float(kept.double().mean()) - 0.5) < 5 * 0.5 / x.numel() ** 0.5
    for axes in ((0, 2, 3), (0, 1, 3), (1, 2, 3)):
        means = kept.double().mean(axes)
        count = x.numel() / means.numel()
        assert float((means - 0.5).abs().max()) < 5 * 0.5 / count**0.5


def test_bits_are_independent_of_their_neighbours() -> None:
    kept = (dropped(torch.ones(200_000)) != 0).double() - 0.5
    for lag in (*range(1, 70), 128):
        share = float((kept[lag:] * kept[:-lag]).mean()) / 0.25
        assert abs(share) < 5 / len(kept) ** 0.5, lag


@pytest.mark.parametrize("shape", [(1,), (63,), (3, 7), (2, 3, 5, 7), (2, 3, 4, 5, 6), (0, 4)])
def test_any_shape(shape: tuple[int, ...]) -> None:
    assert dropped(torch.ones(shape)).shape == shape


def test_a_view_with_gaps() -> None:
    x = torch.rand(8, 8, 9, 9)[:, ::2, 1:]
    out = dropped(x)
    assert torch.equal(out[out != 0], 2 * x[out != 0])
    assert 0.3 < float((out != 0).float().mean()) < 0.7


def test_the_seed_decides() -> None:
    x = torch.rand(4, 3, 8, 8)
    assert torch.equal(dropped(x, 1), dropped(x, 1))
    assert not torch.equal(dropped(x, 1), dropped(x, 2))


def test_the_gradient_passes_where_values_did() -> None:
    x = torch.rand(5, 6, requires_grad=True)
    out = dropped(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, 2.0 * (out != 0))


def test_in_evaluation_nothing_happens() -> None:
    x = torch.rand(5, 6)
    assert torch.equal(HalfDropout().eval()(x), x)


def test_first_use_in_inference_mode_spoils_nothing() -> None:
    from arches.layers import dropout

    dropout._scales.cache_clear()
    with torch.inference_mode():
        dropped(torch.rand(8))
    x = torch.rand(8, requires_grad=True)
    dropped(x).sum().backward()
    assert x.grad is not None


def test_the_papers_networks_use_it_and_other_shares_are_pytorchs() -> None:
    kinds = {
        type(module) for module in arches.create("nin_light", "td").modules()
        if isinstance(module, nn.Dropout)
    }  # fmt: skip
    assert kinds == {HalfDropout}
    other = build_dropout(0.3)
    assert type(other) is nn.Dropout
    assert other.p == 0.3
    assert build_dropout(0.0) is None


def test_it_is_compiled_and_counted_as_pytorchs() -> None:
    with torch.device("meta"):
        out = HalfDropout().train()(torch.ones(3, 4))
    assert out.device.type == "meta"
