"""Every measure on both families, without knowing which it has."""

from __future__ import annotations

import pytest
import torch
from families import NAMES, SIDE, network

import arches
from bench.data.dataset import Dataset, Split
from bench.measures import base, efficiency
from bench.measures.base import Context, Measure
from bench.models.network import wrap
from bench.suite.recipe import Recipe

GIVEN: dict[str, dict[str, object]] = {
    "accuracy": {},
    "efficiency": {"batch_size": 2, "seconds": 0.01, "resident": False},
    "corruptions": {"corruptions": ["gaussian_noise"], "severities": [1], "samples": 8},
    "localization": {"foreground": 0.5, "score": "logit"},
    "faithfulness": {"steps": 4},
    "robustness": {"attacks": [{"name": "gaussian_blur", "epsilons": 4}], "samples": 8},
}
BUILT_IN = [name for name, entry in base.REGISTRY.entries.items() if entry.source == "built in"]


def found(measure: Measure, name: str, options: object) -> dict[str, float]:
    """What a measure finds of a network that gets every image right."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (8, 3, SIDE, SIDE), dtype=torch.uint8, generator=random)
    with torch.no_grad():
        split = Split(images, network(name)(images / 255).argmax(1))
    classes = tuple(map(str, range(10)))
    data = Dataset("noise", split, split, classes, (0.0,) * 3, (1.0,) * 3)
    recipe = Recipe.model_validate({"mean": "none", "std": "none"})
    backbone = wrap(network(name), data, recipe).eval()
    result = measure.run(Context(backbone, data, torch.device("cpu"), 0, None, options))
    return dict(result.metrics if isinstance(result, base.Found) else result)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("title", BUILT_IN)
def test_every_measure_finds_its_headlines(title: str, name: str) -> None:
    measure = base.load(title)
    item = measure.items(measure.options.model_validate(GIVEN.get(title, {})))[0]
    metrics = found(measure, name, item.options)
    headlines = {key for key, info in measure.metrics.items() if info.headline}
    assert headlines
    assert headlines <= {key.partition("[")[0] for key in metrics}
    if title == "accuracy":
        assert metrics["top1"] == 100


@pytest.mark.parametrize("name", NAMES)
def test_efficiency_agrees_with_the_description(name: str) -> None:
    options = efficiency.Options(batch_size=4, seconds=0.01, resident=False)
    (item,) = efficiency.items(options)
    metrics = found(efficiency.MEASURE, name, item.options)
    totals = arches.describe(network(name), image_size=SIDE, measured=False).totals
    assert metrics["parameters"] == totals.parameters
    assert metrics["flops"] == totals.flops
    estimate = arches.estimate(network(name), SIDE)
    assert estimate.flops == totals.flops
    assert estimate.saved_bytes == totals.activation_bytes
