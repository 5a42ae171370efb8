"""Robustness: what counts as fooled, at which distance, and how it is summed up."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from measure_parts import Bright, Moody, Overflowing, attacked, context, first_pixels, tasks
from torch import nn

import arches
from bench.attacks.base import load
from bench.attacks.source import KeyedSource
from bench.data.embedded import fashion_mnist_mini
from bench.data.subset import balanced_subset
from bench.errors import BenchError
from bench.measures import base, robustness

# Three dark images (two of them called dark), three bright ones (one of them called dark).
VALUES, LABELS = [0, 51, 102, 255, 204, 153], [0, 0, 1, 1, 1, 0]
PIXELS = first_pixels(VALUES, LABELS)


def test_misclassified_found_and_not_found() -> None:
    found = attacked(PIXELS, Bright(), "measure_parts:to_white", repeats=1)
    inf = math.inf
    expected = [1.0, 0.8, 0.0, inf, inf, 0.0]
    assert found.arrays["l2"].tolist() == pytest.approx(expected, rel=1e-6)
    assert found.arrays["prediction"].tolist() == [0, 0, 0, 1, 1, 1]
    assert found.arrays["index"].tolist() == [0, 1, 2, 3, 4, 5]
    assert found.arrays["evaluations"].tolist() == [2, 2, 1, 2, 2, 1]
    # The first pixel is all that was changed.
    assert found.arrays["linf"].tolist() == pytest.approx(expected, rel=1e-6)
    assert found.arrays["l0"].tolist() == [1, 1, 0, inf, inf, 0]
    assert found.arrays["repeat"].tolist() == [0, 0, -1, -1, -1, -1]
    expected_metrics = {
        "median_l2": 1.0,  # the lower median of 0.8, 1, inf, inf
        "success_rate": 50.0,
        "clean_top1": 400 / 6,
        "evaluations": 10 / 6,
        "lost_on_recheck": 0.0,
        "repeats": 1.0,
        "identical_repeats": 0.0,
        "attack_batch": 4.0,
    }
    assert {name: found.metrics[name] for name in expected_metrics} == pytest.approx(
        expected_metrics
    )


def test_a_median_that_is_infinite_stays_so() -> None:
    found = attacked(first_pixels([0, 255, 255], [0, 1, 1]), Bright(), "measure_parts:to_white")
    assert found.metrics["median_l2"] == math.inf
    assert found.metrics["success_rate"] == pytest.approx(100 / 3)


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("repeats", [1, 2, 4])
def test_the_best_of_the_repeats_counts(seed: int, repeats: int) -> None:
    name = "measure_parts:to_random"
    found = attacked(PIXELS, Bright(), name, seed, repeats=repeats)
    clean = np.array(VALUES) / 255
    rows = torch.arange(6)
    drawn = np.stack(
        [KeyedSource(seed, name, r, range(6)).uniform(rows, 0, ()).numpy() for r in range(repeats)]
    )
    distance = np.where((drawn > 0.5) != (clean > 0.5), np.abs(drawn - clean), np.inf)
    expected = np.where((clean > 0.5) == np.array(LABELS), distance.min(0), 0.0)
    assert found.arrays["l2"].tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    right = (clean > 0.5) == np.array(LABELS)
    assert found.arrays["evaluations"].tolist() == [1 + repeats * int(hit) for hit in right]


def test_what_does_not_fool_again_is_lost_and_counted() -> None:
    """Four images are attacked at once and checked again three and one: that answers differ."""
    dataset = first_pixels([0, 51, 255, 204], [0, 0, 1, 1])
    sound = attacked(dataset, Bright(), "measure_parts:to_white", repeats=2)
    assert sound.metrics["lost_on_recheck"] == 0
    moody = attacked(dataset, Moody(3), "measure_parts:to_white", repeats=2)
    assert np.isfinite(sound.arrays["l2"]).tolist() == [True, True, False, False]
    # The two that became white are answered "dark" again, in both repeats.
    assert moody.metrics["lost_on_recheck"] == 4
    assert np.isinf(moody.arrays["l2"]).all()
    assert moody.metrics["success_rate"] == 0


@pytest.mark.parametrize(("count", "sizes"), [(2, (2,)), (65, (33, 32)), (127, (64, 63))])
def test_the_check_is_in_batches_of_other_sizes(count: int, sizes: tuple[int, ...]) -> None:
    """Else a network whose answers depend on the batch would look easier to fool than it is."""
    # Misclassified ones, so that clean images are not asked about in these sizes.
    wrong = 1 if count == 2 else 5
    dataset = first_pixels([0] * (count + wrong), [0] * count + [1] * wrong)
    found = attacked(dataset, Moody(*sizes), "measure_parts:claims", repeats=1)
    assert found.metrics["clean_top1"] == pytest.approx(100 * count / (count + wrong))
    assert found.metrics["lost_on_recheck"] == count
    assert found.metrics["success_rate"] == 0


def test_claims_are_checked() -> None:
    found = attacked(PIXELS, Bright(), "measure_parts:claims", repeats=1)
    assert np.isfinite(found.arrays["l2"]).tolist() == [False, False, True, False, False, True]
    assert found.metrics["lost_on_recheck"] == 4


def test_an_image_that_was_left_alone_is_never_fooled() -> None:
    """Even where the same image gets another answer in a batch of another size."""
    dataset = first_pixels([0, 51, 255, 204], [0, 0, 1, 1])
    found = attacked(dataset, Moody(3, 1), "measure_parts:returns_the_images")
    assert np.isinf(found.arrays["l2"]).all()
    assert found.metrics["success_rate"] == 0
    assert found.metrics["lost_on_recheck"] == 0


def test_candidates_outside_the_bounds_are_cut_before_they_count() -> None:
    found = attacked(PIXELS, Bright(), "measure_parts:oversteps", repeats=1)
    expected = attacked(PIXELS, Bright(), "measure_parts:to_white", repeats=1)
    np.testing.assert_array_equal(found.arrays["l2"], expected.arrays["l2"])


@pytest.mark.parametrize("name", ["measure_parts:breaks", "measure_parts:offers_nan"])
def test_nan_is_no_perturbation(name: str) -> None:
    """Nor does a network look robust without a word because an attack divides by zero."""
    with pytest.warns(UserWarning, match=f"'{name}' returned NaN for 4 of 4 images"):
        found = attacked(PIXELS, Bright(), name, repeats=1)
    assert found.arrays["l2"].tolist() == [math.inf, math.inf, 0, math.inf, math.inf, 0]
    assert found.metrics["lost_on_recheck"] == 4


def test_what_is_offered_after_nan_counts() -> None:
    found = attacked(PIXELS, Bright(), "measure_parts:offers_nan_and_white", repeats=1)
    expected = attacked(PIXELS, Bright(), "measure_parts:to_white", repeats=1)
    np.testing.assert_array_equal(found.arrays["l2"][:2], expected.arrays["l2"][:2])
    assert found.metrics["lost_on_recheck"] == 2


def test_nan_logits_are_wrong_answers() -> None:
    """Clean or perturbed, of whatever class; white gives NaN, and so fools all."""
    dataset = first_pixels([0, 51, 255, 204], [0, 0, 1, 1])
    with pytest.warns(UserWarning, match="gives NaN for 2 of 4"):
        found = attacked(dataset, Overflowing(), "measure_parts:to_white", repeats=1)
    assert found.arrays["prediction"].tolist() == [-1, 0, -1, 1]
    assert found.arrays["l2"].tolist() == pytest.approx([0, 0.8, 0, 0.2])
    assert found.metrics["clean_top1"] == 50
    black = attacked(dataset, Overflowing(), "measure_parts:to_black", repeats=1)
    assert black.arrays["l2"].tolist() == pytest.approx([0, 0.2, 0, 0.8])
    assert black.metrics["randomised"] == 0, "it is NaN every time"


@pytest.mark.parametrize("name", ["writes_into_images", "writes_into_labels"])
def test_an_attack_that_writes_into_its_problem_is_refused(name: str) -> None:
    """Distances from images that it has changed would be 0: the network would look robust."""
    with pytest.raises(BenchError, match=f"{name}' writes into problem.images or problem.labels"):
        attacked(PIXELS, Bright(), f"measure_parts:{name}")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("forgets_to_return", "returned NoneType, not a tensor of images"),
        (
            "returns_levels",
            "returned images of torch.uint8; they must be real numbers",
        ),
        ("returns_numpy", "returned ndarray, not a tensor of images"),
        ("drops_one", r"returned images \(3, 1, 4, 4\) for \(4, 1, 4, 4\)"),
    ],
)
def test_what_an_attack_returns_must_be_images(name: str, said: str) -> None:
    with pytest.raises(BenchError, match=f"attack 'measure_parts:{name}' {said}"):
        attacked(PIXELS, Bright(), f"measure_parts:{name}")


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 256])
def test_the_batch_size_shows_nowhere(batch_size: int) -> None:
    attack = {"name": "additive_gaussian", "epsilons": 40}
    expected = attacked(PIXELS, Bright(), attack)
    found = attacked(PIXELS, Bright(), attack, batch_size=batch_size)
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
    assert {**found.metrics, "attack_batch": 0} == {**expected.metrics, "attack_batch": 0}


def test_a_label_changes_nothing_but_the_name() -> None:
    one, other = (
        tasks({"name": "measure_parts:to_random", "label": label})[0] for label in ("a", "b")
    )
    assert (one.label, other.label) == ("a", "b")
    assert one.key == other.key
    first, second = (
        robustness.run(context(PIXELS, Bright(), item.options)) for item in (one, other)
    )
    np.testing.assert_array_equal(first.arrays["l2"], second.arrays["l2"])


def test_the_subset_is_attacked_under_its_own_numbers() -> None:
    """The stream of an image follows its number in the test set, not its place in the subset."""
    values = [0, 255] * 10
    dataset = first_pixels(values, [0, 1] * 10)
    whole = attacked(dataset, Bright(), "measure_parts:to_random")
    part = attacked(dataset, Bright(), "measure_parts:to_random", samples=6, subset_seed=4)
    index = part.arrays["index"]
    assert index.tolist() == balanced_subset(np.array([0, 1] * 10), 6, 4).tolist()
    np.testing.assert_array_equal(part.arrays["l2"], whole.arrays["l2"][index])


def test_progress_runs_up_to_one() -> None:
    shares: list[float] = []
    (item,) = tasks("measure_parts:to_white", batch_size=1)
    robustness.run(context(PIXELS, Bright(), item.options, progress=shares.append))
    assert shares == [0.25, 0.5, 0.75, 1.0]


def test_attacks_run_without_gradients() -> None:
    found = attacked(PIXELS, Bright(), "measure_parts:no_gradients")
    assert found.metrics["success_rate"] == 0


def test_what_cannot_be_attacked() -> None:
    with pytest.raises(BenchError, match="pixels: has no test labels to attack against"):
        attacked(first_pixels([0], None), Bright(), "gaussian_blur")
    with pytest.raises(BenchError, match="not one of the attacked images is classified correctly"):
        attacked(first_pixels([0, 255], [1, 0]), Bright(), "gaussian_blur")


def test_one_cell_per_attack_with_what_changes_its_result() -> None:
    options = {"samples": 50, "repeats": 3, "subset_seed": 9, "batch_size": 10}
    noise, blur = tasks(["additive_gaussian", {"name": "gaussian_blur", "epsilons": 5}], **options)
    assert (noise.label, blur.label) == ("additive_gaussian", "gaussian_blur")
    assert {key: value for key, value in noise.key.items() if key != "attack"} == {
        "protocol": "min-l2",
        "samples": 50,
        "subset_seed": 9,
        "repeats": 3,
    }
    assert blur.key["repeats"] == 1, "a repeat would be the same"
    assert blur.key["attack"]["options"] == {"epsilons": 5, "search": "exact"}
    assert attacked(PIXELS, Bright(), "measure_parts:steady").arrays["evaluations"].max() == 2


def test_the_cost_is_estimated_from_the_images_there_are() -> None:
    noise, blur = tasks(["additive_gaussian", "gaussian_blur"], samples=50, repeats=3)
    typical = {name: load(name).typical for name in ("additive_gaussian", "gaussian_blur")}
    assert robustness.forwards(noise.options, 1000) == 50 * 3 * typical["additive_gaussian"]
    assert robustness.forwards(blur.options, 1000) == 50 * typical["gaussian_blur"]
    short, fast = tasks([{"name": "gaussian_blur", "epsilons": 10},
                         {"name": "gaussian_blur", "search": "fast"}], samples=50)  # fmt: skip
    assert robustness.forwards(short.options, 1000) == pytest.approx(0.5 * typical["gaussian_blur"])
    assert robustness.forwards(fast.options, 1000) < robustness.forwards(blur.options, 1000)
    assert robustness.forwards(blur.options, 20) < robustness.forwards(blur.options, 1000)


@pytest.mark.parametrize("name", ["additive_gaussian", "gaussian_blur"])
def test_a_convolutional_network_end_to_end(name: str) -> None:
    dataset = fashion_mnist_mini(Path())
    torch.manual_seed(0)
    network: nn.Module = arches.create("lenet_fc", "td", 1)
    (item,) = tasks({"name": name, "epsilons": 12}, samples=30, repeats=2)
    first = robustness.run(context(dataset, network, item.options))
    again = robustness.run(context(dataset, network, item.options))
    assert isinstance(first, base.Found)
    for array, same in zip(first.arrays.values(), again.arrays.values(), strict=True):
        np.testing.assert_array_equal(array, same)
    assert len(first.arrays["l2"]) == 30
    assert dataset.test.labels is not None
    right = first.arrays["prediction"] == dataset.test.labels.numpy()[first.arrays["index"]]
    np.testing.assert_array_equal(first.arrays["l2"] == 0, ~right)
    assert first.arrays["evaluations"][~right].tolist() == [1] * int((~right).sum())
