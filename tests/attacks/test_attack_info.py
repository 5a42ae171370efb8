"""What the leaderboard is told of an attack, and that it survives the run directory."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from bench.attacks.capabilities import LIBRARIES
from bench.attacks.info import info, kind
from bench.errors import BenchError
from bench.plan.attacks import attack_infos
from bench.plan.check import read_suite
from bench.plan.expand import expand
from bench.store.database import Store
from bench.store.outcome import Outcome
from bench.store.read import results
from leaderboard.results import AttackInfo

SUITE = """
name: s
seeds: [0]
datasets: [fashion-mnist-mini]
backbones: [lenet_fc]
variants: [bu]
recipe: {epochs: 1}
measures:
  - accuracy
  - robustness:
      attacks:
        - gaussian_blur
        - {name: additive_gaussian, epsilons: 50, label: noise}
"""
PROVENANCE = {
    "suite": "s", "suite_text": "name: s", "command": "bench run s", "python": "3",
    "versions": {"torch": "2"}, "git_commit": "abc", "hardware": "a machine",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("salt_and_pepper", "noise"),
        ("additive_uniform", "noise"),
        ("gaussian_blur", "other"),
        ("pointwise", "other"),
        ("autoattack", "iterative"),
        ("pgd", "iterative"),
        ("fgsm", "one-step"),
        ("foolbox:FGSM", "one-step"),
        ("foolbox:L2FastGradientAttack", "one-step"),
        ("foolbox:L2PGD", "iterative"),
        ("foolbox:L2RepeatedAdditiveGaussianNoiseAttack", "noise"),
        ("foolbox:HopSkipJumpAttack", "other"),
        ("torchattacks:FFGSM", "one-step"),
        ("torchattacks:MIFGSM", "iterative"),
        ("torchattacks:Square", "square"),
        ("torchattacks:GN", "noise"),
        # It aims at one class and changes a share of the values at most: it need not reach all.
        ("torchattacks:JSMA", "other"),
        ("my_attacks:mine", "other"),
    ],
)
def test_kinds(name: str, wanted: str) -> None:
    assert kind(name) == wanted


def test_only_attacks_with_gradients_take_steps_and_only_those_without_are_noise() -> None:
    for library, attacks in LIBRARIES.items():
        for name, capability in attacks.items():
            found = kind(f"{library}:{name}")
            steps = capability.access == "gradient" and name != "JSMA"
            assert (found in ("one-step", "iterative")) == steps, name


def test_natives_are_described_without_options() -> None:
    assert info("gaussian_blur", {}) == AttackInfo("decision", "", "other", (), "blur and contrast")
    with pytest.raises(BenchError, match="unknown option"):
        info("gaussian_blur", {"sigma": 1})


def test_epsilons_and_norm_come_from_the_options() -> None:
    assert info("pgd", {"epsilons": ["1/5"]}) == AttackInfo(
        "gradient", "Linf", "iterative", (0.2,), "gradient"
    )
    found = info("fgsm", {"norm": "L2", "epsilons": [2, 1]})
    assert found == AttackInfo("gradient", "L2", "one-step", (1.0, 2.0), "gradient")
    pytest.importorskip("foolbox")
    found = info("foolbox:L2PGD", {"epsilons": [0.5, 1.0]})
    assert found == AttackInfo("gradient", "L2", "iterative", (0.5, 1.0), "gradient")
    assert info("foolbox:L2DeepFoolAttack", {}).strengths == ()


def test_infos_and_arrays_reach_the_leaderboard(tmp_path: Path) -> None:
    suite = tmp_path / "s.yaml"
    suite.write_text(SUITE, encoding="utf-8")
    plan = expand(read_suite(str(suite)))
    infos = attack_infos(plan)
    assert list(infos) == ["gaussian_blur", "noise"]
    store = Store.create_or_open(tmp_path / "run")
    name = "d/b/bu/seed0/robustness/noise"
    store.set_plan("plan", [("id", name, "d", "b", "bu", 0, "robustness/noise")])
    store.set_facts({"attacks": json.dumps(infos)})
    arrays = {
        "index": np.array([3, 8]), "l2": np.array([0.5, np.inf]), "linf": np.array([0.1, np.inf]),
        "l0": np.array([4.0, np.inf]), "prediction": np.array([1, 2]),
        "robust": np.array([[True, False], [True, True]]),
    }  # fmt: skip
    store.record(store.begin(PROVENANCE), "id", name, Outcome(1.0, 2.0, 3.0, arrays=arrays))
    found = results(store)
    store.close()
    assert found.attacks["noise"] == info("additive_gaussian", {"epsilons": 50})
    assert asdict(found.attacks["gaussian_blur"])["access"] == "decision"
    (sample,) = found.samples
    for key in ("index", "l2", "linf", "l0", "robust"):
        array = getattr(sample, key)
        assert array.tolist() == arrays[key].tolist()
        assert array.dtype == {"index": np.int64, "robust": np.bool_}.get(key, np.float64)
