"""`bench describe`: any network by depth, its options, and the stages it is cut into."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from families import needs_timm

import arches
from bench.cli import main
from bench.errors import BenchError
from bench.models import backbones, stages
from bench.plan.check import read_suite
from bench.plan.expand import expand

Out = pytest.CaptureFixture[str]

NETS = '''
from torch import nn

def net(in_chans, num_classes, width=8):
    """Two strided convolutions."""
    return nn.Sequential(
        nn.Conv2d(in_chans, width, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(2 * width, 4 * width, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, num_classes),
    )

def deep(in_chans, num_classes, stages=2):
    """Has stages of its own."""
    return net(in_chans, num_classes, width=stages)

def keyed(*numbers, width=8):
    """Its option comes by name alone."""
    return net(*numbers, width=width)

def loose(in_chans, num_classes, **more):
    """Takes anything."""
    return net(in_chans, num_classes, **more)

def flat(in_chans, num_classes):
    """One resolution."""
    return nn.Sequential(nn.Conv2d(in_chans, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))

def broken(in_chans, num_classes):
    raise RuntimeError("no such layer")

number = 7
'''
TD = "describe_nets:net@td"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "describe_nets.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "describe_nets", raising=False)
    return tmp_path


def said(capsys: Out, *words: str) -> str:
    capsys.readouterr()
    assert main(["describe", *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def as_json(capsys: Out, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said(capsys, *words, "--json"))
    return found


def test_a_module_of_ones_own_against_its_bottom_up_network(capsys: Out) -> None:
    found = as_json(capsys, TD)
    assert (found["name"], found["variant"]) == ("describe_nets:net", "td")
    assert found["scales"] == [2, 4]
    plain = as_json(capsys, "describe_nets:net")
    assert found["baseline"] == plain["totals"] == plain["baseline"]
    network = backbones.build("describe_nets:net", "td", 3, 10, {}, 32)
    assert found["totals"]["parameters"] == sum(p.numel() for p in network.parameters())
    assert as_json(capsys, TD) == found, "the same weights are described each time"
    text = said(capsys, TD)
    assert text.startswith("describe_nets:net@td (inverted by the rule): 3 x 32 x 32 to 10 classes")
    assert "bottom-up" in text
    assert "effective field" in text


def test_a_label_of_a_suite_is_its_backbone_with_its_options_and_images(
    capsys: Out, folder: Path
) -> None:
    text = """
name: labelled
seeds: [0]
datasets: [fashion-mnist-mini, {name: cifar10, label: other}]
backbones:
  - {name: lenet_fc, label: net_01, merge: add}
  - {name: "describe_nets:net", label: mine, width: 4, datasets: [other]}
variants: [bu, td]
recipe: {epochs: 1}
measures: [accuracy]
"""
    (folder / "labelled.yaml").write_text(text, encoding="utf-8")
    suite = ("--suite", "labelled.yaml", "--no-fields")
    found = as_json(capsys, "net_01@td", *suite)
    size = ("--image-size", "28", "--in-chans", "1", "--no-fields")
    plain = as_json(capsys, "lenet_fc@td", *size, "--option", "merge=add")
    assert found == {**plain, "name": "net_01"}
    assert said(capsys, "net_01@td", *suite).startswith("net_01@td")
    assert as_json(capsys, "net_01@td", *suite, "--option", "merge=concat") != found
    assert as_json(capsys, "net_01@td", *suite, "--image-size", "32") != found
    other = as_json(capsys, "mine@td", *suite)
    wide = as_json(capsys, TD, "--option", "width=4", "--no-fields")
    assert other == {**wide, "name": "mine"}
    for word, reason in (("net_02", "did you mean 'net_01'?"), ("lenet", "known: mine")):
        assert main(["describe", word, *suite]) == 2
        assert f"--suite labelled.yaml: has no backbone '{word}'; {reason}" in (
            capsys.readouterr().err
        )
    assert main(["describe", "net_01@td"]) == 2
    assert "'net_01'; " in (error := capsys.readouterr().err)
    assert error.endswith(" (for a label of a suite add --suite SUITE)\n")


def test_options_are_those_of_a_suite(capsys: Out) -> None:
    wide = as_json(capsys, TD, "--option", "width=4", "--option", "finest=1", "--no-fields")
    assert wide["scales"] == [1, 2, 4]
    assert [row["width"] for row in wide["rows"] if row["name"] == "t4"] == [16]
    assert wide["features"] == []
    assert wide["fields"] == ""
    added = as_json(capsys, "lenet_fc@td", "--option", "merge=add", "--no-fields")
    assert not any(row["name"].endswith("fuse") for row in added["rows"])


def test_what_is_described_is_what_a_suite_builds(capsys: Out) -> None:
    options = {"small_stem": True, "merge_width": 6, "width": 4}
    words = [word for key, value in options.items() for word in ("--option", f"{key}={value}")]
    for variant in ("bu", "td"):
        found = as_json(capsys, f"describe_nets:net@{variant}", *words, "--no-fields")
        network = backbones.build("describe_nets:net", variant, 3, 10, options, 32)
        assert found["totals"]["parameters"] == sum(p.numel() for p in network.parameters())
        assert network(torch.rand(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("timm/test_resnet@td", marks=needs_timm),
        pytest.param("timm/test_convnext", marks=needs_timm),
        "torchvision/squeezenet1_1@td_uni",
    ],
)
def test_models_of_libraries(name: str, capsys: Out) -> None:
    found = as_json(capsys, name, "--no-fields")
    assert found["name"] == name.partition("@")[0]
    assert sum(row["parameters"] for row in found["rows"]) == found["totals"]["parameters"]
    assert found["baseline"]["flops"] > 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("torchvision/resnet81@td", "torchvision has no model 'resnet81'; did you mean 'resnet18'"),
        ("torchvision/resnet18@up", "unknown variant 'up'"),
        ("torchvision/resnet18@td --image-size 4", "images of 4 pixels have no 4 different"),
        ("describe_nets:flat@td", "one resolution only, nothing to invert"),
        ("describe_nets:flat --stages", "one resolution only, nothing to invert"),
        ("describe_nets:broken@td", "cannot be built: RuntimeError: no such layer"),
        ("describe_nets:number", "is not callable"),
        ("describe_nets:absent", "does not import"),
        ("describe_nets:net --image-size 0", "image_size must be a whole number"),
        (f"{TD} --option finest=3", "unknown finest '3'. Choose from: stage, 2, 1"),
        (
            f"{TD} --option widht=4",
            "--option widht=4: unknown option 'widht'; did you mean 'width'?",
        ),
        (f"{TD} --option layers=3", "unknown option 'layers'; known: "),
        (f"{TD} --option in_chans=3", "unknown option 'in_chans'; "),
        (f"{TD} --option finest", "--option finest: write KEY=VALUE"),
        (f"{TD} --option finest=[1", "[1 is no value in YAML"),
        (f"{TD} --option stages=absent.yaml", "absent.yaml: no stages there: No such file"),
        (f"{TD} --option stages=describe_nets.py", "describe_nets.py: "),
        (f"{TD} --option stages=3", "stages: must be a file's path or what"),
        (f"{TD} --stages --option stages=x", "no stages there"),
        ("lenet_fc --option merg=add", "unknown option 'merg'; did you mean 'merge'"),
        ("lenet_fc --option width=[2]", "width must be a whole number of at least 1"),
        ("torchvision/resnet18 --option blur_sigma=x", "cannot be 'x'"),
        ("torchvision/resnet18 --option stage=x", "did you mean 'stages'"),
        ("lenet_fc --option stages=x", "unknown option 'stages'; known: "),
        ("lenet_fc --stages", "'lenet_fc' is the paper's own: its stages are declared"),
    ],
)
def test_mistakes_are_one_line(words: str, reason: str, capsys: Out) -> None:
    assert main(["describe", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert reason in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("name", ["describe_nets:net", "torchvision/squeezenet1_1"])
def test_stages_are_printed_and_taken_back(name: str, folder: Path, capsys: Out) -> None:
    (folder / "cut.yaml").write_text(said(capsys, name, "--stages"), encoding="utf-8")
    (folder / "cut.json").write_text(said(capsys, name, "--stages", "--json"), encoding="utf-8")
    plain = as_json(capsys, f"{name}@td", "--no-fields")
    for file in ("cut.yaml", "cut.json"):
        again = as_json(capsys, f"{name}@td", "--no-fields", "--option", f"stages={file}")
        assert again == plain
    content = yaml.safe_load((folder / "cut.yaml").read_text(encoding="utf-8"))
    assert arches.Stages.parse(content).as_dict() == content
    content["stages"].pop()
    (folder / "cut.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    cut = as_json(capsys, f"{name}@td", "--no-fields", "--option", "stages=cut.yaml")
    assert cut["scales"] == plain["scales"][:-1]


SUITE = """\
name: cut
seeds: [0]
datasets: [fashion-mnist-mini]
backbones:
  - {{name: 'describe_nets:net', {given}}}
variants: [td]
recipe: {{epochs: 1, lr: 0.05, bn_momentum: 0.1}}
measures: [accuracy]
"""


def written(folder: Path, given: str) -> str:
    path = folder / "suite.yaml"
    path.write_text(SUITE.format(given=given), encoding="utf-8")
    return str(path)


def identity(folder: Path, given: str) -> str:
    return expand(read_suite(written(folder, given))).cells[0].identity


def test_stages_in_a_suite_count_by_their_content(folder: Path, capsys: Out) -> None:
    text = said(capsys, "describe_nets:net", "--stages", "--in-chans", "1")
    (folder / "one.yaml").write_text(text, encoding="utf-8")
    (folder / "sub").mkdir()
    (folder / "sub" / "two.yml").write_text(f"# another comment\n{text}", encoding="utf-8")
    content = yaml.safe_load(text)
    inline = json.dumps(content["stages"])
    full = json.dumps(content)
    ways = [identity(folder, f"stages: {way}") for way in ("one.yaml", "sub/two.yml", full)]
    assert len(set(ways)) == 1
    # A list alone leaves stem and tail to what they are by default.
    assert identity(folder, f"stages: {inline}") != ways[0]
    assert identity(folder, "width: 8") != ways[0]
    content["stages"].pop()
    (folder / "one.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    assert identity(folder, "stages: one.yaml") != ways[0]
    training = expand(read_suite(written(folder, "stages: one.yaml"))).cells[0].training
    network = backbones.build(training.backbone.name, "td", 1, 10, training.backbone.options, 28)
    assert isinstance(network, arches.InvertedNetwork)
    assert network.scales == (2,)


def test_a_run_with_edited_stages(folder: Path, capsys: Out) -> None:
    content = yaml.safe_load(said(capsys, "describe_nets:net", "--stages", "--in-chans", "1"))
    content["stages"].pop()
    (folder / "cut.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    suite = written(folder, "stages: cut.yaml")
    assert main(["run", suite]) == 0
    assert "| net | td |" in Path("runs/cut/leaderboard.md").read_text(encoding="utf-8")


def test_a_plugins_own_stages_are_its_own(folder: Path) -> None:
    name = "describe_nets:deep"
    assert not backbones.takes_stages(name)
    assert stages.resolved(name, {"stages": 3}, folder) == {"stages": 3}
    found = backbones.build(name, "td", 3, 10, {"stages": 3}, 32)
    assert isinstance(found, arches.InvertedNetwork)
    assert found.stages.stages[-1].width == 12


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no stages there: No such file"),
        ("stages: [", "while parsing"),
        ("just text", "must be a file's path or what"),
        ("{}", "Stages needs the key 'stages'"),
        ("stages: []", "at least one stage"),
        ("stages: text", "at least one stage"),
        ("[{reduction: 2, in_width: 8, modules: [a]}]", "Stage needs the key 'width'"),
        ("[{reduction: 2, in_width: 8, width: 8, modules: a}]", "must be a list of paths"),
        ("[{reduction: 2, in_width: 8, width: 8, modules: [1]}]", "must be a list of paths"),
        ("[{reduction: 2, in_width: 8, width: 8, modls: [a]}]", "Did you mean 'modules'"),
        ("[{reduction: x, in_width: 8, width: 8, modules: [a]}]", "reduction must be a whole"),
        ("[3]", "a stage must be a mapping"),
    ],
)
def test_files_without_stages_are_told_with_their_place(
    content: str | None, reason: str, folder: Path, capsys: Out
) -> None:
    if content is not None:
        (folder / "cut.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(BenchError, match=r"cut\.yaml"):
        stages.read("cut.yaml", folder)
    suite = written(folder, "stages: cut.yaml")
    assert main(["plan", suite, "--no-cost"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{suite}:5: backbones[0].stages: ")
    assert reason in line


def test_a_misspelled_option_of_a_plugin_is_found_in_a_suite(folder: Path, capsys: Out) -> None:
    suite = folder / "own.yaml"
    suite.write_text(
        "name: own\nseeds: [0]\ndatasets: [fashion-mnist-mini]\nbackbones:\n"
        "  - {name: describe_nets:keyed, width: 4, blur_sigma: 1.0}\n"
        "  - {name: describe_nets:loose, width: 4}\n"
        "  - {name: describe_nets:net, widht: 4}\n"
        "recipe: {epochs: 1}\nmeasures: [accuracy]\n"
    )
    assert main(["plan", str(suite), "--no-cost"]) == 2
    said = capsys.readouterr().err
    place = f"{suite}:7: backbones[2].widht: "
    assert said == f"{place}unknown option 'widht'; did you mean 'width'?\n"


IN_TERMINALS = """
import sys, termios
from bench.cli import main
for columns in sys.argv[1:]:
    termios.tcsetwinsize(1, (24, int(columns)))
    assert main(["describe", "describe_nets:net@td"]) == 0
    print("=====", flush=True)
"""


def test_tables_fit_the_terminal(
    folder: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing wraps there; what is piped is the same whatever the terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)
    sizes = (80, 90)
    words = [sys.executable, "-c", IN_TERMINALS, *map(str, sizes)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    ours, theirs = pty.openpty()
    with subprocess.Popen(words, stdout=theirs, stdin=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # that is how a terminal says that nobody writes to it any more
            while part := os.read(ours, 4096):
                shown += part
    os.close(ours)
    assert process.returncode == 0
    *tables, end = shown.decode().split("=====\r\n")
    assert end == ""
    for columns, text in zip(sizes, tables, strict=True):
        assert columns - 10 < max(map(len, text.splitlines())) <= columns
    assert max(map(len, said(capsys, "describe_nets:net@td").splitlines())) > 90
