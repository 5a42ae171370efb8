"""What the README shows is what happens."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bench.cli import build_parser, main

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SUITE = re.search(r"```yaml\n(# my_suite\.yaml\n.*?)```", README, re.DOTALL)


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    assert SUITE is not None
    return SUITE[1]


def test_its_suite_is_a_suite(suite: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my_suite.yaml").write_text(suite, encoding="utf-8")
    assert main(["plan", "my_suite.yaml", "--no-cost"]) == 0
    assert "40 cells: 0 done, 0 failed, 40 to do" in capsys.readouterr().out


def test_its_mistakes_look_as_it_says(suite: str, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = suite.replace("[fashion-mnist-mini]", "[fashion-mnist-mni]").replace(
        "{lr: 0.05}", "{lrr: 1}"
    )
    Path("my_suite.yaml").write_text(wrong, encoding="utf-8")
    assert main(["plan", "my_suite.yaml"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said == re.findall(r"^    (my_suite\.yaml:\d+: .*)$", README, re.MULTILINE)


def commands() -> list[str]:
    return re.findall(r"^    \.venv/bin/python -m bench (.*)$", README, re.MULTILINE)


def test_there_are_commands() -> None:
    assert len(commands()) >= 6


@pytest.mark.parametrize("words", commands())
def test_its_commands_are_commands(words: str) -> None:
    build_parser().parse_args(shlex.split(words))


def test_its_tour_runs(suite: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All commands of the tour, in order; the trainings shortened."""
    from bench.suite.load import shipped_suites

    short = shipped_suites()["quickstart"].read_text(encoding="utf-8")
    Path("quickstart").write_text(short.replace("epochs: 10", "epochs: 1"), encoding="utf-8")
    for words in commands():
        assert main(shlex.split(words)) == 0, words
    assert Path("runs/tour.csv").read_text(encoding="utf-8").startswith("dataset,backbone,variant")
