"""Suites, weights and results of strangers are data: nothing of theirs is ever executed."""

from __future__ import annotations

import ast
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from bench.cli import main
from bench.errors import BenchError
from bench.models import weights
from bench.suite.yaml_tree import SuiteError, Tree

Tiny = Callable[..., Path]
ROOT = Path(__file__).parents[2]
# What runs text or bytes as code; `importlib` is how plugins are found, and tested on its own.
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "input"}
FORBIDDEN_MODULES = {
    "pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code", "runpy",
}  # fmt: skip
FORBIDDEN_ATTRIBUTES = {
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.Loader", "yaml.UnsafeLoader",
    "yaml.FullLoader", "os.system", "os.popen",
}  # fmt: skip


# A network on its way to a process of its own, in a folder that only this user can enter.
OUR_OWN = {
    "bench/measures/cost/resident.py: pickle",
    "bench/measures/cost/resident.py: torch.load without weights_only=True",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in ("bench", "arches", "leaderboard", "suites"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def offences(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in FORBIDDEN_MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module.split(".")[0] in FORBIDDEN_MODULES:
                yield node.module
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in FORBIDDEN_ATTRIBUTES:
            yield ast.unparse(node)
        elif isinstance(node, ast.Call):
            yield from _call(node)


def _call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    given = {word.arg: ast.unparse(word.value) for word in node.keywords}
    if name in FORBIDDEN_CALLS:
        yield name
    if name == "torch.load" and given.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
    if name in ("np.load", "numpy.load") and given.get("allow_pickle", "False") != "False":
        yield "numpy.load with pickles"
    if given.get("shell", "False") != "False":
        yield f"{name} by a shell"


def test_no_source_runs_data() -> None:
    found = {f"{name}: {offence}" for name, tree in sources() for offence in offences(tree)}
    assert found == OUR_OWN


LOAD = "torch.load"


@pytest.mark.parametrize(
    "text",
    [
        "eval(x)", "import pickle", "from marshal import loads", f"{LOAD}(p)", "yaml.load(t)",
        "os.system(x)", "subprocess.run(x, shell=True)", "np.load(p, allow_pickle=True)",
        f"{LOAD}(p, weights_only=False)", "exec(compile(x, '', 'exec'))",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_is_for(text: str) -> None:
    assert list(offences(ast.parse(text)))


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("how", ["torch", "pickle", "legacy"])
@pytest.mark.parametrize("name", ["net.pt", "net.safetensors", "net.ckpt"])
def test_a_checkpoint_with_code_is_refused(how: str, name: str, tmp_path: Path) -> None:
    file, mark = tmp_path / name, tmp_path / "mark"
    if how == "pickle":
        file.write_bytes(pickle.dumps({"state_dict": Bomb(mark)}))
    else:
        old = how == "legacy"
        torch.save({"state_dict": Bomb(mark)}, file, _use_new_zipfile_serialization=not old)
    with pytest.raises(BenchError, match=str(file)) as caught:
        weights.read(file)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.mkdir [mark]",
        "!!python/name:os.mkdir",
        "!!python/module:os",
        "!!python/object/new:os.mkdir [mark]",
        "!!python/tuple [1, 2]",
        "!<tag:yaml.org,2002:python/object/apply:os.mkdir> [mark]",
    ],
)
def test_yaml_that_asks_for_objects_is_refused(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tree_problems = []
    try:
        tree_problems = Tree("suite.yaml", f"name: x\nseeds: {value}\n").problems
    except SuiteError as error:
        tree_problems = list(error.problems)
    assert any("is not allowed; suites are plain data" in str(p) for p in tree_problems)
    assert not Path("mark").exists()


OUTSIDE = ("../out", "/tmp/out", "a/../../out", "..", "a\\..\\out", "~/out", "out\0", "a//b")


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: tiny", "name: {}"),
        ("[tiny_nets:linear]", "[{{name: tiny_nets:linear, label: {}}}]"),
        ("[tiny_sets:blobs]", "[{{name: tiny_sets:blobs, label: {}}}]"),
        ("{name: gaussian_blur, epsilons: 20}", "{{name: gaussian_blur, label: {}}}"),
    ],
)
def test_names_in_a_suite_cannot_leave_the_run_directory(
    name: str, old: str, new: str, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(Path())
    quoted = '"' + name.replace("\\", "\\\\").replace("\0", "\\0") + '"'
    assert main(["run", str(tiny((old, new.format(quoted))))]) == 2
    error = capsys.readouterr().err
    assert "suite.yaml:" in error
    assert "Traceback" not in error
    assert everything(Path()) - before <= {Path("suite.yaml")}


def everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_a_plugin_is_only_what_somebody_named(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name is looked up among installed packages' entry points; a module is imported only for
    `module:attribute`, never because a file happens to have a suite's word for a name."""
    Path("mine.py").write_text("open('mark', 'w').close()\n", encoding="utf-8")
    for old, word in (("[tiny_nets:linear]", "[mine]"), ("[tiny_sets:blobs]", "[mine]"),
                      ("- accuracy", "- mine"), ("name: gaussian_blur", "name: mine")):  # fmt: skip
        assert main(["plan", str(tiny((old, word))), "--no-cost"]) == 2
        assert "unknown" in capsys.readouterr().err
    assert not Path("mark").exists()
    for word in ("mine:a()", "mine:a;b", "mine: a", "os:system('x')", "mine:__import__('os')"):
        main(["plan", str(tiny(("[tiny_nets:linear]", f"[{word!r}]"))), "--no-cost"])
        assert not Path("mark").exists()


SPOKEN = """
class Loud(nn.Module):
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.net = linear(in_chans, num_classes)
    def forward(self, x):
        if self.training is TRAINING:
            raise RuntimeError("\\x1b]0;owned\\x07\\x1b[2J red\\x1b[31m \\u202e back")
        return self.net(x)
"""


@pytest.mark.parametrize("flag", ["--quiet", "--verbose", None])
def test_no_error_commands_the_terminal(
    flag: str | None, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("tiny_nets.py", "a", encoding="utf-8") as stream:
        stream.write(SPOKEN.replace("TRAINING", "True"))
    words = [flag] if flag else []
    assert main(["run", str(tiny(("tiny_nets:linear", "tiny_nets:Loud"))), *words]) == 1
    said = capsys.readouterr()
    assert "owned" in said.err
    assert all(c.isprintable() or c == "\n" for c in said.out + said.err)
    page = Path("runs/tiny/leaderboard.md").read_text("utf-8")
    assert all(c.isprintable() or c in "\n\u00a0" for c in page)
    Path("early_nets.py").write_text(
        Path("tiny_nets.py").read_text("utf-8").replace("is True", "is False"), encoding="utf-8"
    )
    suite = tiny(("tiny_nets:linear", "early_nets:Loud"), name="early.yaml")
    assert main(["run", str(suite), *words]) == 2  # before it is trained
    said = capsys.readouterr()
    assert "owned" in said.err
    assert all(c.isprintable() or c == "\n" for c in said.out + said.err)
    assert main(["plan", "\x1b[2Jnone.yaml"]) == 2
    assert "\x1b" not in capsys.readouterr().err
