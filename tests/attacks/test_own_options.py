"""Options of an `Attack` of one's own: what they may be follows from their defaults, and a
declaration that cannot work is refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.attacks import base
from bench.attacks.base import Attack
from bench.attacks.problem import Problem
from bench.cli import main
from bench.errors import BenchError


def plain(problem: Problem, **_: Any) -> Tensor:
    """Finds nothing."""
    return problem.images


def brighten(problem: Problem, *, epsilon: float) -> Tensor:
    """The same amount added to every pixel."""
    problem.offer((problem.images + epsilon).clamp(0, 1), problem.rows)
    return problem.best


def declared(**more: Any) -> Attack:
    return Attack(brighten, deterministic=True, strength="epsilon", **more)


DEFAULTS = {
    "tries": 3, "upright": True, "mode": "up", "shift": 0.0, "below": -1, "sizes": [1, 2],
    "words": ("a", "b"), "mask": None,
}  # fmt: skip
VARIED = Attack(plain, deterministic=True, defaults=DEFAULTS)
STRONG = declared(defaults={"epsilons": [0.1, 0.2]}, norm="Linf")
ONE = declared(defaults={"epsilons": 0.5}, norm="L2")
WITHOUT = declared(norm="Linf")
NOT_NUMBERS = declared(defaults={"epsilons": "many"})
LOWER_CASE = declared(defaults={"epsilons": (0.1,)}, norm="linf")
DASHED = declared(defaults={"epsilons": (0.1,)}, norm="L-inf")
PLURAL = Attack(plain, deterministic=True, access="gradients")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given",
    [
        {"upright": False}, {"mode": "down"}, {"shift": -0.5}, {"shift": 2}, {"below": 0},
        {"sizes": [3]}, {"words": ["c"]}, {"mask": "left"}, {"tries": 1},
    ],
)  # fmt: skip
def test_an_option_may_be_what_its_default_is_like(given: dict[str, Any]) -> None:
    assert VARIED.options(given) == {**DEFAULTS, **given}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"upright": 1}, "'upright' must be true or false, not 1"),
        ({"mode": 3}, "'mode' must be a word, not 3"),
        ({"tries": 0}, "'tries' must be a positive whole number, not 0"),
        ({"tries": True}, "'tries' must be a positive whole number, not True"),
        ({"shift": "far"}, "'shift' must be a number, not 'far'"),
        ({"shift": float("inf")}, "'shift' must be a number, not inf"),
        ({"below": 0.5}, "'below' must be a whole number, not 0.5"),
        ({"sizes": [1, -1]}, r"'sizes' must be a list of positive numbers, not \[1, -1\]"),
        ({"sizes": []}, r"'sizes' must be a list of positive numbers, not \[\]"),
        ({"words": [1]}, r"'words' must be a list of words, not \[1\]"),
    ],
)
def test_what_is_unlike_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(BenchError, match=f"option {said}"):
        VARIED.options(given)


def upright(problem: Problem, *, up: bool = True) -> Tensor:
    """A plain function with a switch."""
    return problem.images


def test_a_switch_of_a_plain_function_is_true_or_false() -> None:
    """'off' would be as good as true."""
    attack = base.load("test_own_options:upright")
    assert attack.options({"up": False}) == {"up": False}
    for value in ("off", 0):
        with pytest.raises(BenchError, match=f"option 'up' must be true or false, not {value!r}"):
            attack.options({"up": value})


def test_strengths_are_written_as_those_of_built_in_attacks() -> None:
    assert STRONG.options({"epsilons": ["8/255", 0.5]})["epsilons"] == (8 / 255, 0.5)
    assert STRONG.options({"epsilons": 0.3})["epsilons"] == (0.3,)
    assert STRONG.options({})["epsilons"] == (0.1, 0.2)
    assert ONE.options({})["epsilons"] == (0.5,)
    assert ONE.options({"epsilons": 8})["epsilons"] == (8,)
    assert base.key("test_own_options:STRONG", {}) == base.key(
        "test_own_options:STRONG", {"epsilons": [0.1, 0.2]}
    )
    for wrong, said in (
        ([0.2, 0.2], "has a number twice"),
        ([8], "on the scale of images, 0 to 1, for L-infinity, not 8; write '8/255'"),
        ([], "must be positive numbers, such as"),
        ([0.1, -1], "must be positive numbers, such as"),
        ("8/0", "must be positive numbers, such as"),
    ):
        with pytest.raises(BenchError, match=f"option 'epsilons' (is )?{said}"):
            STRONG.options({"epsilons": wrong})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("WITHOUT", "has a strength, 'epsilon', but no `epsilons` among its defaults"),
        ("NOT_NUMBERS", "option 'epsilons' must be positive numbers"),
        ("LOWER_CASE", "has the norm 'linf'; write 'Linf'"),
        ("DASHED", "has the norm 'L-inf'; write 'Linf'"),
        ("PLURAL", "has the access 'gradients'; it must be decision, score or gradient"),
    ],
)
def test_a_declaration_that_cannot_work_is_one_clear_line(
    name: str, said: str, tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt norm would bind nothing, and a misspelt access leave gradients off."""
    attacks = "attacks: [{name: gaussian_blur, epsilons: 20}]"
    suite = tiny((attacks, f"attacks: ['test_own_options:{name}']"))
    assert main(["plan", str(suite), "--no-cost"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{suite}:9: measures[1].robustness.attacks[0]: ")
    assert f"attack 'test_own_options:{name}'" in line
    assert said in line


def test_strengths_in_a_suite(
    tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    attacks, name = "attacks: [{name: gaussian_blur, epsilons: 20}]", "test_own_options:STRONG"
    suite = tiny((attacks, f"attacks: [{{name: '{name}', epsilons: [64/255, 0.5]}}]"))
    assert main(["run", str(suite), "--out", "run", "--quiet"]) == 0, capsys.readouterr().err
    assert torch.is_grad_enabled()
