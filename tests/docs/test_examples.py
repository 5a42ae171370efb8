"""Suites of the pages are suites, and Python on them is Python."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from documents import ROOT, Block, all_blocks, blocks, commands, write_files

from bench import identity
from bench.cli import main

SUITES = ROOT / "docs" / "how-to" / "suites.md"
# What a fragment of a suite is put into.
BASE = {
    "name": "fragment",
    "seeds": [0],
    "datasets": ["fashion-mnist-mini", "mnist"],
    "backbones": ["lenet_fc"],
    "variants": ["bu", "td"],
    "measures": ["accuracy", "efficiency", {"robustness": {"attacks": ["shifts"]}}],
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, whose modules are found and forgotten again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    identity.code_fingerprint.cache_clear()
    yield tmp_path
    for name in set(sys.modules) - before:
        if (tmp_path / f"{name}.py").is_file():
            del sys.modules[name]
    identity.code_fingerprint.cache_clear()


def prepare(page: Path, folder: Path) -> None:
    """The page's files, and what its scripts make."""
    write_files(page, folder)
    for block in blocks(page):
        for words in commands(block) if block.language == "bash" and not block.not_run else ():
            if words[0] == "python" and (folder / words[1]).is_file():
                subprocess.run([sys.executable, words[1]], check=True, cwd=folder)


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=str)
def test_suites_can_be_planned(
    block: Block, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "torchattacks" in block.text and importlib.util.find_spec("torchattacks") is None:
        block = Block(block.page, block.line, "yaml", block.text.replace("torchattacks:CW", "fgsm"))
    prepare(block.page, place)
    given = yaml.safe_load(block.text)
    suite = given if "name" in given else BASE | given
    Path("planned.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    code = main(["plan", "planned.yaml", "--no-cost"])
    out, err = capsys.readouterr()
    assert code == 0, err
    assert "cells: 0 done, 0 failed" in out


def test_a_suites_mistakes_look_as_the_page_says(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (suite,) = (one.text for one in blocks(SUITES) if one.file == "my_suite.yaml")
    wrong = suite.replace("[fashion-mnist-mini]", "[fashion-mnist-mni]")
    wrong = wrong.replace("{lr: 0.05}", "{lrr: 1}")
    Path("my_suite.yaml").write_text(wrong, encoding="utf-8")
    assert main(["plan", "my_suite.yaml"]) == 2
    (shown,) = (one.text for one in blocks(SUITES) if "did you mean" in one.text)
    assert capsys.readouterr().err.strip() == shown.strip()


@pytest.mark.parametrize("block", all_blocks("python"), ids=str)
def test_python_is_python(block: Block) -> None:
    compile(block.text, str(block), "exec")


class _Frame(dict[str, object]):
    """What the page asks of pandas' DataFrame: columns of one dimension and one length."""

    def __init__(self, columns: dict[str, object]) -> None:
        assert {np.ndim(values) for values in columns.values() if not isinstance(values, list)} <= {
            1
        }, "Per-column arrays must each be 1-dimensional"
        assert len({len(values) for values in columns.values()}) == 1  # type: ignore[arg-type]
        super().__init__(columns)

    def assign(self, **more: object) -> _Frame:
        self.update(more)
        return self


def test_results_of_each_image_are_read_as_the_page_says(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an attack of fixed strength, too, which has a column of several values."""
    attack = "{name: pgd, epsilons: [0.1, 0.2], steps: 1}"
    suite = BASE | {
        "datasets": [{"name": "fashion-mnist-mini", "train_samples": 20, "test_samples": 20}],
        "variants": ["bu"],
        "recipe": {"epochs": 1, "batch_size": 10, "validation": 0, "bn_momentum": 0.1},
        "measures": [{"robustness": {"attacks": [yaml.safe_load(attack)], "samples": 10}}],
    }
    Path("suite.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    assert main(["run", "suite.yaml", "--out", "runs/tour", "--quiet"]) == 0
    pandas = types.SimpleNamespace(DataFrame=_Frame, concat=lambda frames, **_: frames)
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    page = blocks(ROOT / "docs" / "how-to" / "runs.md")
    (code,) = (one.text for one in page if "import pandas" in one.text)
    names: dict[str, Any] = {}
    exec(code.replace("robustness/gaussian_blur", "robustness/pgd"), names)
    (frame,) = names["images"]
    assert {"index", "prediction", "l2", "linf", "l0", "robust", "seed"} <= set(frame)
    assert all(len(values) == 2 for values in frame["robust"])


@pytest.mark.parametrize("block", all_blocks("toml"), ids=str)
def test_toml_is_toml(block: Block) -> None:
    tomllib.loads(block.text)


def test_every_block_says_what_it_is() -> None:
    known = {"bash", "python", "toml", "yaml", "text"}
    strangers = [str(one) for one in all_blocks("", "sh", "console", "shell", "yml", "py")]
    assert not strangers
    assert {one.language for one in all_blocks(*known)} == known


@pytest.mark.slow
def test_a_page_runs_from_top_to_bottom_with_short_trainings(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process; the slow tests run all pages as they stand, each command in its own."""
    from bench.suite.load import shipped_suites

    short = shipped_suites()["quickstart"].read_text(encoding="utf-8")
    Path("quickstart").write_text(short.replace("epochs: 10", "epochs: 1"), encoding="utf-8")
    ran = 0
    for block in blocks(ROOT / "docs" / "how-to" / "runs.md"):
        for program, *words in commands(block) if block.language == "bash" else ():
            assert program == "bench"
            assert main(words) == 0, (words, capsys.readouterr())
            ran += 1
    assert ran >= 5
    table = Path("runs/tour.csv").read_text(encoding="utf-8")
    assert table.startswith("dataset,backbone,variant")
