"""The contract of attacks: options, what is kept, counting, and how they are found."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attack_parts import images, never
from torch import Tensor

from bench.attacks import base
from bench.attacks.problem import Problem
from bench.attacks.source import KeyedSource
from bench.cli import main
from bench.errors import BenchError, UnknownNameError

# A fixed number of steps is the only option of these.
STEPS = ["additive_gaussian", "additive_uniform"]


def plain(problem: Problem) -> Tensor:
    """An attack as a plain function: finds nothing."""
    return problem.images


def blend(problem: Problem, weight: float = 0.5, *, word: str = "grey") -> Tensor:
    """Into the negative."""
    problem.offer(problem.images + weight * (1 - 2 * problem.images), problem.rows)
    return problem.best


def needy(problem: Problem, *, weight: float) -> Tensor:
    """Has to be told how much."""
    return blend(problem, weight)


not_an_attack = 5


def test_a_problem_counts_every_question() -> None:
    clean = images(4)
    task = Problem(clean, torch.tensor([0, 0, 1, 0]), never, KeyedSource(0, "x", 0, range(4)))
    assert task.evaluations.tolist() == [0, 0, 0, 0]
    wrong = task.fooled(clean[[2, 0]], torch.tensor([2, 0]))
    task.fooled(clean[[2]], torch.tensor([2]))
    assert wrong.tolist() == [True, False]
    assert task.evaluations.tolist() == [1, 0, 2, 0]


def test_what_an_attack_asks_itself_is_counted_and_kept_where_it_fooled() -> None:
    clean = images(3)
    task = Problem(clean, torch.zeros(3).long(), never, KeyedSource(0, "x", 0, range(3)))
    index = torch.tensor([2, 0])
    task.note(clean[index] + 0.25, index)
    assert task.evaluations.tolist() == [1, 0, 1]
    assert torch.equal(task.best, clean)
    task.note(clean[index] + 0.25, index, torch.tensor([True, False]))
    task.note(clean[index] + 0.5, index, torch.tensor([True, True]))
    assert task.evaluations.tolist() == [3, 0, 3]
    expected = clean + torch.tensor([0.5, 0.0, 0.25])[:, None, None, None]
    torch.testing.assert_close(task.best, expected)
    assert task.distance.isfinite().tolist() == [True, False, True]


def test_nobody_is_asked_about_nothing() -> None:
    def fails(batch: Tensor) -> Tensor:
        raise AssertionError(batch.shape)

    task = Problem(images(2), torch.zeros(2).long(), fails, KeyedSource(0, "x", 0, range(2)))
    nothing = torch.zeros(0, dtype=torch.int64)
    assert task.offer(images(0), nothing).shape == (0,)
    assert task.evaluations.tolist() == [0, 0]


def pixels(*values: float) -> Tensor:
    """One image a row of the problem below; each value is added to another pixel."""
    change = torch.zeros(1, 1, 2, 2)
    change.view(-1)[: len(values)] = torch.tensor(values)
    return 0.25 + change


@pytest.mark.parametrize(
    ("protocol", "first", "second", "kept"),
    [
        # L2 0.5 and L-infinity 0.4, against 0.45 and 0.45.
        ("min-l2", (0.3, 0.4), (0.45,), True),
        ("paper", (0.3, 0.4), (0.45,), False),
        ("min-l2", (0.45,), (0.3, 0.4), False),
        ("paper", (0.45,), (0.3, 0.4), True),
        ("min-l2", (0.3,), (0.0, 0.3), False),
        ("paper", (0.3,), (0.0, 0.3), False),
    ],
)
def test_a_candidate_is_kept_if_it_is_strictly_closer_by_the_protocol(
    protocol: Any, first: tuple[float, ...], second: tuple[float, ...], kept: bool
) -> None:
    def always(batch: Tensor) -> Tensor:
        return torch.tensor([[0.0, 1.0]]).expand(len(batch), 2)

    clean, index = torch.full((3, 1, 2, 2), 0.25), torch.tensor([1])
    source = KeyedSource(0, "x", 0, range(3))
    task = Problem(clean, torch.zeros(3).long(), always, source, protocol)
    assert task.offer(pixels(*first), index).tolist() == [True]
    assert task.could_improve(pixels(*second), index).tolist() == [kept]
    assert task.offer(pixels(*second), index).tolist() == [True]
    expected = pixels(*(second if kept else first))
    assert torch.equal(task.best[1:2], expected)
    change = (expected - 0.25).flatten().double()
    distance = change.norm() if protocol == "min-l2" else change.abs().max()
    torch.testing.assert_close(task.distance[1], distance)
    assert torch.equal(task.best[[0, 2]], clean[[0, 2]])
    assert torch.isinf(task.distance[[0, 2]]).all()


def test_the_first_candidate_that_fools_is_offered_and_only_that() -> None:
    """Three images, four candidates each; a candidate fools from value 0.5 on."""

    def half(batch: Tensor) -> Tensor:
        return torch.stack([torch.full((len(batch),), 0.49), batch[:, 0, 0, 0]], 1)

    values = torch.tensor([[0.1, 0.9, 0.5], [0.2, 0.6, 0.4], [0.8, 0.1, 0.3], [0.7, 0.5, 0.2]])
    candidates = values.reshape(12, 1, 1, 1)
    source, index = KeyedSource(0, "x", 0, range(4)), torch.tensor([3, 0, 2])
    task = Problem(torch.zeros(4, 1, 1, 1), torch.zeros(4).long(), half, source)
    assert task.first(candidates, index).tolist() == [2, 0, 0]
    assert task.evaluations.tolist() == [1, 0, 1, 3]
    torch.testing.assert_close(task.best.flatten(), torch.tensor([0.9, 0.0, 0.5, 0.8]))
    torch.testing.assert_close(task.distance[[3, 0, 2]].float(), torch.tensor([0.8, 0.9, 0.5]))
    worth = torch.tensor([1, 0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0]).bool()
    task = Problem(torch.zeros(4, 1, 1, 1), torch.zeros(4).long(), half, source)
    assert task.first(candidates, index, worth).tolist() == [3, 4, 0]
    assert task.evaluations.tolist() == [1, 0, 1, 3]
    torch.testing.assert_close(task.best.flatten(), torch.tensor([0.0, 0.0, 0.5, 0.7]))
    assert task.first(candidates, index, torch.zeros(12).bool()).tolist() == [4, 4, 4]
    assert task.evaluations.tolist() == [1, 0, 1, 3]


@pytest.mark.parametrize(
    ("size", "active", "expected"), [(64, 64, 1), (64, 33, 1), (64, 32, 2), (64, 5, 12), (1, 1, 1)]
)
def test_small_batches_are_filled_up(size: int, active: int, expected: int) -> None:
    source = KeyedSource(0, "x", 0, range(size))
    task = Problem(images(size), torch.zeros(size).long(), never, source)
    assert task.ahead(active) == expected
    task.ask_ahead = False
    assert task.ahead(active) == 1


def test_what_does_not_fool_is_not_kept() -> None:
    task = Problem(images(1), torch.zeros(1).long(), never, KeyedSource(0, "x", 0, [0]))
    assert task.offer(1 - images(1), torch.tensor([0])).tolist() == [False]
    assert torch.equal(task.best, images(1))
    assert torch.isinf(task.distance).all()


@pytest.mark.parametrize("name", STEPS)
def test_built_in_attacks_declare_their_options(name: str) -> None:
    attack = base.load(name)
    assert attack.options({}) == dict(attack.defaults) == {"epsilons": 1000}
    assert attack.options({"epsilons": 12}) == {"epsilons": 12}
    assert dict(attack.defaults) == {"epsilons": 1000}


@pytest.mark.parametrize("value", [0, -1, 2.5, 100.0, True, "100", None, [3], float("nan")])
def test_steps_are_a_positive_whole_number(value: Any) -> None:
    with pytest.raises(BenchError, match="option 'epsilons' must be a positive whole number, not"):
        base.load("gaussian_blur").options({"epsilons": value})


@pytest.mark.parametrize("value", [0.0, -0.5, float("inf"), float("nan"), False, "0.5"])
def test_other_numbers_are_positive_and_finite(value: Any) -> None:
    attack = base.Attack(plain, deterministic=True, defaults={"step": 0.1})
    assert attack.options({"step": 2}) == {"step": 2}
    with pytest.raises(BenchError, match="option 'step' must be a positive number, not"):
        attack.options({"step": value})


def test_unknown_options_name_the_known_ones() -> None:
    with pytest.raises(BenchError, match="unknown option 'epsilon'; known: epsilons, search"):
        base.load("gaussian_blur").options({"epsilon": 3})
    with pytest.raises(BenchError, match="unknown option 'steps'; known: label"):
        base.load("test_attack_contract:plain").options({"steps": 3})


def test_parameters_of_a_plain_function_are_its_options(
    tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    given = "{name: 'test_attack_contract:blend', label: NAME, weight: 0.7}"
    both = ", ".join([given.replace("NAME", "most"), given.replace("NAME", "all")])
    both = both.replace("all, weight: 0.7", "all, weight: 1.0")
    attacks = "attacks: [{name: gaussian_blur, epsilons: 20}]"
    suite = tiny((attacks, f"attacks: [{both}]"))
    assert main(["run", str(suite), "--out", "run", "--quiet"]) == 0, capsys.readouterr().err
    with sqlite3.connect("run/results.sqlite") as db:
        (farther,), (nearer,) = (
            db.execute(
                "SELECT value FROM tidy WHERE metric = 'median_l2' AND measure = ?",
                (f"robustness/{label}",),
            ).fetchone()
            for label in ("all", "most")
        )
    assert nearer == pytest.approx(0.7 * farther, rel=1e-3)

    capsys.readouterr()
    for wrong, told in (
        ("wieght: 1", "unknown option 'wieght'; did you mean 'weight'?"),
        ("problem: 1", "unknown option 'problem'"),
        ("weight: much", "option 'weight' must be a number, not 'much'"),
    ):
        suite = tiny((attacks, f"attacks: [{given.replace('weight: 0.7', wrong)}]"))
        assert main(["plan", str(suite), "--no-cost"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert told in line


def test_an_option_without_a_default_is_asked_for_before_anything_runs(
    tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    attacks, needy = "attacks: [{name: gaussian_blur, epsilons: 20}]", "test_attack_contract:needy"
    suite = tiny((attacks, f"attacks: ['{needy}']"))
    assert main(["plan", str(suite), "--no-cost"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{suite}:9: measures[1].robustness.attacks[0]: option 'weight'")
    suite = tiny((attacks, f"attacks: [{{name: '{needy}', weight: 0.7}}]"))
    assert main(["plan", str(suite), "--no-cost"]) == 0


def test_defaults_of_a_plain_function_leave_its_cells_as_they_were() -> None:
    """They are part of its code, which counts anyway."""
    assert base.key("test_attack_contract:blend", {})["options"] == {}


def test_a_plain_function_is_a_random_attack() -> None:
    attack = base.load("test_attack_contract:plain")
    assert (attack.deterministic, attack.version, dict(attack.defaults)) == (False, 1, {})


def test_what_is_no_attack() -> None:
    with pytest.raises(BenchError, match="is neither an Attack nor a function"):
        base.load("test_attack_contract:not_an_attack")
    with pytest.raises(UnknownNameError, match="unknown attack 'gausian_blur'; did you mean"):
        base.load("gausian_blur")
    with pytest.raises(BenchError, match="does not import"):
        base.load("test_attack_contract:absent")


def test_a_key_holds_every_option_the_version_and_foreign_code() -> None:
    assert base.key("gaussian_blur", {}) == base.key("gaussian_blur", {"epsilons": 1000})
    assert base.key("gaussian_blur", {}) != base.key("gaussian_blur", {"epsilons": 999})
    assert base.key("gaussian_blur", {}) != base.key("gaussian_blur", {"search": "fast"})
    assert base.key("gaussian_blur", {}) == {
        "name": "gaussian_blur",
        "options": {"epsilons": 1000, "search": "exact"},
        "version": 1,
    }
    assert base.key("test_attack_contract:plain", {})["code"].startswith("source:")
