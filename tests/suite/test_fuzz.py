"""Whatever stands in a file, it is a suite or it is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from malformed import GOOD

from bench.errors import BenchError
from bench.plan.check import CheckedSuite, read_suite
from bench.plan.expand import expand
from bench.suite.yaml_tree import SuiteError

few = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PIECES = [
    *GOOD.splitlines(keepends=True),
    *"[]{}:,-?&*!|>'\"%@`#~=<\n\t ",
    *("&a", "*a", "<<: *a", "---\n", "!!set ", "!!bool ", "!!timestamp ", "!x ", "  - ", "? "),
    *("0", "1e3", "-.inf", ".nan", "yes", "null", "2024-01-01", "1:30", "0x1F", "1_000", "'", '"'),
    *("recipe", "augment: ", "overrides:\n", "match: '*'\n", "weights: ", "\\x00", "\u2028", "é"),
]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["mnist", "lenet_fc", "td", "accuracy", "gaussian_blur", "json:loads", "a:b"]),
)
KEYS = [
    "name",
    "label",
    "weights",
    "datasets",
    "recipe",
    "match",
    "attacks",
    "lr",
    "augment",
    "crop",
]
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def attempt(file: Path, content: bytes) -> CheckedSuite | None:
    """Read it; a refusal must be well-formed, and any other exception is a bug."""
    file.write_bytes(content)
    try:
        found = read_suite(str(file))
    except SuiteError as error:
        well_formed(file, error)
    except BenchError as error:
        named(file, error)
    else:
        assert expand(found).cells
        return found
    return None


def well_formed(file: Path, error: SuiteError) -> None:
    """Every problem is one printable line with a place in the file, in order."""
    lines = str(error).split("\n")
    assert len(lines) == len(error.problems) > 0
    numbers = [int(line.removeprefix(f"{file}:").split(":")[0]) for line in lines]
    assert numbers == sorted(numbers)
    # Whatever YAML takes for a line break, and one more for what is found missing at the end.
    breaks = len(file.read_text("utf-8", errors="replace").splitlines())
    assert 1 <= numbers[0] <= numbers[-1] <= breaks + 1
    assert all(line.isprintable() and "Error(" not in line for line in lines)


def named(file: Path, error: BenchError) -> None:
    assert str(file) in str(error)


@few
@given(content=st.binary(max_size=60))
def test_bytes(tmp_path: Path, content: bytes) -> None:
    attempt(tmp_path / "suite.yaml", content)


@few
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=25))
def test_pieces_of_yaml(tmp_path: Path, pieces: list[str]) -> None:
    attempt(tmp_path / "suite.yaml", "".join(pieces).encode())


@few
@given(at=st.integers(0, len(GOOD)), length=st.integers(0, 12), new=st.sampled_from([*PIECES, ""]))
def test_a_good_suite_with_a_slip(tmp_path: Path, at: int, length: int, new: str) -> None:
    attempt(tmp_path / "suite.yaml", (GOOD[:at] + new + GOOD[at + length :]).encode())


@few
@given(data=st.data())
def test_a_good_suite_with_another_value_somewhere(tmp_path: Path, data: st.DataObject) -> None:
    tree = yaml.safe_load(GOOD)
    tree["overrides"] = [{"match": "*", "recipe": {"lr": 0.1, "augment": {"flip": 0.5}}}]
    place = tree
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(values)
    text = yaml.safe_dump(tree, sort_keys=False)
    found = attempt(tmp_path / "suite.yaml", text.encode("utf-8", "surrogatepass"))
    if found is not None:
        assert found.suite.seeds
        assert found.suite.name


@pytest.mark.parametrize("depth", [100, 1_000, 10_000])
@pytest.mark.parametrize("piece", ["[", "{a: ", "- ", "? ", "[*a, &a ", "!!set {", "'"])
def test_deep_nests(piece: str, depth: int, tmp_path: Path) -> None:
    assert attempt(tmp_path / "suite.yaml", f"name: x\nseeds:\n  {piece * depth}".encode()) is None
