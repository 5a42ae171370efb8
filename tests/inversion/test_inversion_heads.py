"""Heads: an inverted network ends as the model does, or says that it does not."""

from __future__ import annotations

from collections.abc import Callable

import heads
import nets
import pytest
import torch
from torch import Tensor, nn

import arches
from arches.inversion.network import InvertedNetwork


def inverted(head: nn.Module, variant: str = "td", **options: object) -> InvertedNetwork:
    network = arches.invert(heads.Net(head), variant, **options)
    assert isinstance(network, InvertedNetwork)
    return network


@pytest.mark.parametrize("name", heads.PLAIN)
def test_a_mean_and_a_dense_layer_however_written_need_no_word(name: str) -> None:
    network = inverted(heads.PLAIN[name]())
    assert network.head.operation == "mean, dense"
    assert list(network.remarks()) == []


OPERATIONS = {
    "dropout": "mean, dropout, dense",
    "dropout by function": "mean, dropout, dense",
    "maximum": "max, dense",
    "maximum in window": "max, dense",
    "both": "mean, max, concatenation, dense",
    "cosine": "Cosine",
    "perceptron": "mean, norm, dense, GELU, dropout, dense",
    "normalised": "mean, norm, dense",
    "activation": "relu, mean, dense",
    "two heads": "mean, dense, dense, add, truediv, log_softmax",
    "generalised mean": "GeneralisedMean, dense",
    "score map": "conv, mean",
    "squeezenet": "dropout, conv, ReLU, mean",
    "pooled convolutions": "mean, conv, Hardswish, conv",
}


@pytest.mark.parametrize("variant", ["td", "td_uni", "td_rev"])
@pytest.mark.parametrize("name", heads.CARRIED)
def test_what_works_at_any_width_and_size_is_carried_over(name: str, variant: str) -> None:
    network = inverted(heads.CARRIED[name](), variant, num_classes=7)
    assert network.head.operation == OPERATIONS[name]
    assert list(network.remarks()) == []
    assert network.head.in_width == {"td": 8, "td_uni": 16, "td_rev": 32}[variant]
    for side in (64, 96):
        assert network(torch.rand(2, 3, side, side)).shape == (2, 7)


def test_it_computes_what_the_model_does() -> None:
    head = inverted(heads.Both()).head.eval()
    [dense] = [module for module in head.modules() if isinstance(module, nn.Linear)]
    x = torch.randn(2, 8, 5, 5)
    both = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
    assert torch.allclose(head(x), dense(both), atol=1e-6)


@pytest.mark.parametrize("name", ["maximum in window", "maximum"])
def test_a_maximum_is_one_of_the_whole_image(name: str) -> None:
    head = inverted(heads.CARRIED[name]()).head
    x = torch.randn(2, 8, 32, 32)
    moved = x.flatten(2)[..., torch.randperm(32 * 32)].view_as(x)
    assert torch.allclose(head(moved), head(x), atol=1e-6)
    assert not torch.allclose(head(x.clamp(max=0.5)), head(x), atol=1e-2)


@pytest.mark.parametrize("name", ["dropout", "dropout by function"])
def test_a_dropout_drops_in_training_only(name: str) -> None:
    head = inverted(heads.CARRIED[name]()).head
    x = torch.rand(8, 8, 5, 5)
    assert not torch.equal(head.train()(x), head(x))
    assert torch.equal(head.eval()(x), head(x))


def test_hidden_layers_keep_their_width_and_spread() -> None:
    """A hidden layer as narrow as the finest map would cost accuracy and save next to nothing."""
    torch.manual_seed(0)
    head = inverted(heads.perceptron()).head
    first, last = (module for module in head.modules() if isinstance(module, nn.Linear))
    assert (first.in_features, first.out_features) == (8, 64)
    assert (last.in_features, last.out_features) == (64, 10)
    # As PyTorch draws it: uniform within 1 / sqrt(fan-in).
    assert first.weight.std().item() == pytest.approx((1 / 3 / 8) ** 0.5, rel=0.15)
    assert last.weight.std().item() == pytest.approx((1 / 3 / 64) ** 0.5, rel=0.15)


def test_hidden_convolutions_keep_their_width_and_spread() -> None:
    torch.manual_seed(0)
    network = arches.invert(heads.Net(heads.pooled_convolutions()), "td", num_classes=7)
    assert isinstance(network, InvertedNetwork)
    first, last = (module for module in network.head.modules() if isinstance(module, nn.Conv2d))
    assert (first.in_channels, first.out_channels) == (8, 64)
    assert (last.in_channels, last.out_channels) == (64, 7)
    assert first.weight.std().item() == pytest.approx((1 / 3 / 8) ** 0.5, rel=0.15)


def test_what_lies_behind_a_hidden_layer_keeps_its_weights() -> None:
    model = heads.Net(heads.perceptron())
    kept, new = (arches.invert(model, "td", init=init) for init in ("from_bu", "fresh"))
    *_, own = (module for module in model.modules() if isinstance(module, nn.Linear))
    ends = [[m for m in net.head.modules() if isinstance(m, nn.Linear)][-1] for net in (kept, new)]
    assert [torch.equal(end.weight, own.weight) for end in ends] == [True, False]


class BesideHidden(nn.Module):
    """A gain outside of layers; the map's features and hidden ones side by side, with a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(heads.WIDTH))
        self.hidden = nn.Linear(heads.WIDTH, 48)
        self.norm = nn.LayerNorm(heads.WIDTH + 48)
        self.fc = nn.Linear(heads.WIDTH + 48, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3)) * self.gain
        out: Tensor = self.fc(self.norm(torch.cat([x, self.hidden(x)], 1)))
        return out


def test_features_of_the_map_beside_hidden_ones() -> None:
    network = arches.invert(heads.Net(BesideHidden()), "td", num_classes=7)
    assert isinstance(network, InvertedNetwork)
    assert "dense, concatenation, norm, dense" in network.head.operation
    assert {name: tuple(one.shape) for name, one in network.head.named_parameters()} == {
        "parts.head.gain": (8,),
        "parts.head.hidden.weight": (48, 8),
        "parts.head.hidden.bias": (48,),
        "parts.head.norm.weight": (56,),
        "parts.head.norm.bias": (56,),
        "parts.head.fc.weight": (7, 56),
        "parts.head.fc.bias": (7,),
    }
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 7)


def test_as_many_classes_as_twice_the_channels_and_one() -> None:
    """A rule for the linear attention of some stages has nothing to say about scores."""
    network = arches.invert(
        heads.Net(nn.Sequential(nn.Conv2d(32, 65, 1), heads.Mean())), "td", 3, 65
    )
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 65)
    assert network.head.operation == "conv, mean"


class RootCosine(nn.Module):
    """Its own weight, used by functions behind a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*list(nets.residual(3, 10).children())[:-3])
        self.fc = nn.Linear(32, 64)
        self.weight = nn.Parameter(torch.randn(10, 64))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.normalize(self.fc(self.body(x).mean((2, 3))))
        return nn.functional.linear(x, nn.functional.normalize(self.weight))


def test_weights_outside_of_modules_go_over_too() -> None:
    network = arches.invert(RootCosine(), "td", num_classes=7)
    assert isinstance(network, InvertedNetwork)
    assert network.head.operation == "mean, dense, normalize, normalize, dense"
    assert sorted(tuple(one.shape) for one in network.head.parameters()) == [
        (7, 64),
        (64,),
        (64, 8),
    ]
    logits = network(torch.rand(2, 3, 64, 64))
    assert logits.shape == (2, 7)
    assert float(logits.detach().abs().max()) <= 1


def test_as_many_classes_as_channels() -> None:
    head = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(32, 32))
    network = inverted(head, num_classes=32)
    assert network.head.operation == "max, dense"
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 32)


def test_channels_on_the_last_axis() -> None:
    network = arches.invert(heads.tokens(), "td_rev", reading="baseline", init="from_bu")
    assert isinstance(network, InvertedNetwork)
    assert network.stages.stages[-1].out_layout == "nhwc"
    assert network.head.operation == "max, norm, dense"
    x = torch.randn(2, 32, 5, 5)
    [norm] = [module for module in network.head.modules() if isinstance(module, nn.LayerNorm)]
    [dense] = [module for module in network.head.modules() if isinstance(module, nn.Linear)]
    assert torch.allclose(network.head(x), dense(norm(x.amax((2, 3)))), atol=1e-6)


def test_weights_stay_where_the_last_stage_stays_the_last() -> None:
    model = heads.Net(heads.Both())
    network = arches.invert(model, "td_rev", reading="baseline", init="from_bu")
    [dense] = [module for module in network.head.modules() if isinstance(module, nn.Linear)]
    assert torch.equal(dense.weight, model.head.fc.weight)
    assert dense.weight.data_ptr() != model.head.fc.weight.data_ptr()


class BatchOfTheImage(nn.Module):
    """A view by the number of images that came in, and a pool by a function."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*list(nets.residual(3, 10).children())[:-3])
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        count = x.size(0)
        x = self.body(x)
        x = nn.functional.adaptive_max_pool2d(x, 1)
        out: Tensor = self.fc(x.view(count, -1))
        return out


def test_the_number_of_images_may_be_read_off_the_images() -> None:
    network = arches.invert(BatchOfTheImage(), "td")
    assert isinstance(network, InvertedNetwork)
    assert network.head.operation == "max, dense"
    assert network(torch.rand(3, 3, 64, 64)).shape == (3, 10)


class Guarded(heads.Net):
    """It looks at values: of the images, or of the last feature map."""

    def __init__(self, last: bool) -> None:
        super().__init__(heads.largest())
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        if not self.last and bool(x.isnan().any()):
            raise ValueError("not a number")
        x = self.body(x)
        if self.last and bool(x.isnan().any()):
            raise ValueError("not a number")
        out: Tensor = self.head(x)
        return out


def test_decisions_in_the_body_do_not_matter_and_those_in_the_head_do() -> None:
    free, bound = (arches.invert(Guarded(last), "td") for last in (False, True))
    assert isinstance(free, InvertedNetwork)
    assert isinstance(bound, InvertedNetwork)
    assert free.head.operation == "max, dense"
    assert free.head_note == ""
    assert bound.head.operation == "mean, dense"
    assert bound.head_note.startswith("head: mean, dense; bu has max, dense, so")


SAID = {
    "wide convolution": "head: mean, dense; bu has conv, norm, ReLU, mean, dense, so the two "
    "differ in their heads, too",
    "flattened": "head: mean, dense; bu has flatten, dense, so the two differ in their heads, too",
    "grid": "head: mean, dense; bu has AdaptiveAvgPool2d, flatten, dense, so the two differ in "
    "their heads, too",
    "grid of its own": "head: mean, dense; bu has flatten, dense, so the two differ in their "
    "heads, too",
    "loop": "head: mean, dense; that of bu may be another, it is not read: its forward loops over "
    "values or sizes",
}


@pytest.mark.parametrize("name", heads.REPLACED)
def test_another_head_is_said(name: str) -> None:
    model = heads.Net(heads.REPLACED[name]())
    found = arches.describe(model, "td", image_size=64, measured=False)
    assert found.rows[-1].operation == "mean, dense"
    assert found.remarks == (SAID[name],)
    assert arches.describe(model, "bu", image_size=64, measured=False).remarks == ()


@pytest.mark.parametrize("make", [nets.convolutional, nets.ConvolutionalByFunction])
@pytest.mark.parametrize("variant", ["td", "td_uni", "td_rev"])
def test_the_scores_of_the_classes_are_the_head_and_no_stage(make: Callable, variant: str) -> None:
    """Else the coarsest stage would be as narrow as there are classes, and with it the others."""
    network = arches.invert(make(3, 10), variant, image_size=32)
    assert isinstance(network, InvertedNetwork)
    widths = {"td": {4: 32, 2: 16}, "td_uni": {4: 32, 2: 32}, "td_rev": {4: 16, 2: 32}}
    assert network.widths == widths[variant]
    if make is nets.convolutional:
        assert network.head.operation == "dropout, conv, mean"
        assert network.head_note == ""
    else:  # 3 x 3
        assert network.head.operation == "mean, dense"
        assert network.head_note.startswith("head: mean, dense; bu has conv, ")
