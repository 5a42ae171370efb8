"""The plugin package of docs/: built, installed in an environment of its own, and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUITE = """\
name: with-plugin
seeds: [0]
datasets: [{name: fashion-mnist-mini, train_samples: 600, test_samples: 100}]
backbones: [two_convs]
variants: [bu, td]
recipe: {epochs: 1, lr: 0.05}
measures: [accuracy, confidence]
"""


def shown_files() -> dict[str, str]:
    """The code blocks of its page that carry a file name in a first-line comment."""
    text = (ROOT / "docs" / "how-to" / "own-backbone.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:toml|python)\n# (my_nets/\S+)\n(.*?)```", text, re.DOTALL)
    return dict(blocks)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment that sees this one's packages (torch is 5 GB) and the project."""
    folder = tmp_path_factory.mktemp("plugin")
    venv = folder / "venv"
    # Of the packages that it sees is pip, if this environment has it.
    bare = ["--without-pip"] if find_spec("pip") else []
    subprocess.run([sys.executable, "-m", "venv", *bare, str(venv)], check=True)
    site = next((venv / "lib").glob("python*/site-packages"))
    here = sysconfig.get_paths()["purelib"]
    (site / "outer.pth").write_text(f"{here}\n{ROOT}\n", encoding="utf-8")
    return venv


def call(venv: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(venv / "bin" / "python"), *words],
        cwd=venv.parent,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_plugin_is_built_installed_and_run(environment: Path) -> None:
    files = shown_files()
    assert set(files) == {"my_nets/pyproject.toml", "my_nets/my_nets.py"}
    assert len(files["my_nets/my_nets.py"].strip().splitlines()) <= 25
    source = environment.parent / "my_nets"
    source.mkdir()
    for name, text in files.items():
        (environment.parent / name).write_text(text, encoding="utf-8")
    built = call(environment, "-m", "build", "--wheel", "--no-isolation", "my_nets")
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (source / "dist").glob("*.whl")
    installed = call(environment, "-m", "pip", "install", "--no-deps", "--no-index", str(wheel))
    assert installed.returncode == 0, installed.stderr
    listed = call(environment, "-m", "bench", "list", "backbones")
    assert re.search(r"two_convs +Two convolutions.*\[my-nets\]", listed.stdout), listed.stdout
    (environment.parent / "suite.yaml").write_text(SUITE, encoding="utf-8")
    done = call(environment, "-m", "bench", "run", "suite.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    page = (environment.parent / "runs/with-plugin/leaderboard.md").read_text(encoding="utf-8")
    assert "| two_convs | bu |" in page
    assert "| two_convs | td |" in page
    assert "two_convs (my-nets 1.0, source:" in page


def test_a_broken_plugin_is_a_row_not_a_crash(environment: Path) -> None:
    site = next((environment / "lib").glob("python*/site-packages"))
    info = site / "broken_nets-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-nets\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bench.backbones]\nbroken = broken_nets:make\n")
    (site / "broken_nets.py").write_text("import a_package_nobody_has\n")
    listed = call(environment, "-m", "bench", "list", "backbones")
    assert listed.returncode == 0
    assert re.search(r"broken +ERROR: .*No module named 'a_package_nobody_has'", listed.stdout)
    assert "lenet_fc" in listed.stdout
    assert "Traceback" not in listed.stderr
