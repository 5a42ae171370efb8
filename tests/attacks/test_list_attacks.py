"""`bench list attacks`: every attack with what it needs and costs, without importing anything."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata

import pytest
from torch import Tensor

from bench import cli
from bench.attacks import base
from bench.attacks.capabilities import BUILT_IN, LIBRARIES, REFUSED
from bench.attacks.problem import Problem

Out = pytest.CaptureFixture[str]


def listed(capsys: Out, *words: str) -> list[str]:
    assert cli.main(["list", "attacks", *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def row(lines: list[str], name: str) -> list[str]:
    (line,) = [line for line in lines if line.split(" ")[0] == name]
    return line.split()


def test_all_attacks_are_there(capsys: Out) -> None:
    lines = listed(capsys)
    names = {line.split(" ")[0] for line in lines if line}
    every = [what for library in LIBRARIES.values() for what in library.values()]
    assert names >= {what.name for what in every} | set(BUILT_IN) | set(base.REGISTRY.entries)
    assert not names & set(REFUSED)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("single_pixel", "L0 decision yes smallest 1,000 any"),
        ("gaussian_blur", "- decision no smallest 180 any"),
        ("autoattack", "Linf gradient yes epsilons 4,000 any"),
        ("pgd", "Linf gradient yes* epsilons 12 any"),
        ("fgsm", "Linf gradient no epsilons 2 any"),
        ("foolbox:L2FMNAttack", "L2 gradient no smallest 101 any"),
        ("foolbox:LinfFastGradientAttack", "Linf gradient no* epsilons 2 any"),
        ("torchattacks:Square", "Linf score yes epsilons 2,000 any"),
        ("torchattacks:TIFGSM", "Linf gradient yes epsilons 10 3"),
    ],
)
def test_a_row(name: str, facts: str, capsys: Out) -> None:
    assert row(listed(capsys), name)[1:7] == facts.split()


def test_built_in_attacks_say_what_they_do(capsys: Out) -> None:
    (line,) = [line for line in listed(capsys) if line.startswith("gaussian_blur ")]
    assert line.endswith("Gaussian blur, growing until the first hit (deterministic)")


def test_patterns(capsys: Out) -> None:
    lines = listed(capsys, "--like", "foolbox:L2*PGD")
    names = [line.split()[0] for line in lines if line.startswith("foolbox:L2")]
    assert names == [
        "foolbox:L2AdamProjectedGradientDescentAttack",
        "foolbox:L2ProjectedGradientDescentAttack",
    ]
    assert not any("torchattacks" in line for line in lines)


def test_one_alone_comes_with_its_options(capsys: Out) -> None:
    lines = listed(capsys, "--like", "gaussian_blur")
    where = lines.index("options, with their defaults:")
    assert lines[where + 1 :] == ["  epsilons  1000", '  search    "exact"  (exact or fast)']
    assert "options, with their defaults:" not in listed(capsys, "--like", "additive*")
    lines = listed(capsys, "--like", "pgd")
    where = lines.index("options, with their defaults:")
    assert [line.split()[:2] for line in lines[where + 1 : -1]] == [
        ["norm", '"Linf"'], ["steps", "20"], ["rel_stepsize", "0.125"], ["random_start", "true"],
        ["active_set", "true"],
    ]  # fmt: skip
    assert lines[-1].split()[0] == "epsilons"
    pytest.importorskip("foolbox")
    lines = listed(capsys, "--like", "foolbox:L2PGD")
    assert "  steps         50" in lines
    assert "  epsilons      [0.25, 0.5, 1.0, 2.0, 4.0, 8.0]" in lines


def words(problem: Problem, *, directions: tuple[str, ...]) -> Tensor:
    """Goes up or down."""
    return problem.images


WORDS = base.Attack(words, deterministic=True, defaults={"directions": ("up", "down")})


def test_defaults_of_a_package_may_be_words(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    point = metadata.EntryPoint("wordy", "test_list_attacks:WORDS", "bench.attacks")
    monkeypatch.setattr(metadata, "entry_points", lambda **_: metadata.EntryPoints([point]))
    base.REGISTRY.__dict__.pop("entries", None)
    try:
        lines = listed(capsys, "--like", "wordy")
    finally:
        base.REGISTRY.__dict__.pop("entries", None)
    assert lines[-1] == '  directions  ["up", "down"]'


def test_as_json(capsys: Out) -> None:
    found = {what["name"]: what for what in json.loads("\n".join(listed(capsys, "--json")))}
    assert len(found) == len(BUILT_IN) + sum(map(len, LIBRARIES.values()))
    assert found["torchattacks:GN"]["epsilons"] == [0.05, 0.1, 0.2, 0.4]
    assert found["gaussian_blur"]["norm"] is None
    assert found["torchattacks:TIFGSM"]["channels"] == [3]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--like", "folbox:PGD"), "no attack fits 'folbox:PGD'; did you mean 'foolbox:PGD'?"),
        (("--like", "qqqq*"), "no attack fits 'qqqq*'; try 'foolbox:*' or 'torchattacks:*'"),
        (("--variant", "td"), "list attacks: --"),
    ],
)
def test_what_is_wrong(words: tuple[str, ...], said: str, capsys: Out) -> None:
    assert cli.main(["list", "attacks", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1


def test_nothing_heavy_is_imported_and_it_is_quick() -> None:
    code = """
import sys, time
from bench.cli import main
main(['list', 'attacks'])
heavy = {'torch', 'numpy', 'foolbox', 'torchattacks', 'pyautoattack'} & set(sys.modules)
sys.exit(f'loaded: {heavy}' if heavy else 0 if time.process_time() < 0.3 else 'slow')
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "autoattack"])
def test_the_table_agrees_with_the_declaration(name: str) -> None:
    attack, what = base.load(name), BUILT_IN[name]
    assert (attack.norm, attack.access, attack.channels) == (what.norm, what.access, what.channels)
    assert (attack.deterministic, attack.typical) == (what.deterministic, what.evaluations)
    assert bool(attack.strength) == bool(what.strength)


def test_the_table_has_every_built_in_attack() -> None:
    built_in = {n for n, entry in base.REGISTRY.entries.items() if entry.source == "built in"}
    assert built_in == set(BUILT_IN)
