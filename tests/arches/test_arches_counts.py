"""Parameter, layer and BN counts of the paper's Table 1 and of the authors' networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import arches

TRAINABLE = {
    ("lenet_fc", 1): (7_670, 14_452, 23_486, 57_846),
    ("lenet_fc", 3): (7_970, 16_128, 25_374, 60_354),
    ("nin_light", 1): (62_094, 212_670, 214_734, 214_206),
    ("nin_light", 3): (64_494, 218_334, 220_398, 219_870),
    ("resnet32", 3): (467_946, 528_042, 319_626, 563_274),
    ("resnet32", 1): (467_658, 526_026, 317_898, 561_258),
    ("nin", 3): (969_822, 3_368_478, 3_397_470, 3_388_446),
    ("nin", 1): (960_222, 3_345_822, 3_374_814, 3_365_790),
    ("resnet18_half", 3): (2_799_114, 4_966_538),
}
WITH_STATISTICS = {
    ("lenet_fc", 1): (7_798, 14_712, 23_730, 58_262),
    ("nin_light", 1): (62_818, 213_778, 215_906, 215_410),
    ("resnet32", 3): (470_218, 530_602, 321_866, 565_930),
    ("nin", 3): (972_658, 3_372_850, 3_402_098, 3_393_202),
    ("resnet18_half", 3): (2_803_018, 4_972_810),
}
CONVOLUTIONS = {
    "lenet_fc": (4, 10, 8, 10),
    "nin_light": (9, 13, 13, 14),
    "nin": (9, 13, 13, 14),
    "resnet32": (33, 37, 35, 37),
    "resnet18_half": (20, 28),
}
NORMS = {
    "lenet_fc": (4, 10, 8, 10),
    "nin_light": (9, 13, 13, 14),
    "nin": (9, 13, 13, 14),
    "resnet32": (31, 33, 33, 33),
    "resnet18_half": (17, 21),
}


def cells(table: dict[tuple[str, int], tuple[int, ...]]) -> list[tuple[str, str, int, int]]:
    return [
        (name, variant, in_chans, count)
        for (name, in_chans), counts in table.items()
        for variant, count in zip(arches.VARIANTS, counts, strict=False)
    ]


def on_meta(name: str, variant: str, in_chans: int = 3) -> arches.Network:
    with torch.device("meta"):
        return arches.create(name, variant, in_chans=in_chans)


@pytest.mark.parametrize(("name", "variant", "in_chans", "count"), cells(TRAINABLE))
def test_trainable(name: str, variant: str, in_chans: int, count: int) -> None:
    model = on_meta(name, variant, in_chans)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count


@pytest.mark.parametrize(("name", "variant", "in_chans", "count"), cells(WITH_STATISTICS))
def test_with_moving_statistics(name: str, variant: str, in_chans: int, count: int) -> None:
    model = on_meta(name, variant, in_chans)
    tensors = [*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())]
    assert sum(tensor.numel() for tensor in tensors) == count


@pytest.mark.parametrize("name", list(CONVOLUTIONS))
def test_layers(name: str) -> None:
    for variant, convs, norms in zip(
        arches.VARIANTS, CONVOLUTIONS[name], NORMS[name], strict=False
    ):
        parts = list(on_meta(name, variant).modules())
        assert sum(isinstance(part, nn.Conv2d) for part in parts) == convs
        assert sum(isinstance(part, nn.BatchNorm2d) for part in parts) == norms
        dense = sum(isinstance(part, nn.Linear) for part in parts)
        assert dense == (1 if name.startswith("resnet") else 0)
        assert all(part.bias is not None for part in parts if isinstance(part, nn.Conv2d))


@pytest.mark.parametrize("name", list(CONVOLUTIONS))
def test_norm_constants(name: str) -> None:
    for variant in arches.VARIANTS:
        norms = [
            part for part in on_meta(name, variant).modules() if type(part).__name__ == "NormReLU"
        ]
        constants = [(norm.momentum, norm.eps) for norm in norms]
        if not name.startswith("resnet"):
            assert set(constants) == {(0.01, 1e-3)}
        elif name == "resnet18_half" and variant != "bu":
            assert constants.count((0.01, 1e-3)) == 1
            assert constants.count((0.1, 1e-5)) == len(constants) - 1
        else:
            assert set(constants) == {(0.1, 1e-5)}
