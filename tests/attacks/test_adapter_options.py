"""Options of library attacks: read from signatures, checked, completed, and part of identities."""

from __future__ import annotations

from typing import Any

import pytest
from adapter_parts import EVERY, needs

from bench.attacks import base
from bench.attacks.capabilities import ALIASES, LIBRARIES, RANDOM_WHEN, Capability
from bench.errors import BenchError
from bench.measures import robustness


def attack(name: str) -> base.Attack:
    pytest.importorskip(name.partition(":")[0])
    return base.load(name)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        (
            "foolbox:PGD",
            {"step": 3},
            "unknown option 'step'; known: abs_stepsize, epsilons, one_by",
        ),
        ("foolbox:PGD", {"steps": 2.5}, "option 'steps' must be a positive whole number, not 2.5"),
        ("foolbox:PGD", {"steps": 0}, "option 'steps' must be a positive whole number, not 0"),
        (
            "foolbox:PGD",
            {"steps": True},
            "option 'steps' must be a positive whole number, not True",
        ),
        ("foolbox:PGD", {"rel_stepsize": "big"}, "'rel_stepsize' must be a number, not 'big'"),
        ("foolbox:PGD", {"rel_stepsize": float("nan")}, "must be a number, not nan"),
        ("foolbox:PGD", {"rel_stepsize": None}, "must be a number, not None"),
        # A step back would leave the network looking robust, a step of 0 the image where it is.
        ("foolbox:PGD", {"rel_stepsize": -0.03}, "'rel_stepsize' must be a positive number, not"),
        ("foolbox:L2BasicIterativeAttack", {"abs_stepsize": 0}, "must be a positive number, not 0"),
        ("foolbox:L2CarliniWagnerAttack", {"stepsize": -1}, "must be a positive number, not -1"),
        ("torchattacks:PGD", {"alpha": -0.01}, "'alpha' must be a positive number, not -0.01"),
        ("torchattacks:CW", {"lr": 0.0}, "'lr' must be a positive number, not 0.0"),
        ("foolbox:PGD", {"random_start": 1}, "'random_start' must be true or false, not 1"),
        ("foolbox:PGD", {"epsilon": 1}, r"unknown option 'epsilon': say `epsilons: \[...\]`"),
        ("foolbox:PGD", {"epsilons": []}, "'epsilons' must be positive numbers, such as"),
        ("foolbox:PGD", {"epsilons": [0.1, -1]}, "'epsilons' must be positive numbers, such as"),
        ("foolbox:PGD", {"epsilons": "8/0"}, "'epsilons' must be positive numbers, such as"),
        ("foolbox:PGD", {"epsilons": [0.1, True]}, "'epsilons' must be positive numbers, such as"),
        ("foolbox:PGD", {"epsilons": [0.5, "1/2"]}, "option 'epsilons' has a number twice"),
        ("foolbox:PGD", {"epsilons": [0.1, 8]}, "0 to 1, for L-infinity, not 8; write '8/255'"),
        ("torchattacks:PGD", {"epsilons": 8}, "0 to 1, for L-infinity, not 8; write '8/255'"),
        ("torchattacks:APGD", {"norm": "Linf", "epsilons": [1.5]}, "not 1.5; write '1.5/255'"),
        ("foolbox:PGD", {"distance": "l2"}, "unknown option 'distance'"),
        ("foolbox:L2DeepFoolAttack", {"loss": "l"}, "must be one of logits, crossentropy, not 'l'"),
        ("foolbox:BoundaryAttack", {"init_attack": "X"}, "'init_attack' must be one of DatasetAt"),
        ("foolbox:BoundaryAttack", {"tensorboard": "x"}, "unknown option 'tensorboard'"),
        ("torchattacks:PGD", {"eps": 0.1}, r"unknown option 'eps': say `epsilons: \[...\]`"),
        (
            "torchattacks:OnePixel",
            {"epsilons": [0.5]},
            "numbers of pixels, such as .1, 4., not",
        ),
        ("torchattacks:OnePixel", {"epsilons": [2, 1.5]}, "must be whole numbers of pixels"),
        ("torchattacks:APGD", {"seed": 3}, "unknown option 'seed': it follows the network's seed"),
        ("torchattacks:APGD", {"norm": "L1"}, "option 'norm' must be one of Linf, L2, not 'L1'"),
        ("torchattacks:APGD", {"loss": "mse"}, "option 'loss' must be one of ce, dlr, not 'mse'"),
        ("torchattacks:APGD", {"n_classes": 3}, "unknown option 'n_classes'"),
        ("torchattacks:Pixle", {"x_dimensions": [1]}, "must be a list of two positive numbers"),
        ("torchattacks:Pixle", {"x_dimensions": [1, 0]}, "must be a list of two positive numbers"),
    ],
)
def test_wrong_options_are_one_clear_line(name: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(BenchError, match=said) as error:
        attack(name).options(given)
    assert len(str(error.value).splitlines()) == 1


def test_right_options_are_completed() -> None:
    chosen = attack("foolbox:L2PGD").options({"steps": 3, "rel_stepsize": 1, "abs_stepsize": None})
    assert chosen == {
        "rel_stepsize": 1.0,
        "abs_stepsize": None,
        "steps": 3,
        "random_start": True,
        "one_by_one": False,
        "epsilons": (0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
    }
    assert isinstance(chosen["rel_stepsize"], float)


def test_what_is_no_length_may_be_negative() -> None:
    assert attack("torchattacks:JSMA").options({"theta": -1})["theta"] == -1
    assert attack("torchattacks:CW").options({"kappa": 0})["kappa"] == 0


def test_strengths_may_be_fractions_in_any_order() -> None:
    chosen = attack("torchattacks:PGD").options({"epsilons": ["8/255", 0.5, "1/ 255"]})
    assert chosen["epsilons"] == (1 / 255, 8 / 255, 0.5)
    assert attack("torchattacks:PGD").options({"epsilons": 0.5})["epsilons"] == (0.5,)


def test_the_default_grid_follows_the_norm() -> None:
    apgd = attack("torchattacks:APGD")
    assert apgd.options({})["epsilons"][-1] == pytest.approx(32 / 255)
    assert apgd.options({"norm": "L2"})["epsilons"][-1] == 8
    assert apgd.options({"norm": "L2", "epsilons": 8})["epsilons"] == (8.0,)
    pytest.importorskip("pyautoattack")
    ensemble = base.load("autoattack")
    assert ensemble.options({})["epsilons"] == (8 / 255,)
    assert ensemble.options({"norm": "L2"})["epsilons"] == (0.5,)
    assert ensemble.options({"norm": "L2", "epsilons": [1, 2]})["epsilons"] == (1.0, 2.0)
    with pytest.raises(BenchError, match="'version' must be one of standard, plus, rand"):
        ensemble.options({"version": "custom"})


@pytest.mark.parametrize("what", EVERY, ids=lambda what: what.name)
def test_the_table_agrees_with_the_class(what: Capability) -> None:
    needs(what)
    found = base.load(what.name)
    chosen = found.options({})
    assert dict(found.defaults) == chosen
    assert (found.norm, found.access, found.channels) == (what.norm, what.access, what.channels)
    assert (found.deterministic, found.typical) == (what.deterministic, what.evaluations)
    assert found.is_deterministic(chosen) == what.deterministic
    assert bool(found.random_when) == what.optional
    assert found.random_when.items() <= RANDOM_WHEN.items()
    assert ("epsilons" in chosen) == bool(what.strength)
    # A suite is checked one option at a time.
    for key, value in chosen.items():
        assert found.options({key: value})[key] == value


def test_aliases_are_the_librarys_own() -> None:
    foolbox = pytest.importorskip("foolbox")
    for alias, name in ALIASES.items():
        assert getattr(foolbox.attacks, alias) is getattr(foolbox.attacks, name)
    pgd = base.load("foolbox:PGD")
    same = base.load("foolbox:LinfProjectedGradientDescentAttack")
    assert pgd.defaults == same.defaults


def test_every_class_of_the_libraries_is_in_the_table_or_refused() -> None:
    from bench.attacks.capabilities import REFUSED

    foolbox = pytest.importorskip("foolbox")
    known = {*LIBRARIES["foolbox"], *ALIASES, "Attack"}
    known |= {name.partition(":")[2] for name in REFUSED if name.startswith("foolbox:")}
    there = {
        name
        for name, found in vars(foolbox.attacks).items()
        if isinstance(found, type) and issubclass(found, foolbox.attacks.Attack)
    }
    assert there <= known
    torchattacks = pytest.importorskip("torchattacks")
    known = {*LIBRARIES["torchattacks"]}
    known |= {name.partition(":")[2] for name in REFUSED if name.startswith("torchattacks:")}
    assert set(torchattacks.__all__) <= known


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("foolbox:L2PDG", "foolbox has no attack 'L2PDG' that is known here; did you mean 'L2PGD'"),
        ("torchattacks:PDG", "torchattacks has no attack 'PDG' that is known here; did you mean "),
        ("foolboks:PGD", "does not import"),
    ],
)
def test_unknown_classes(name: str, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        base.load(name)


@pytest.mark.parametrize("library", ["foolbox", "torchattacks"])
def test_a_missing_library_names_the_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib
    import importlib.util

    module = importlib.import_module(f"bench.attacks.{library}_adapter")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    module.load.cache_clear()
    with pytest.raises(BenchError, match=f"'{library}' is not installed.*topdown-bench.{library}"):
        base.load(f"{library}:PGD")


def test_a_missing_autoattack_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util
    import sys

    monkeypatch.delitem(sys.modules, "bench.attacks.autoattack_adapter", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"needs pyautoattack: pip install 'topdown-bench\[autoa"):
        base.load("autoattack")


def test_identities_hold_the_version_and_every_option() -> None:
    attack("foolbox:PGD")
    key = base.key("foolbox:PGD", {"steps": 3})
    assert key["code"].startswith("foolbox==")
    assert key["options"]["steps"] == 3
    assert key["options"]["epsilons"] == pytest.approx([2**k / 255 for k in range(6)])
    pytest.importorskip("pyautoattack")
    assert base.key("autoattack", {})["code"].startswith("pyautoattack==")


def test_repeats_batches_and_cost_follow_the_options() -> None:
    attack("foolbox:PGD")

    def item(**given: Any) -> Any:
        options = {"attacks": [{"name": "foolbox:PGD", **given}], "samples": 10, "repeats": 3}
        (found,) = robustness.items(robustness.Options.model_validate(options))
        return found

    assert item().key["repeats"] == 3
    assert item().key["batch_size"] == 256
    assert item(random_start=False).key["repeats"] == 1
    assert "batch_size" not in item(one_by_one=True).key
    one, three = (item(epsilons=e).options for e in ([0.1], [0.1, 0.2, 0.3]))
    assert robustness.forwards(three, 100) == 3 * robustness.forwards(one, 100)
