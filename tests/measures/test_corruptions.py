"""The measure of corruptions: which images it asks about, and how errors are summed up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from measure_parts import context
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.corruptions.base import NAMES, corrupt
from bench.data.dataset import Dataset, Split
from bench.data.subset import balanced_subset
from bench.errors import BenchError
from bench.measures import base, corruptions
from bench.measures.base import Found
from bench.measures.corruptions import Options
from bench.plan.check import read_suite
from bench.suite.yaml_tree import SuiteError

FEW = {"corruptions": ["fog", "gaussian_noise", "contrast"], "severities": [1, 4]}


def textures(count: int, channels: int = 1, side: int = 28, labelled: bool = True) -> Dataset:
    """Noise of growing contrast; the class says whether it is above the middle."""
    random = torch.Generator().manual_seed(count)
    noise = torch.rand(count, channels, side, side, generator=random) - 0.5
    scale = torch.linspace(0.05, 1, count)[torch.randperm(count, generator=random)]
    images = (255 * (0.5 + noise * scale[:, None, None, None])).round().to(torch.uint8)
    labels = (scale > 0.5).long()
    train = Split(images[:2], labels[:2])
    test = Split(images, labels if labelled else None)
    return Dataset(
        "textures", train, test, ("faint", "strong"), (0.0,) * channels, (1.0,) * channels
    )


class Contrast(nn.Module):
    """Class 1 where the pixels deviate by more than 0.12; an image's answer is its own."""

    def __init__(self, largest: int = 10**9) -> None:
        super().__init__()
        self.largest = largest
        self.asked: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.asked.append(len(images))
        if len(images) > self.largest:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate ...")
        spread = torch.stack([image.double().std() for image in images])
        return torch.stack([torch.full_like(spread, 0.12), spread], 1)


class Kept(base.Parts):
    """Parts in memory; the session ends after so many."""

    def __init__(self, most: int = 10**9) -> None:
        self.parts: dict[str, Mapping[str, NDArray[Any]]] = {}
        self.most = most

    def get(self, name: str) -> Mapping[str, NDArray[Any]] | None:
        return self.parts.get(name)

    def put(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        if len(self.parts) == self.most:
            raise KeyboardInterrupt
        self.parts[name] = arrays


def measured(
    dataset: Dataset,
    network: nn.Module | None = None,
    more: dict[str, Any] | None = None,
    **given: Any,
) -> Found:
    (item,) = corruptions.items(Options.model_validate({"samples": 0, **FEW, **given}))
    found = base.load("corruptions").run(
        context(dataset, network or Contrast(), item.options, **(more or {}))
    )
    assert isinstance(found, Found)
    return found


def test_every_error_is_the_share_of_wrong_answers() -> None:
    dataset = textures(30)
    found = measured(dataset, corruption_seed=11)
    images, labels = dataset.test.images.float() / 255, dataset.test.labels
    assert labels is not None
    network = Contrast()
    expected: dict[str, float] = {}
    for column, name in enumerate(("gaussian_noise", "fog", "contrast")):  # the paper's order
        errors = []
        for row, severity in enumerate((1, 4)):
            changed = corrupt(images, name, severity, range(30), seed=11)
            right = network(changed).argmax(1) == labels
            np.testing.assert_array_equal(found.arrays["correct"][:, column, row], right.numpy())
            errors.append(100 * (1 - float(right.double().mean())))
            expected[f"error[{name}/{severity}]"] = errors[-1]
        expected[f"error[{name}]"] = sum(errors) / 2
    expected["corruption_error"] = sum(expected[k] for k in expected if "/" in k) / 6
    clean = (network(images).argmax(1) == labels).double().mean()
    expected["clean_error"] = 100 * (1 - float(clean))
    assert found.metrics == pytest.approx(expected)
    assert 0 < expected["clean_error"] < expected["corruption_error"] < 100
    assert len({round(value) for value in expected.values()}) > 4
    assert found.arrays["correct"].shape == (30, 3, 2)
    assert found.arrays["correct"].dtype == np.bool_
    assert found.arrays["index"].tolist() == list(range(30))
    declared = {name.partition("[")[0] for name in found.metrics}
    assert declared == set(corruptions.METRICS)


def test_all_fifteen_at_all_severities_by_default() -> None:
    options = Options()
    assert (options.corruptions, options.severities) == (NAMES, (1, 2, 3, 4, 5))
    found = measured(textures(3, 3, 32), corruptions=list(NAMES), severities=[1, 2, 3, 4, 5])
    assert found.arrays["correct"].shape == (3, 15, 5)
    assert len(found.metrics) == 2 + 15 * 6


def test_the_subset_is_corrupted_under_its_own_numbers() -> None:
    """An image's noise follows its number in the test set, not its place in the subset."""
    dataset = textures(40)
    whole = measured(dataset)
    part = measured(dataset, samples=10, subset_seed=4)
    index = part.arrays["index"]
    assert dataset.test.labels is not None
    assert index.tolist() == balanced_subset(dataset.test.labels.numpy(), 10, 4).tolist()
    np.testing.assert_array_equal(part.arrays["correct"], whole.arrays["correct"][index])


def test_the_networks_seed_does_not_matter_but_that_of_the_corruptions_does() -> None:
    dataset = textures(40)
    one, other = (measured(dataset, more={"seed": seed}) for seed in (0, 1))
    np.testing.assert_array_equal(one.arrays["correct"], other.arrays["correct"])
    third = measured(dataset, corruption_seed=1)
    assert (one.arrays["correct"] != third.arrays["correct"]).any()


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_the_batch_size_shows_nowhere(batch_size: int) -> None:
    dataset = textures(20)
    expected, found = measured(dataset), measured(dataset, batch_size=batch_size)
    np.testing.assert_array_equal(found.arrays["correct"], expected.arrays["correct"])
    assert found.metrics == expected.metrics


def test_a_batch_that_does_not_fit_is_halved_once_for_all() -> None:
    dataset, network = textures(20), Contrast(largest=6)
    found = measured(dataset, network, batch_size=16)
    assert found.metrics == measured(dataset).metrics
    assert network.asked[:3] == [16, 8, 4]
    assert set(network.asked[3:]) == {4}
    with pytest.raises(RuntimeError, match="not enough memory"):
        measured(textures(4), Contrast(largest=0), batch_size=2)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("no such layer")

    with pytest.raises(RuntimeError, match="no such layer"):
        measured(textures(4), Broken())


def test_an_interrupted_cell_carries_on() -> None:
    dataset, kept = textures(10), Kept(most=2)
    with pytest.raises(KeyboardInterrupt):
        measured(dataset, more={"parts": kept})
    assert list(kept.parts) == ["gaussian_noise", "fog"]
    kept.most = 3
    network, shares = Contrast(), []
    found = measured(dataset, network, more={"parts": kept, "progress": shares.append})
    assert network.asked == [10] * 3, "the clean images, and two severities of contrast"
    np.testing.assert_array_equal(found.arrays["correct"], measured(dataset).arrays["correct"])
    assert shares == pytest.approx([1 / 3, 2 / 3, 1])


def test_what_cannot_be_measured() -> None:
    with pytest.raises(BenchError, match="textures: has no test labels"):
        measured(textures(4, labelled=False))
    with pytest.raises(BenchError, match="at least 28 x 28 pixels, not 20 x 20"):
        measured(textures(4, side=20))
    with pytest.raises(BenchError, match="1 or 3 channels"):
        measured(textures(4, channels=2))


@pytest.mark.parametrize(
    ("channels", "side", "said"),
    [(1, 8, "at least 28 x 28 pixels, not 8 x 8"), (2, 32, "1 or 3 channels"), (3, 28, "")],
)
def test_images_that_corruptions_do_not_take_are_told_before_training(
    channels: int, side: int, said: str
) -> None:
    found = corruptions.MEASURE.refusal(Options(), textures(4, channels, side))
    assert found.startswith("textures: ") == bool(said)
    assert said in found


def test_the_identity_has_what_changes_the_result_and_nothing_else() -> None:
    def key(**given: Any) -> Mapping[str, Any]:
        (item,) = corruptions.items(Options.model_validate(given))
        assert item.label is None
        return item.key

    assert key() == key(batch_size=3)
    assert key(**FEW) == key(corruptions=["contrast", "gaussian_noise", "fog"], severities=[4, 1])
    keys = [
        key(),
        key(**FEW),
        key(samples=5),
        key(subset_seed=1),
        key(corruption_seed=1),
        key(severities=[1]),
    ]
    assert all(keys.count(each) == 1 for each in keys)


def test_the_cost_and_the_note_say_what_is_done() -> None:
    measure = base.load("corruptions")
    options = Options.model_validate({**FEW, "samples": 50})
    assert measure.forwards(options, 1000) == 50 * 7
    assert measure.forwards(options, 20) == 20 * 7
    note = measure.note(options)
    assert "3 of the 15" in note
    assert "severities 1, 4" in note
    assert "for every network the same 50 class-balanced test images" in note
    assert "frost" not in note
    everything = measure.note(Options(samples=0, severities=(5,)))
    assert "the frost is drawn" in everything
    assert "at severity 5, for every network all test images (seed 0)" in everything


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{corruptions: [fog, snwo]}", "unknown corruption 'snwo'; did you mean 'snow'?"),
        ("{corruptions: [fog, fog]}", "'fog' is there twice"),
        ("{corruptions: []}", "is empty; name at least one"),
        ("{corruptions: [3]}", "must be text, not 3"),
        ("{severities: [1, 6]}", "must be at most 5, not 6"),
        ("{severities: [0]}", "must be at least 1, not 0"),
        ("{severities: [true]}", "must be a whole number, not true"),
        ("{severity: [1]}", "unknown key 'severity'; did you mean 'severities'?"),
        ("{batch_size: 0}", "must be at least 1, not 0"),
    ],
)
def test_mistakes_are_told_when_the_suite_is_read(
    tiny: Callable[..., Path], options: str, message: str
) -> None:
    suite = tiny(("  - accuracy", f"  - corruptions: {options}"))
    with pytest.raises(SuiteError) as caught:
        read_suite(str(suite))
    (problem,) = str(caught.value).splitlines()
    assert message in problem
    assert "suite.yaml:8" in problem
