"""Results as a real run would give them, drawn from a fixed seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leaderboard import Failure, MetricInfo, Missing, Results, Row, Sample

ATTACKS = (
    "single_pixel", "salt_and_pepper", "pointwise", "additive_gaussian", "additive_uniform",
    "blended_uniform", "gaussian_blur", "contrast_reduction", "spatial", "shifts",
)  # fmt: skip
PARAMETERS = {"bu": 7_670, "td": 14_452, "td_uni": 23_486, "td_rev": 57_846}


def metrics(attacks: Sequence[str] = ATTACKS[:2]) -> dict[tuple[str, str], MetricInfo]:
    return {
        ("accuracy", "top1"): MetricInfo("Top-1", "%", "higher", 2, True),
        **{
            (f"robustness/{attack}", "median_l2"): MetricInfo("median L2", "", "higher", 2, True)
            for attack in attacks
        },
        ("efficiency", "parameters"): MetricInfo("Parameters", "", "lower", 1, True, "si"),
        ("efficiency", "flops"): MetricInfo("FLOPs", "", "lower", 1, True, "si"),
        ("efficiency", "throughput"): MetricInfo("Speed", "images/s", "higher", 1, True, "si"),
        ("efficiency", "peak_memory"): MetricInfo("Memory", "B", "lower", 1, True, "bytes"),
        ("accuracy", "top1_class_0"): MetricInfo("Class 0", "%", "higher"),
    }


def distances(
    rng: np.random.Generator, size: int, scale: float, accuracy: float, fooled: float
) -> np.ndarray:
    l2 = scale * rng.lognormal(0, 0.6, size)
    draw = rng.random(size)
    l2[draw > accuracy * fooled] = np.inf
    l2[rng.permutation(size)[: int(size * (1 - accuracy))]] = 0.0
    return l2


def results(
    datasets: Sequence[str] = ("fashion-mnist-mini",),
    backbones: Sequence[str] = ("lenet_fc",),
    variants: Sequence[str] = ("bu", "td"),
    attacks: Sequence[str] = ATTACKS[:2],
    seeds: Sequence[int] = (0, 1),
    images: int = 200,
) -> Results:
    rng = np.random.default_rng(7)
    rows: list[Row] = []
    samples: list[Sample] = []
    for dataset in datasets:
        for b, backbone in enumerate(backbones):
            for v, variant in enumerate(variants):
                for seed in seeds:
                    name = (dataset, backbone, variant, seed)
                    top1 = 88.0 + b - 0.8 * v + rng.normal(0, 0.4)
                    rows.append(Row(*name, "accuracy", "top1", top1, "%"))
                    rows.append(Row(*name, "accuracy", "top1_class_0", top1 - 5, "%"))
                    for a, attack in enumerate(attacks):
                        scale = (0.6 + 0.4 * a) * (1 + 0.35 * v) * (1 + 0.5 * b)
                        share = 0.35 if attack == "single_pixel" else 0.97
                        l2 = distances(rng, images, scale, top1 / 100, share)
                        samples.append(Sample(*name, attack, l2))
                        right = l2[l2 > 0]
                        median = float(np.sort(right)[len(right) // 2])
                        rows.append(Row(*name, f"robustness/{attack}", "median_l2", median, ""))
                    parameters = PARAMETERS.get(variant, 1_000_000) * (1 + 9 * b)
                    speed = 52_000 / (1 + v) + rng.normal(0, 400)
                    cost = ("parameters", parameters), ("flops", 90 * parameters)
                    for metric, value in (*cost, ("throughput", speed), ("peak_memory", 12.9e6)):
                        rows.append(Row(*name, "efficiency", metric, float(value), ""))
    return Results(
        title="quickstart",
        rows=tuple(rows),
        metrics=metrics(attacks),
        samples=tuple(samples),
        provenance={
            "command": "python -m bench run quickstart --out runs/quickstart",
            "date": "2026-03-02 10:15 UTC",
            "hardware": "Example CPU @ 2.10 GHz, 2 cores, 8 GiB",
            "versions": "python 3.11.9\ntorch 2.6.0\nnumpy 2.1.0",
        },
    )


def failure(
    results: Results, measure: str, error: str, variant: str = "td", seed: int = 0
) -> Failure:
    row = results.rows[0]
    cell = f"{row.dataset}/{row.backbone}/{variant}/seed{seed}/{measure}"
    return Failure(cell, row.dataset, row.backbone, variant, seed, measure, error)


def missing(
    measure: str,
    seed: int = 0,
    dataset: str = "fashion-mnist-mini",
    backbone: str = "lenet_fc",
    variant: str = "bu",
) -> Missing:
    name = f"{dataset}/{backbone}/{variant}/seed{seed}/{measure}"
    return Missing(name, dataset, backbone, variant, seed, measure)
