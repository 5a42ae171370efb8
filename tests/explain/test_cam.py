"""Class activation maps: the paper's steps, the package grad-cam, and what a pass leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from explained_networks import SWIN, VIT, foreign, images, paper, plain_cnn, seeded, wrapped
from hypothesis import given, settings
from hypothesis import strategies as st
from scaled_by_hand import paper_scaled
from torch import Tensor, nn

from bench.errors import BenchError, UnknownNameError
from bench.explain.cam import METHODS, Score, heatmaps, score_gradient


@pytest.mark.parametrize("variant", ["bu", "td", "td_uni", "td_rev"])
@pytest.mark.parametrize("name", ["lenet_fc", "nin_light"])
def test_paper_is_the_authors_algorithm(name: str, variant: str) -> None:
    network, x = paper(name, variant).double(), images(3, 1, 28).double()
    found = heatmaps(network, x, layers="all")
    features = network.forward_features(x)  # type: ignore[operator]
    logits = features.pop("logits")
    np.testing.assert_allclose(found.logits, logits.detach(), atol=1e-12)
    assert found.target.tolist() == logits.argmax(1).tolist()
    assert tuple(found.maps) == tuple(features)
    probability = logits.softmax(1).amax(1).sum()
    for name_of_map, values in features.items():
        (gradient,) = torch.autograd.grad(probability, values, retain_graph=True)
        for number in range(len(x)):
            weights = gradient[number].numpy().mean((1, 2))
            cam = np.tensordot(weights, values[number].detach().numpy(), 1)
            np.testing.assert_allclose(
                found.maps[name_of_map][number], paper_scaled(cam, (28, 28)), atol=1e-6
            )
        assert not found.undefined[name_of_map].any()


def tokens_of(prefix: int, height: int, width: int) -> Callable[[Tensor], Tensor]:
    return lambda x: x[:, prefix:].reshape(len(x), height, width, -1).permute(0, 3, 1, 2)


Case = tuple[Callable[[], nn.Module], Tensor, str, Callable[[Tensor], Tensor] | None]
PACKAGE: dict[str, Case] = {
    "nin_light bu act_2": (lambda: paper("nin_light", "bu"), images(2, 1, 28), "act_2", None),
    "nin_light td act_4": (lambda: paper("nin_light", "td"), images(2, 1, 28), "act_4", None),
    "resnet10t": (lambda: foreign("timm/resnet10t"), images(2), "model.layer4", None),
    "swin": (
        lambda: foreign("timm/swin_tiny_patch4_window7_224", **SWIN),
        images(),
        "act_3",
        lambda x: x.permute(0, 3, 1, 2),
    ),
    "vit": (
        lambda: foreign("timm/vit_tiny_patch16_224", **VIT),
        images(),
        "model.blocks.2.norm1",
        tokens_of(1, 4, 4),
    ),
}


@pytest.mark.parametrize("name", PACKAGE)
def test_the_other_methods_are_the_packages(name: str) -> None:
    package = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    make, x, layer, reshape = PACKAGE[name]
    # In float64: sums over channels that cancel differ by more than 1e-5 in float32.
    network, x = make().double(), x.double()
    features = network.feature_modules()  # type: ignore[operator]
    module = features[layer] if layer in features else network.get_submodule(layer)
    kinds = {
        "grad-cam": package.GradCAM,
        "grad-cam++": package.GradCAMPlusPlus,
        "hires-cam": package.HiResCAM,
        "layer-cam": package.LayerCAM,
    }
    assert set(kinds) == set(METHODS) - {"paper"}
    other = torch.arange(len(x))
    for method, kind in kinds.items():
        for target, targets in (
            (None, None),
            (other, [ClassifierOutputSoftmaxTarget(c) for c in other]),
        ):
            score: Score = "logit" if target is None else "probability"
            ours = heatmaps(network, x, method=method, layers=layer, score=score, target=target)
            with kind(model=network, target_layers=[module], reshape_transform=reshape) as cam:
                theirs = cam(input_tensor=x, targets=targets)
            defined = ~ours.undefined[layer]
            np.testing.assert_allclose(
                ours.maps[layer][defined], theirs[defined], atol=1e-5, err_msg=f"{method} {score}"
            )
            assert not theirs[~defined].any()
            assert defined.any()


@pytest.mark.parametrize("method", METHODS)
def test_an_image_is_explained_alike_in_any_batch(method: str) -> None:
    network, x = wrapped(paper("nin_light", "td")), images(5, 1, 28)
    together = heatmaps(network, x, method=method, layers=("act_1", "act_4"))
    for number in range(len(x)):
        alone = heatmaps(network, x[number : number + 1], method=method, layers="act_1")
        np.testing.assert_allclose(
            together.maps["act_1"][number], alone.maps["act_1"][0], atol=1e-4
        )


def test_a_target_is_explained_instead_of_the_prediction() -> None:
    network, x = plain_cnn(), images(3, 1, 12)
    predicted = heatmaps(network, x)
    assert predicted.target.tolist() == network(x).argmax(1).tolist()
    again = heatmaps(network, x, target=predicted.target)
    assert torch.equal(again.maps["4"], predicted.maps["4"])
    other = (predicted.target + 1) % 4
    found = heatmaps(network, x, target=other)
    assert found.target.tolist() == other.tolist()
    assert not torch.equal(found.maps["4"], predicted.maps["4"])


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(-60, 60, width=32), min_size=2, max_size=6),
    st.integers(0, 5),
)
def test_the_probabilitys_gradient_is_exact_where_it_saturates(
    row: list[float], target: int
) -> None:
    logits = torch.tensor([row])
    chosen = torch.tensor([target % len(row)])
    exact = logits.double()
    p = exact.softmax(1)
    rest = torch.cat([p[:, : int(chosen)], p[:, int(chosen) + 1 :]], 1).sum()
    expected = -p * p[0, chosen]
    expected[0, chosen] = p[0, chosen] * rest
    found = score_gradient(logits, chosen, "probability").double()
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-37)


def test_one_class_far_ahead_is_explained_until_nothing_is_left() -> None:
    network, x = plain_cnn(), images(1, 1, 12)
    head = network[7]
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight *= 100
        head.bias -= network(x)[0]
    maps = []
    for gap, saturated in ((10.0, False), (8.0, False), (30.0, True)):
        with torch.no_grad():
            head.bias[2] += gap  # 10, 18, 48 ahead of the others
        assert (network(x).softmax(1).amax() == 1) == (gap != 10)  # in float32
        found = heatmaps(network, x)
        assert found.undefined["4"].tolist() == [saturated]
        assert not heatmaps(network, x, score="logit").undefined["4"].any()
        maps.append(found.maps["4"])
    assert maps[0].amax() == maps[1].amax() == 1
    # In the second one the 1e-10 of the scaling begins to show.
    np.testing.assert_allclose(maps[0], maps[1], atol=0.05)


def test_dead_maps_are_undefined() -> None:
    network, x = plain_cnn(), images(2, 1, 12)
    assert isinstance(network[3], nn.Conv2d)
    nn.init.constant_(network[3].bias, -1e3)
    for method in METHODS:
        found = heatmaps(network, x, method=method, layers="all")
        for layer in ("1", "4"):
            assert found.undefined[layer].all()
            assert not found.maps[layer].any()


class Mixed(nn.Module):
    """A network with everything that a pass could change."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.drop = nn.Dropout(0.5)
        self.second = nn.Sequential(nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.head = nn.Linear(6, 4)
        self.fails = False

    def forward(self, x: Tensor) -> Tensor:
        torch.rand(1)  # draws even in evaluation mode
        x = self.second(self.drop(self.first(x)))
        if self.fails:
            raise RuntimeError("broken")
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def state(network: nn.Module) -> list[object]:
    return [
        [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in network.modules()],
        [(p.requires_grad, p.grad is None) for p in network.parameters()],
        [t.clone().tolist() for t in network.state_dict().values()],
        torch.get_rng_state().tolist(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_left_as_it_was(fails: bool) -> None:
    network, x = seeded(Mixed).train(), images(4, 1, 12)
    network.second.eval()  # type: ignore[operator]
    network.first[0].weight.requires_grad_(False)  # type: ignore[index, union-attr]
    network.fails = fails  # type: ignore[assignment]
    before = state(network)
    for method, layers in (("paper", "all"), ("layer-cam", ("last",)), ("grad-cam", "first.1")):
        if fails:
            with pytest.raises(RuntimeError, match="broken"):
                heatmaps(network, x, method=method, layers=layers)
        else:
            heatmaps(network, x, method=method, layers=layers)
        assert state(network) == before
    if not fails:
        assert torch.equal(heatmaps(network, x).logits, network.eval()(x))


def test_the_papers_bottom_up_networks_run_channels_last_inside_only() -> None:
    network, x = wrapped(paper("nin_light", "bu")), images(2, 1, 28)
    formats = []
    network.backbone.positions[1].register_forward_hook(  # type: ignore[union-attr, index]
        lambda _m, _i, out: formats.append(out.is_contiguous(memory_format=torch.channels_last))
    )
    found = heatmaps(network, x, layers="act_4")
    network(x)
    assert formats == [True, False]
    assert found.maps["act_4"].is_contiguous()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_any_mode_of_the_caller(mode: Any) -> None:
    network, x = paper("nin_light", "td"), images(2, 1, 28)
    expected = heatmaps(network, x, layers="all")
    with mode():
        found = heatmaps(network, x.clone(), layers="all")
    for layer, heat in expected.maps.items():
        assert torch.equal(found.maps[layer], heat)
        assert not found.maps[layer].requires_grad
    assert not found.logits.requires_grad


class Gated(nn.Module):
    """Multiplies a map by the image, which a backward pass then needs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head((self.conv(x) * x).mean((2, 3)))
        return logits


def test_images_of_inference_mode_may_be_needed_once_more() -> None:
    network = seeded(Gated)
    with torch.inference_mode():
        found = heatmaps(network, images(2, 1, 12).clone(), layers="conv")
    expected = heatmaps(network, images(2, 1, 12), layers="conv")
    assert torch.equal(found.maps["conv"], expected.maps["conv"])


def test_images_that_need_gradients_get_none() -> None:
    x = images(2, 1, 12).requires_grad_()
    heatmaps(plain_cnn(), x)
    assert x.grad is None
    assert x.requires_grad


@pytest.mark.parametrize("method", METHODS)
def test_what_follows_in_place_does_not_change_a_map(method: str) -> None:
    cnn, x = plain_cnn(), images(2, 1, 12)
    for layer in ("0", "3"):
        found = heatmaps(cnn, x, method=method, layers=layer)
        cnn[1].inplace = cnn[4].inplace = False
        expected = heatmaps(cnn, x, method=method, layers=layer)
        cnn[1].inplace = cnn[4].inplace = True
        assert torch.equal(found.maps[layer], expected.maps[layer])


def test_what_only_passes_a_map_on_is_kept_apart_too() -> None:
    class Rewriting(nn.Module):
        def __init__(self, inplace: bool) -> None:
            super().__init__()
            self.body, self.same, self.inplace = plain_cnn(), nn.Identity(), inplace

        def forward(self, x: Tensor) -> Tensor:
            x = self.body[:5](x)
            y = self.same(x)
            x = x.mul_(3) if self.inplace else x * 3
            logits: Tensor = self.body[5:](x + y)
            return logits

    x = images(2, 1, 12)
    found, expected = (heatmaps(Rewriting(inplace), x, layers="same") for inplace in (True, False))
    assert not torch.equal(found.logits, torch.zeros_like(found.logits))
    assert torch.equal(found.maps["same"], expected.maps["same"])


class Marked(torch.autograd.Function):
    """Passes on, and counts backward passes."""

    count = 0

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        Marked.count += 1
        return gradients[0]


class Mark(nn.Module):
    """Counts its forward passes, and whether they were recorded for a backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = self.recorded = 0

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = Marked.apply(x)
        self.passes += 1
        self.recorded += out.requires_grad
        return out


def test_nothing_before_the_earliest_layer_is_recorded_and_one_pass_serves_all() -> None:
    cnn = plain_cnn()
    marks = [Mark() for _ in range(3)]
    network = nn.Sequential(
        cnn[0], marks[0], *cnn[1:3], cnn[3], marks[1], *cnn[4:7], marks[2], cnn[7]
    ).eval()
    x = images(3, 1, 12)
    Marked.count = 0
    both = heatmaps(network, x, layers=("4", "6"))
    assert [(m.passes, m.recorded) for m in marks] == [(1, 0), (1, 1), (1, 1)]
    assert Marked.count == 2
    late = heatmaps(network, x, layers=("6",))
    assert [(m.passes, m.recorded) for m in marks] == [(2, 0), (2, 1), (2, 2)]
    assert Marked.count == 3
    assert torch.equal(both.maps["6"], late.maps["6"])
    assert all(p.requires_grad and p.grad is None for p in network.parameters())


def test_wrong_arguments_are_refused() -> None:
    cnn, x = plain_cnn(), images(2, 1, 12)
    with pytest.raises(UnknownNameError, match="unknown method 'gradcam'; did you mean 'grad-cam'"):
        heatmaps(cnn, x, method="gradcam")
    with pytest.raises(UnknownNameError, match="unknown score 'loss'; known: logit, probability"):
        heatmaps(cnn, x, score="loss")  # type: ignore[arg-type]
    with pytest.raises(BenchError, match=r"must be float N x C x H x W .*uint8"):
        heatmaps(cnn, (255 * x).byte())
    for target in (torch.tensor([0, 4]), torch.tensor([0]), torch.tensor([0.0, 1.0])):
        with pytest.raises(BenchError, match=r"target must be int64 of shape \(2,\) .* 0 to 3"):
            heatmaps(cnn, x, target=target)
    with pytest.raises(BenchError, match=r"gives \(2, 8, 1, 1\), not logits"):
        heatmaps(cnn[:6], x)
    with pytest.raises(BenchError, match="layer '7' gives 2 x 4 for 2 images: not a map"):
        heatmaps(cnn, x, layers="7")


class Fields(dict[str, Tensor]):
    """As models of other libraries return: a dictionary that is read by attributes too."""

    def __getattr__(self, name: str) -> Tensor:
        return self[name]


def test_a_dictionary_of_a_kind_of_its_own_stays_one() -> None:
    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = plain_cnn()

        def forward(self, x: Tensor) -> Fields:
            return Fields(features=self.inner[:5](x))

    class Read(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Body()

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.body.inner[5:](self.body(x).features)
            return logits

    found = heatmaps(seeded(Read), images(2, 1, 12), layers="body")
    expected = heatmaps(plain_cnn(), images(2, 1, 12), layers="4")
    assert torch.equal(found.maps["body"], expected.maps["4"])


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.aside, self.idle = plain_cnn(), nn.Conv2d(1, 2, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        self.aside(x)
        logits: Tensor = self.body(x)
        return logits


def test_layers_that_the_logits_do_not_depend_on_are_refused() -> None:
    network, x = seeded(Branches), images(2, 1, 12)
    for layers in ("aside", ("aside", "body.4")):
        with pytest.raises(BenchError, match="logits do not depend on layer 'aside'"):
            heatmaps(network, x, layers=layers)
    with pytest.raises(BenchError, match="layer 'idle' does not run"):
        heatmaps(network, x, layers="idle")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("variant", ["bu", "td"])
def test_cuda_gives_what_the_cpu_gives(variant: str, method: str) -> None:
    # In float64: in float32 a value within rounding of a ReLU's edge changes a gradient.
    network, x = wrapped(paper("nin_light", variant)).double(), images(8, 1, 28).double()
    expected = heatmaps(network, x, method=method, layers="all")
    network, x = network.cuda(), x.cuda()
    state_before = torch.cuda.get_rng_state()
    heatmaps(network, x, method=method, layers="act_1")
    # From here on whatever waits for the device raises an error.
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = heatmaps(network, x, method=method, layers=tuple(expected.maps))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(torch.cuda.get_rng_state(), state_before)
    for layer, heat in expected.maps.items():
        assert found.maps[layer].is_cuda
        np.testing.assert_allclose(found.maps[layer].cpu(), heat, atol=1e-4)
        assert found.undefined[layer].cpu().tolist() == expected.undefined[layer].tolist()
