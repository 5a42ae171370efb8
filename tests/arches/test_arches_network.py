"""What every network offers: scales, feature maps, options, errors, and torch's own machinery."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

import arches
from arches.declaration import Backbone, Layer, Norm, Pool, Stage

ALL = [(name, variant) for name in arches.BACKBONES for variant in arches.VARIANTS]
LIGHT = [cell for cell in ALL if cell[0] not in {"nin", "resnet18_half"}]


def build(name: str, variant: str, **options: object) -> arches.Network:
    torch.manual_seed(0)
    return arches.create(name, variant, **options).eval()


def images(side: int = 32, count: int = 2) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_same_image_at_all_scales_is_forward(name: str, variant: str) -> None:
    model = build(name, variant)
    x = images()
    with torch.no_grad():
        expected = model(x)
        by_name = model.forward_scales({scale: x.clone() for scale in model.scale_names})
        by_place = model.forward_scales({place: x.clone() for place in range(len(model.scales))})
    assert expected.shape == (2, 10)
    assert expected.isfinite().all()
    assert (by_name - expected).abs().max() <= 1e-6
    assert (by_place - expected).abs().max() <= 1e-6


@pytest.mark.parametrize("variant", ["td", "td_uni", "td_rev"])
def test_each_scale_matters_and_goes_its_own_way(variant: str) -> None:
    model = build("nin_light", variant)
    assert (model.scales, model.scale_names) == ((1, 2, 4), ("high", "medium", "low"))
    x, other = images(), images().flip(0)
    with torch.no_grad():
        clean = model(x)
        for scale in model.scale_names:
            mixed = {name: other if name == scale else x for name in model.scale_names}
            assert (model.forward_scales(mixed) - clean).abs().max() > 1e-5


def test_scales_are_named_by_factor_where_there_are_many() -> None:
    model = build("resnet18_half", "td")
    assert model.scales == (1, 2, 4, 8, 16)
    assert model.scale_names == ("scale1", "scale2", "scale4", "scale8", "scale16")
    assert build("resnet18_half", "bu").scales == (1,)


def test_wrong_scales_are_refused() -> None:
    model, x = build("lenet_fc", "td"), images()
    with pytest.raises(ValueError, match="no image for medium, low"):
        model.forward_scales({"high": x})
    with pytest.raises(ValueError, match="unknown or repeated scale 'mid'"):
        model.forward_scales({"high": x, "mid": x, "low": x})
    with pytest.raises(ValueError, match="repeated"):
        model.forward_scales({"high": x, 0: x, "medium": x, "low": x})
    with pytest.raises(ValueError, match="one full-resolution shape"):
        model.forward_scales([x, x[..., ::2, ::2], x])


FEATURES = {
    ("lenet_fc", "bu"): [(6, 28), (16, 14), (32, 7), (10, 7)],
    ("nin_light", "bu"): [(24, 28), (48, 14), (48, 7), (10, 7)],
    ("nin_light", "td"): [(48, 7), (48, 14), (24, 28), (10, 28)],
    ("resnet18_half", "bu"): [(32, 64), (32, 64), (64, 32), (128, 16), (256, 8)],
    ("resnet18_half", "td"): [(256, 16), (256, 16), (128, 32), (64, 64), (32, 128)],
}


@pytest.mark.parametrize(("name", "variant"), list(FEATURES))
def test_feature_maps(name: str, variant: str) -> None:
    side = 128 if name == "resnet18_half" else 28
    model = build(name, variant)
    x = images(side, count=1)
    found = model.forward_features(x)
    assert [(m.shape[1], m.shape[2]) for m in (found[n] for n in model.feature_names)] == (
        FEATURES[name, variant]
    )
    assert list(found) == [*model.feature_names, "logits"]
    assert all((found[name] >= 0).all() for name in model.feature_names), "maps follow a ReLU"
    assert torch.equal(found["logits"], model(x))
    gradients = torch.autograd.grad(
        found["logits"].softmax(1).max(1).values.sum(), [found[n] for n in model.feature_names]
    )
    assert all(
        gradient.shape == found[n].shape for gradient, n in zip(gradients, found, strict=False)
    )
    assert not any(m._forward_hooks for m in model.modules()), "nothing stays hooked"


@pytest.mark.parametrize(("name", "variant"), LIGHT)
def test_gradients_reach_the_image_and_every_weight(name: str, variant: str) -> None:
    model = build(name, variant).train()
    x = images(30).requires_grad_()
    nn.functional.cross_entropy(model(x), torch.tensor([1, 2])).backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("variant", list(arches.VARIANTS))
@pytest.mark.parametrize("size", [(28, 28), (29, 35), (4, 4), (64, 33)])
def test_any_size_works(variant: str, size: tuple[int, int]) -> None:
    for name in ("lenet_fc", "resnet32"):
        model = build(name, variant)
        assert model(torch.rand(2, 3, *size)).shape == (2, 10)


def test_wrong_images_are_refused() -> None:
    model = build("resnet18_half", "td")
    with pytest.raises(ValueError, match="no side may be shorter than 16"):
        model(torch.rand(1, 3, 15, 64))
    with pytest.raises(ValueError, match="N x 3 x H x W"):
        model(torch.rand(1, 1, 32, 32))
    with pytest.raises(ValueError, match="N x 3 x H x W"):
        model(torch.rand(3, 32, 32))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (
            ("nin_lite",),
            {},
            "Did you mean 'nin_light'.*lenet_fc, nin_light, nin, resnet32, resnet1",
        ),
        (("nin", "td_univ"), {}, "Did you mean 'td_uni'.*bu, td, td_uni, td_rev"),
        (("nin",), {"in_chans": 0}, "in_chans must be a whole number of at least 1"),
        (("nin",), {"num_classes": True}, "num_classes must be a whole number"),
        (("nin", "td_uni"), {"width": 0}, "width must be a whole number"),
        (("nin", "td"), {"downsampling": "tff"}, "Did you mean 'tf'.*gaussian, noblur, pool, ant"),
        (("nin", "td"), {"upsampling": "cubic"}, "nearest, bilinear"),
        (("nin", "td"), {"merge": "sum"}, "concat, add"),
        (("nin", "td"), {"dropout": 1}, "dropout must be a number in"),
        (("nin", "td"), {"bn_momentum": 0}, "bn_momentum must be a number in"),
        (("nin", "td"), {"bn_eps": 0}, "bn_eps must be a number above 0"),
        (("nin", "td"), {"bn_eps": "1e-3"}, "bn_eps must be a number above 0, not '1e-3'"),
        ((["nin"],), {}, "unknown backbone"),
        (("nin", "td"), {"bn_momentm": 0.1}, "unknown option.*Did you mean 'bn_momentum'"),
    ],
)
def test_wrong_arguments_name_the_choices(
    arguments: tuple[str, ...], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}"):
        arches.create(*arguments, **options)


@pytest.mark.parametrize("downsampling", ["gaussian", "noblur", "pool", "antialias"])
@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
@pytest.mark.parametrize("merge", ["concat", "add"])
def test_options_change_the_outcome(downsampling: str, upsampling: str, merge: str) -> None:
    x = images()
    for name in ("lenet_fc", "resnet32"):
        default = build(name, "td")
        model = build(name, "td", downsampling=downsampling, upsampling=upsampling, merge=merge)
        if merge == "concat":
            model.load_state_dict(default.state_dict())
        assert (model(x) - default(x)).abs().max() > 1e-6


def test_add_only_merge_has_no_fusing_convolution() -> None:
    names = set(arches.keras_weights(build("lenet_fc", "td", merge="add")))
    assert {name.split("/")[0] for name in names if name.startswith("m")} == {
        "m2.proj",
        "m2.proj.bn",
        "m1.proj",
        "m1.proj.bn",
    }
    block = arches.keras_weights(build("resnet32", "td", merge="add"))
    assert not any("fuse" in name for name in block)
    assert build("resnet18_half", "td", merge="add")(images()).shape == (2, 10)


def test_options_of_norm_dropout_and_width() -> None:
    model = build("resnet18_half", "td", bn_momentum=0.2, bn_eps=1e-4)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    assert {(norm.momentum, norm.eps) for norm in norms} == {(0.2, 1e-4)}

    def drops(**options: float) -> list[float]:
        found = build("nin_light", "td", **options).modules()
        return [part.p for part in found if isinstance(part, nn.Dropout)]

    assert (drops(), drops(dropout=0.1), drops(dropout=0.0)) == ([0.5, 0.5], [0.1, 0.1], [])
    assert build("lenet_fc", "td_uni", width=9).feature_modules()["act_3"](
        torch.rand(1, 9, 14, 14), torch.rand(1, 3, 28, 28)
    ).shape == (1, 9, 28, 28)
    same = build("lenet_fc", "bu", downsampling="pool", width=9, merge="add")
    assert same.state_dict().keys() == build("lenet_fc", "bu").state_dict().keys()


@pytest.mark.parametrize(("variant", "before"), [("td", "merge.fuse"), ("bu", "pool")])
def test_dropout_sits_right_after_fuse_or_pool(variant: str, before: str) -> None:
    model = build("nin_light", variant).train()
    outputs: dict[str, Tensor] = {}
    inputs: dict[str, Tensor] = {}
    for path, module in model.named_modules():
        module.register_forward_hook(
            lambda _m, args, out, path=path: (
                outputs.update({path: out}),
                inputs.update({path: args[0]}),
                None,
            )[2]
        )
    model(images())
    for place in ("positions.1", "positions.2"):
        assert inputs[f"{place}.dropout"] is outputs[f"{place}.{before}"]
        assert inputs[f"{place}.layers"] is outputs[f"{place}.dropout"]
        kept = outputs[f"{place}.dropout"][outputs[f"{place}.dropout"] > 0]
        assert torch.isin(kept, 2 * inputs[f"{place}.dropout"]).all(), "inverted dropout"
    assert model.positions[0].dropout is None


def test_kernels_without_weight_decay() -> None:
    def names(name: str, variant: str) -> set[str]:
        model = build(name, variant)
        marked = model.no_weight_decay()
        assert marked <= set(dict(model.named_parameters()))
        return marked

    stems = {f"positions.{place}.stem.conv.weight" for place in range(3)}
    assert all(names("lenet_fc", variant) == stems for variant in ("td", "td_uni", "td_rev"))
    assert names("nin", "bu") == {"head.score.conv.weight"}
    others = [c for c in ALL if c != ("nin", "bu") and (c[0] != "lenet_fc" or c[1] == "bu")]
    assert not any(names(*cell) for cell in others if cell[0] != "resnet18_half")


def test_initial_weights() -> None:
    plain = build("nin", "td").state_dict()["positions.2.layers.0.conv.weight"]
    limit = math.sqrt(6 / (25 * 192 + 25 * 192))
    assert plain.abs().max() <= limit
    assert plain.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.01)
    model = build("resnet18_half", "bu")
    kernel = model.positions[4].layers[1].conv1.weight.detach()
    std = math.sqrt(2 / (9 * 256))
    assert kernel.std().item() == pytest.approx(std, rel=0.01)
    assert kernel.abs().max() <= 2 * std / 0.87962566 + 1e-6
    assert kernel.abs().max() > 1.9 * std / 0.87962566
    assert model.head.dense.weight.std().item() == pytest.approx(math.sqrt(2 / 256), rel=0.05)
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    assert all((bias == 0).all() for bias in biases)


def test_a_seed_fixes_the_weights() -> None:
    first, second = build("lenet_fc", "td"), build("lenet_fc", "td")
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", ["nin", "lenet_fc"])
def test_layouts_and_precisions_agree(name: str) -> None:
    for variant in ("bu", "td"):
        model, x = build(name, variant), images()
        expected = model(x)
        last = copy.deepcopy(model).to(memory_format=torch.channels_last)
        moved = last(x.contiguous(memory_format=torch.channels_last))
        assert torch.allclose(moved, expected, atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.allclose(model(x).float(), expected, atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    "name", ["lenet_fc", pytest.param("resnet18_half", marks=pytest.mark.slow)]
)
def test_copies_and_compiled_networks_agree(name: str) -> None:
    model, x = build(name, "td"), images()
    with torch.no_grad():
        expected = model(x)
        assert torch.equal(copy.deepcopy(model)(x), expected)
        twin = arches.create(name, "td").eval()
        twin.load_state_dict(model.state_dict())
        assert torch.equal(twin(x), expected)
        torch.compiler.reset()
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        assert torch.allclose(compiled(x), expected, atol=1e-6)
        exported = torch.export.export(model, (x,)).module()
        assert torch.allclose(exported(x), expected, atol=1e-6)
        assert torch.equal(model(x), expected), "tracing leaves nothing behind"


def test_networks_work_under_function_transforms() -> None:
    model, x = build("lenet_fc", "td"), images(28)
    x = x.repeat(1, 1, 1, 1)

    def loss(image: Tensor) -> Tensor:
        return model(image[None]).sum()

    one_by_one = torch.stack([torch.func.grad(loss)(image) for image in x])
    together = torch.func.vmap(torch.func.grad(loss))(x)
    assert torch.allclose(one_by_one, together, atol=1e-5)
    assert model(x).isfinite().all()


def test_training_is_the_same_twice() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        gradients = []
        for _ in range(2):
            model = build("nin_light", "td").train()
            torch.manual_seed(1)
            model(images(29)).square().sum().backward()
            gradients.append([parameter.grad for parameter in model.parameters()])
        assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("variant", ["td_uni", "td_rev"])
def test_rule_carries_on_to_networks_that_the_paper_lacks(variant: str) -> None:
    model = build("resnet18_half", variant)
    assert not model.plan.from_paper
    assert build("resnet18_half", "td").plan.from_paper
    widths = [position.stem.width for position in model.plan.positions if position.stem]
    wanted = {"td_uni": [64, 64, 64, 64, 64], "td_rev": [32, 32, 64, 128, 256]}
    assert widths == wanted[variant]
    assert model(images()).shape == (2, 10)


def test_own_declarations_follow_the_rule_too() -> None:
    own = Backbone(
        name="tiny",
        summary="two stages of two convolutions",
        in_chans=1,
        image_size=16,
        stages=(
            Stage(1, (Layer(3, 4), Layer(3, 5))),
            Stage(2, (Layer(3, 8), Layer(3, 8)), pool=Pool(2, 2)),
        ),
        order="post",
        norm=Norm(0.1, 1e-5),
        init="he_normal",
        uniform_width=6,
    )
    for variant in arches.VARIANTS:
        model = arches.create(own, variant, in_chans=1, num_classes=4)
        assert model(torch.rand(2, 1, 16, 16)).shape == (2, 4)
    assert arches.describe(own, "td", in_chans=1).scales == (1, 2)


def test_logits_that_are_means_keep_single_precision_under_autocast() -> None:
    """In bfloat16 most scores of an untrained network would round to the same few numbers."""
    network = arches.create("lenet_fc", "td", in_chans=1).train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.rand(8, 1, 28, 28))
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())
