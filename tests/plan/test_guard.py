"""What the plan says of inverted networks before anything is trained: refusals, costs, notes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from arches import support
from bench.cli import main
from bench.errors import BenchError
from bench.models import backbones

pytestmark = pytest.mark.usefixtures("briefly_timed")
ROOT = Path(__file__).parents[2]
DEAR, CHEAP, ISOTROPIC = "timm/mobilenetv3_small_100", "timm/test_efficientnet", "timm/test_vit"

Out = pytest.CaptureFixture[str]


def suite(folder: Path, backbone: str, variants: str, dataset: str = "mnist") -> str:
    path = folder / "suite.yaml"
    path.write_text(
        f"name: guarded\nseeds: [0]\ndatasets: [{dataset}]\nbackbones: [{backbone}]\n"
        f"variants: [{variants}]\nrecipe: {{batch_size: 4}}\nmeasures: [accuracy]\n",
        encoding="utf-8",
    )
    return str(path)


def at(size: int) -> str:
    return f"{{name: mnist, image_size: {size}}}"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_what_can_never_be_inverted_is_a_mistake_in_the_suite(tmp_path: Path, capsys: Out) -> None:
    file = suite(tmp_path, ISOTROPIC, "bu, td, td_uni")
    assert main(["plan", file, "--no-cost"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"{file}:4: backbones[0]: '{ISOTROPIC}' cannot be inverted (td, td_uni): isotropic: one "
        "resolution only, nothing to invert; for bu alone, give it `variants: [bu]`\n"
    )
    alone = suite(tmp_path, f"{{name: {ISOTROPIC}, variants: [bu]}}", "bu, td")
    assert main(["plan", alone, "--no-cost"]) == 0


def test_only_final_reasons_of_unchanged_models_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backbones.refusal(ISOTROPIC, ["td"], {})
    assert backbones.refusal(f"{ISOTROPIC}.r160_in1k", ["td"], {})
    assert backbones.refusal(ISOTROPIC, ["bu"], {}) is None
    assert backbones.refusal(ISOTROPIC, ["td"], {"model": {"depth": 3}}) is None
    assert backbones.refusal(ISOTROPIC, ["td"], {"stages": {"stages": []}}) is None
    assert backbones.refusal("timm/too_new", ["td"], {}) is None
    assert backbones.refusal("lenet_fc", ["td"], {}) is None
    row = support.Row("timm/x", "x", "conv", "td", support.UNSUPPORTED, "width: no such width")
    monkeypatch.setattr(support, "table", lambda: {"timm/x": {"td": row}})
    assert backbones.refusal("timm/x", ["td"], {}) is None


def test_listed_models_are_planned_without_their_library(tmp_path: Path) -> None:
    file = suite(tmp_path, f"{DEAR}, {CHEAP}", "bu, td")
    code = (
        "import sys; from bench.plan.check import read_suite; read_suite(sys.argv[1]); "
        "print('timm' in sys.modules)"
    )
    words = [sys.executable, "-c", code, file]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_a_library_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BenchError, match=r"timm does not import.*topdown-bench\[timm\]"):
        backbones.require(CHEAP)


@pytest.mark.parametrize("words", [["--no-cost"], []])
def test_the_plan_asks_for_a_yes(words: list[str], tmp_path: Path, capsys: Out) -> None:
    flops = support.find(DEAR)["td_rev"].flops
    file = suite(tmp_path, DEAR, "td_rev", at(64))
    assert main(["plan", file, *words]) == 2
    out, err = capsys.readouterr()
    assert f"  mnist/{DEAR}/td_rev: {flops:.0f} times the FLOPs of bu\n" in out
    assert err == (
        f"{file}:4: backbones[0]: mnist/{DEAR}/td_rev: costs {flops:.0f} times the FLOPs of bu; "
        "if that is meant, give the backbone `allow_cost: true`\n"
    )
    allowed = suite(tmp_path, f"{{name: {DEAR}, allow_cost: true}}", "td_rev", at(64))
    assert main(["plan", allowed, "--no-cost"]) == 0


def test_the_table_speaks_for_its_own_size_and_no_options(tmp_path: Path, capsys: Out) -> None:
    for file in (
        suite(tmp_path, DEAR, "td_rev", at(32)),
        suite(tmp_path, f"{{name: {DEAR}, merge: add}}", "td_rev", at(64)),
    ):
        assert main(["plan", file, "--no-cost"]) == 0
        assert "times the FLOPs" not in capsys.readouterr().out


FAILING = """
from torch import nn


class Net(nn.Linear):
    def forward(self, images):
        raise RuntimeError("no good")


def net(in_chans, num_classes):
    return Net(in_chans, num_classes)
"""
CUSTOM = """
from torch import nn

def net(in_chans, num_classes):
    return nn.Sequential(
        nn.Conv2d(in_chans, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, num_classes),
    )

def flat(in_chans, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_chans * 784, num_classes))

class Flat(nn.Module):
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.flat, self.extra = flat(in_chans, num_classes), nn.Linear(20, 50)

    def forward(self, x):
        return self.flat(x)
"""


def test_plugins_are_built_for_their_cost(tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "guarded_net.py").write_text(CUSTOM, encoding="utf-8")
    file = suite(tmp_path, "'guarded_net:net', 'guarded_net:flat'", "bu, td")
    assert main(["plan", file]) == 2
    out, err = capsys.readouterr()
    lines = out.splitlines()
    (line,) = (row for row in lines if row.startswith("  mnist/net/td: "))
    assert line.endswith(" times the activation memory of bu")
    assert " times the FLOPs and " in line
    (bare,) = (row for row in lines if row.startswith("  mnist/net/bu: "))
    assert "times" not in bare
    assert err == (
        f"{file}:4: backbones[1]: mnist/flat/td: backbone 'guarded_net:flat' (td): one resolution "
        "only, nothing to invert; for bu alone, give it `variants: [bu]`\n"
    )
    assert not any("not in it" in row for row in lines)


def test_parameters_that_are_not_used_are_told(tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "guarded_net.py").write_text(CUSTOM, encoding="utf-8")
    assert main(["plan", suite(tmp_path, "'guarded_net:Flat', 'guarded_net:flat'", "bu")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "not used" in line] == [
        "note: mnist/Flat/bu: not used in the forward pass: 2 parameters (extra.weight, "
        "extra.bias) of together 1,050 values, which bu has and a top-down variant has not"
    ]


SCORES = """
from torch import nn

def scores(in_chans, num_classes):
    return nn.Sequential(
        nn.Conv2d(in_chans, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, num_classes),
    )
"""


def test_a_head_that_is_another_is_told(tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "guarded_net.py").write_text(CUSTOM, encoding="utf-8")
    (tmp_path / "guarded_scores.py").write_text(SCORES, encoding="utf-8")
    names = "'guarded_net:net', 'guarded_scores:scores'"
    assert main(["plan", suite(tmp_path, names, "bu, td")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "head" in line] == [
        "note: mnist/scores/td: head: mean, dense; bu has AdaptiveAvgPool2d, flatten, dense, "
        "so the two differ in their heads, too"
    ]


def test_what_the_table_has_against_a_model_is_told(
    tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = ("timm/test_resnet", "resnet", "conv")
    rows = {
        "td": support.Row(*head, "td", support.UNSUPPORTED, "width: no such width"),
        "td_uni": support.Row(*head, "td_uni", support.NATIVE, "fixed size: 160", 160, 1.0, 2.0),
    }
    monkeypatch.setattr(support, "table", lambda: {head[0]: rows})
    assert main(["plan", suite(tmp_path, head[0], "td, td_uni"), "--no-cost"]) == 0
    start = f"note: mnist/{head[0]}"
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"{start}/td: the table of measured models has it as unsupported: width: no such width",
        f"{start}/td_uni: the table of measured models has it at 160 pixels only: fixed size: 160",
    ]


def test_a_plan_says_why_a_network_could_not_be_timed(tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "failing_net.py").write_text(FAILING, encoding="utf-8")
    file = suite(tmp_path, "'failing_net:net'", "bu")
    assert main(["plan", file]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = (row for row in lines if "not in it" in row)
    assert line.endswith("not in it: mnist/net/bu fails on random images: RuntimeError: no good")
