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
        ("[bu, td]", "[bu, lineer/bu]",
         "claims[1].against[1]: no backbone 'lineer' in this suite; did you mean 'linear'?"),
        ("numbers: accuracy/top1\n", "numbers: accuracy/top5\n",
         "claims[0].numbers: 'accuracy/top5' is no number that a measure gives; "
         "did you mean 'accuracy/top1'?"),
        ("numbers: [accuracy/top1]", "numbers: [accuracy/top1, accuracy]",
         "claims[1].numbers[1]: 'accuracy' is of no measure of this suite"),
        ("numbers: [accuracy/top1]", "numbers: [accuracy/top1, robustness/*/median_l2]",
         "claims[1].numbers: percentages and numbers of other units have no mean"),
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


SHARED = """\
claims:
  - {claim: Noise, numbers: robustness/gaussian_blur/loss, expect: lower, nets: '*'}
  - claim: Precise
    numbers: [localization/precision, 'robustness/*/area']
    expect: higher
    nets: ['*/linear/*', '*/nin_light/td']
    against: [bu, lenet_fc/bu, linear/bu]
  - {claim: Weakest, numbers: 'robustness/*/loss', expect: weakest input, inputs: [high, hihg]}
"""


def shared(tiny: Tiny, tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = SHARED
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "shared.yaml").write_text(text, encoding="utf-8")
    return tiny(("name: tiny", "name: tiny\nclaims: shared.yaml"))


def notes(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("note: claim")]


def test_what_a_shared_file_says_of_other_suites_is_noted(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = shared(tiny, tmp_path, ("inputs: [high, hihg]", "inputs: [high]"))
    wanted = [
        "note: claim 2: nothing here fits nets '*/nin_light/td'; against 'lenet_fc/bu'; "
        "numbers 'localization/precision'"
    ]
    assert main(["plan", str(suite), "--no-cost"]) == 0
    assert notes(capsys.readouterr().out) == wanted
    assert main(["run", str(suite), "--out", "run"]) == 0
    assert notes(capsys.readouterr().out) == wanted
    assert main(["run", str(suite), "--out", "run", "--quiet"]) == 0
    assert "note: claim" not in capsys.readouterr().out
    assert "nothing here fits" not in Path("run/leaderboard.md").read_text("utf-8")


def test_inputs_that_no_network_of_a_claim_has_are_noted(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shared.yaml").write_text(SHARED, encoding="utf-8")
    changes = (
        ("tiny_sets:blobs", "fashion-mnist-mini"),
        ("name: tiny", "name: tiny\nclaims: shared.yaml"),
        ("tiny_nets:linear", "{name: lenet_fc, label: linear}"),
    )
    suite = tiny(*changes, ("[bu]", "[bu, td]"))
    assert main(["plan", str(suite), "--no-cost"]) == 0
    found = notes(capsys.readouterr().out)
    assert [line for line in found if "claim 3" in line] == [
        "note: claim 3: nothing here fits inputs 'hihg'"
    ]
    assert main(["plan", str(tiny(*changes)), "--no-cost"]) == 0
    assert "note: claim 3: nothing here fits inputs 'high', 'hihg'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("gaussian_blur/loss", "gaussian_blur/los",
         "shared.yaml:2: claims[0].numbers: 'robustness/gaussian_blur/los' is no number that a "
         "measure gives; did you mean 'robustness/gaussian_blur/loss'?"),
        ("gaussian_blur/loss", "pgdd/loss", "did you mean 'robustness/pgd/loss'?"),
        ("[localization/precision,", "[localization/precison,",
         "shared.yaml:4: claims[1].numbers[0]: 'localization/precison' is no number"),
        ("'robustness/*/loss'", "robustnes/*/loss", "'robustnes/*/loss' is no number"),
        ("'*/nin_light/td'", "'*/nin_light/dt'",
         "shared.yaml:6: claims[1].nets[1]: '*/nin_light/dt' fits no dataset/backbone/variant"),
        ("lenet_fc/bu", "lenet_fb/bu",
         "shared.yaml:7: claims[1].against[1]: no backbone 'lenet_fb' in this suite, nor in one "
         "beside it; did you mean 'lenet_fc'?"),
        ("linear/bu", "linear/ub", "claims[1].against[2]: 'linear/ub' is not one of bu"),
    ],
)  # fmt: skip
def test_what_can_never_fit_is_a_mistake_in_a_shared_file_too(
    tiny: Tiny, tmp_path: Path, old: str, new: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(shared(tiny, tmp_path, (old, new))), "--no-cost"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_labels_of_suites_beside_it_are_known(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = shared(
        tiny, tmp_path, ("gaussian_blur/loss", "strong_blur/loss"), ("lenet_fc/bu", "mine/bu")
    )
    assert main(["plan", str(suite), "--no-cost"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    other = suite.read_text("utf-8").replace("{name: gaussian_blur,", "{name: spatial, label: x,")
    other = other.replace("[tiny_nets:linear]", "[{name: tiny_nets:linear, label: mine}]")
    other = other.replace("label: x, epsilons: 20", "label: strong_blur")
    (tmp_path / "other.yaml").write_text(other, encoding="utf-8")
    assert main(["plan", str(suite), "--no-cost"]) == 0
    found = notes(capsys.readouterr().out)
    assert found[0] == "note: claim 1: nothing here fits numbers 'robustness/strong_blur/loss'"
    assert "; against 'mine/bu'" in found[1]


def test_a_rival_may_have_its_name_or_its_label(tiny: Tiny) -> None:
    for rival in ("tiny_nets:linear/bu", "linear/bu"):
        suite = with_claims(tiny, ("against: [bu, td]", f"against: ['{rival}']"))
        assert read_suite(str(suite)).claims[1].against == ("linear/bu",)
        assert expand(read_suite(str(suite))).claims[1].against == ("linear/bu",)


def test_the_papers_claims_come_with_the_suites() -> None:
    """Of these suites the data need not be here, so the claims are read by themselves."""
    for name in ("paper", "paper-small"):
        path = shipped_suites()[name]
        found, problems, _ = read_claims(read(path), path.parent)
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
