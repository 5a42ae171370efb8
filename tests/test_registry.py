"""The registry: lazy, open to plugins, and unshaken by broken ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import cli
from bench.attacks.base import REGISTRY as ATTACKS
from bench.data.catalog import REGISTRY as DATASETS
from bench.errors import BenchError, UnknownNameError
from bench.measures.base import REGISTRY as MEASURES
from bench.models.backbones import REGISTRY as BACKBONES
from bench.registry import Registry, is_target, load_target

ALL = {"backbones": BACKBONES, "datasets": DATASETS, "attacks": ATTACKS, "measures": MEASURES}
ENTRY_POINTS = """\
[bench.backbones]
reg_net = reg_plugins.nets:net
reg_typo = reg_plugins.nets:nett
reg_gone = reg_no_such_module:net
reg_extra = reg_plugins.nets:Net [gpu]
reg_raises = reg_plugins.raising:net
reg_exits = reg_plugins.exiting:net
lenet_fc = reg_plugins.nets:net

[bench.attacks]
reg_attack = reg_plugins.attacks:ATTACK

[bench.measures]
reg_measure = reg_plugins.nets:Measures.one

[bench.datasets]
reg_data = reg_plugins.nets:silent
"""
MODULES = {
    "__init__": "",
    "nets": '''
def net(c, n):
    """A net of one layer.

    More is not shown.
    """
class Net:
    """A class that builds."""
class Measures:
    def one(context):
        """One number."""
def silent(root): ...
''',
    "attacks": '''
from bench.attacks.base import Attack
def run(problem):
    """Turn the image upside down."""
    return problem.images.flip(2)
ATTACK = Attack(run, deterministic=True)
''',
    "raising": 'raise RuntimeError("needs version 7\\nand more lines")',
    "exiting": "import sys; sys.exit('no licence')",
}


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed distribution `reg-plugins` with one plugin of each kind and many broken ones."""
    (tmp_path / "reg_plugins").mkdir()
    for name, text in MODULES.items():
        (tmp_path / "reg_plugins" / f"{name}.py").write_text(text, encoding="utf-8")
    info = tmp_path / "reg_plugins-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: reg-plugins\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    for registry in ALL.values():
        registry.__dict__.pop("entries", None)
    yield
    for registry in ALL.values():
        registry.__dict__.pop("entries", None)
    for name in [name for name in sys.modules if name.startswith("reg_plugins")]:
        del sys.modules[name]


def listed(what: str, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The rows of `bench list`, which must exit with 0 and say nothing else."""
    assert cli.main(["list", what]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return {name: text.strip() for name, _, text in (r.partition(" ") for r in out.splitlines())}


def test_listing_what_is_built_in_imports_nothing() -> None:
    registry = Registry("thing", {"b": ("no.such.module:x", "does b"), "a": ("nor.this:y", "")})
    assert [(row.entry.name, row.summary, row.error) for row in registry.rows()] == [
        ("a", "", None),
        ("b", "does b", None),
    ]
    assert registry.find("b").target == "no.such.module:x"
    with pytest.raises(BenchError, match=r"thing 'b' \(no.such.module:x\) does not import"):
        registry.load("b")


@pytest.mark.parametrize("what", ["backbones", "datasets", "measures", "variants"])
def test_listing_loads_no_torch(what: str) -> None:
    code = (
        "import sys; from bench.cli import main; main(['list', sys.argv[1]]); "
        "sys.exit(f'torch is loaded' if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, what], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("plugins")
def test_entry_points_are_found_listed_and_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    rows = listed("backbones", capsys)
    assert rows["reg_net"] == "A net of one layer. [reg-plugins]"
    assert rows["reg_extra"] == "A class that builds. [reg-plugins]"
    assert listed("attacks", capsys)["reg_attack"] == "Turn the image upside down. [reg-plugins]"
    assert listed("measures", capsys)["reg_measure"] == "One number. [reg-plugins]"
    assert listed("datasets", capsys)["reg_data"] == "[reg-plugins]"
    entry = BACKBONES.find("reg_net")
    assert (entry.target, entry.source) == ("reg_plugins.nets:net", "reg-plugins")
    assert callable(BACKBONES.load("reg_net"))


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("reg_typo", "AttributeError: module 'reg_plugins.nets' has no attribute 'nett'"),
        ("reg_gone", "ModuleNotFoundError: No module named 'reg_no_such_module'"),
        ("reg_raises", "RuntimeError: needs version 7"),
        ("reg_exits", "SystemExit: no licence"),
    ],
)
def test_a_broken_plugin_is_a_row_with_its_error(
    name: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = listed("backbones", capsys)[name]
    assert row.startswith(f"ERROR: backbone '{name}' (reg_")
    assert row.endswith(f"does not import: {reason}")
    with pytest.raises(BenchError, match=reason.partition(":")[0]):
        BACKBONES.load(name)


@pytest.mark.usefixtures("plugins")
def test_a_built_in_name_cannot_be_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert listed("backbones", capsys)["lenet_fc"].startswith("LeNetFC")
    assert BACKBONES.find("lenet_fc").source == "built in"
    assert "lenet_fc" in BACKBONES.entries
    assert BACKBONES.entries["lenet_fc"].target == "arches:create"


@pytest.mark.usefixtures("plugins")
def test_a_plugin_is_suggested_like_anything_else() -> None:
    with pytest.raises(UnknownNameError, match="unknown backbone 'regnet'; did you mean 'reg_net'"):
        BACKBONES.find("regnet")


@pytest.mark.parametrize(
    ("kind", "wrong", "right"),
    [
        ("backbones", "resnet_32", "resnet32"),
        ("datasets", "cifar-10", "cifar10"),
        ("attacks", "additive_gauss", "additive_gaussian"),
        ("measures", "Accuracy", "accuracy"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(kind: str, wrong: str, right: str) -> None:
    registry = ALL[kind]
    text = f"^unknown {registry.kind} '{wrong}'; did you mean '{right}'\\?$"
    with pytest.raises(UnknownNameError, match=text):
        registry.find(wrong)


def test_a_name_unlike_any_lists_them_all() -> None:
    known = "known: accuracy, corruptions, efficiency, faithfulness, localization, robustness"
    with pytest.raises(UnknownNameError, match=known):
        MEASURES.find("xyz")


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("a:b", True), ("a.b.c:d.e", True), ("_a1:_b", True),
        ("a", False), ("a:", False), (":b", False), ("a b:c", False), ("a-b:c", False),
        ("a..b:c", False), ("a:b:c", False), ("", False), ("../a:b", False),
    ],
)  # fmt: skip
def test_what_a_target_looks_like(name: str, valid: bool) -> None:
    assert is_target(name) is valid


def test_a_target_is_found_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reg_here.py").write_text("class A:\n    b = 7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    assert load_target("reg_here:A.b") == 7
    assert ALL["backbones"].load("reg_here:A.b") == 7
    del sys.modules["reg_here"]
