"""The package as a whole: what it loads, what it leans on, and how short the rule is."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import arches

HOME = Path(arches.__file__).parent


def test_listing_names_loads_no_torch() -> None:
    code = (
        "import sys, arches; arches.names(); dict(arches.BACKBONES); dict(arches.VARIANTS); "
        "arches.receptive_fields('nin', 'td'); dir(arches); "
        "print(sorted({'torch', 'numpy', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HOME.parent
    )
    assert done.stdout.strip() == "[]"


def test_public_names_exist_and_are_documented() -> None:
    for name in arches.__all__:
        assert getattr(arches, name).__doc__, name
    assert set(arches.__all__) <= set(dir(arches))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = arches.nothing


def test_names_and_variants() -> None:
    assert arches.names() == ("lenet_fc", "nin_light", "nin", "resnet32", "resnet18_half")
    assert tuple(arches.VARIANTS) == ("bu", "td", "td_uni", "td_rev")
    assert tuple(arches.BACKBONES) == arches.names()


def test_package_knows_nothing_of_the_benchmark() -> None:
    for path in HOME.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            assert not any(module.split(".")[0] == "bench" for module in modules), path


def test_declarations_and_rule_are_short() -> None:
    rooms = ["declaration.py", "backbones.py", "bottomup.py", "topdown.py"]
    assert sum(len((HOME / room).read_text().splitlines()) for room in rooms) < 600


def test_rooms_are_small() -> None:
    for path in (*HOME.glob("*.py"), *HOME.glob("layers/*.py"), *HOME.glob("analysis/*.py")):
        source = path.read_text()
        assert len(source.splitlines()) <= 300, path.name
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path.name}: {node.name}"
