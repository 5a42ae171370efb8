"""Claims in a suite: their shapes, their mistakes, and their way to the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main
from bench.plan.check import read_suite
from bench.plan.expand import expand
from bench.suite.claims import read_claims
from bench.suite.load import shipped_suites
from bench.suite.yaml_tree import read

Tiny = Callable[..., Path]
LIST = """\
measures:
  - accuracy
claims:
  - claim: On par
    numbers: accuracy/top1
    expect: not lower
    margin: 1
  - {claim: Noise, numbers: [accuracy/top1], expect: higher, nets: 'blobs/*', against: [bu, td]}
"""


def with_claims(tiny: Tiny, *changes: tuple[str, str]) -> Path:
    text = LIST
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return tiny(
        ("measures:\n  - accuracy\n", text.partition("claims:")[0] + "  - PLACE\n"),
        ("  - PLACE\n", ""),
        ("name: tiny\n", "name: tiny\nclaims:" + text.partition("claims:")[2]),
    )


def test_a_list_and_a_file_say_the_same(tiny: Tiny, tmp_path: Path) -> None:
    listed = read_suite(str(with_claims(tiny)))
    (tmp_path / "shared.yaml").write_text(LIST.partition("- accuracy\n")[2], encoding="utf-8")
    named = read_suite(str(tiny(("name: tiny", "name: tiny\nclaims: shared.yaml"))))
    assert listed.claims == named.claims
    first, second = listed.claims
    assert (first.numbers, first.nets, first.against) == (("accuracy/top1",), ("*",), ("bu",))
    assert (second.nets, second.against, second.margin) == (("blobs/*",), ("bu", "td"), 0.0)
    assert read_suite(str(tiny())).claims == ()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("not lower", "equal", "claims[0].expect: 'equal' is not one of higher, lower"),
        ("margin: 1", "margn: 1", "claims[0].margn: unknown key 'margn'; did you mean 'margin'?"),
        ("margin: 1", "margin: -1", "claims[0].margin: must be at least 0"),
        ("numbers: accuracy/top1\n", "numbers: acuracy/top1\n",
         "claims[0].numbers: 'acuracy/top1' is of no measure of this suite; it has accuracy"),
        ("'blobs/*'", "'mnist/*'", "claims[1].nets: 'mnist/*' fits no dataset/backbone/variant"),
        ("[bu, td]", "[bu, dt]", "claims[1].against[1]: 'dt' is not one of bu"),
        ("[bu, td]", "[bu, linear/dt]", "claims[1].against[1]: 'linear/dt' is not one of bu, td"),
        ("[bu, td]", "[bu, /td]", "claims[1].against[1]: '/td' is not one of bu, td, td_uni"),
        ("expect: higher", "expect: weakest input", "claims[1]: `inputs: [high]`"),
        ("numbers: [accuracy/top1]", "numbers: []", "claims[1].numbers"),
        ("claim: On par\n    ", "", "claims[0].claim: is missing"),
    ],
)  # fmt: skip
def test_mistakes_name_their_line(
    tiny: Tiny, old: str, new: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = with_claims(tiny, (old, new))
    assert main(["plan", str(suite), "--no-cost"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "suite.yaml:" in error
    assert "Traceback" not in error


def test_mistakes_of_a_shared_file_name_that_file(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shared.yaml").write_text("claims:\n  - {claim: x, expect: higher}\n", "utf-8")
    for name, said in (
        ("shared.yaml", "shared.yaml:2: claims[0].numbers: is missing"),
        ("nowhere.yaml", "suite.yaml:2: claims: "),
        (
            "3",
            "suite.yaml:2: claims: must be a list of claims or the name of a file",
        ),
    ):
        suite = tiny(("name: tiny", f"name: tiny\nclaims: {name}"))
        assert main(["plan", str(suite), "--no-cost"]) == 2
        assert said in capsys.readouterr().err


def test_the_papers_claims_come_with_the_suites() -> None:
    """Of these suites the data need not be here, so the claims are read by themselves."""
    for name in ("paper", "paper-small"):
        path = shipped_suites()[name]
        found, problems = read_claims(read(path), path.parent)
        assert (len(found), problems) == (11, [])
        assert all(claim.source for claim in found)


def test_claims_change_no_cell_and_reach_the_page(tiny: Tiny) -> None:
    changes = (
        ("tiny_sets:blobs", "{name: fashion-mnist-mini, train_samples: 100, test_samples: 40}"),
        ("tiny_nets:linear", "lenet_fc"),
        ("[bu]", "[bu, td]"),
        ("seeds: [0]", "seeds: [0, 1]"),
        ("epochs: 2, batch_size: 20, lr: 0.05", "epochs: 1, batch_size: 20, bn_momentum: 0.1"),
    )
    plain = tiny(*changes)
    assert main(["run", str(plain), "--out", "run", "--quiet"]) == 0
    page = Path("run/leaderboard.md")
    assert "What reproduces" not in page.read_text("utf-8")
    claims = (
        "claims:\n  - {claim: Robust, numbers: robustness/*/loss, expect: lower, nets: '*/td'}\n"
    )
    cells = {cell.identity for cell in expand(read_suite(str(plain))).cells}
    more = tiny(*changes, ("measures:", claims + "measures:"))
    assert {cell.identity for cell in expand(read_suite(str(more))).cells} == cells
    assert main(["run", str(more), "--out", "run", "--quiet"]) == 0
    text = page.read_text("utf-8")
    assert "| 1 | Robust |" in text.partition("## What reproduces")[2]
