"""`bench baseline`, `check` and `compare` on runs of a tiny suite."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.cli import main
from bench.store import seals

Tiny = Callable[..., Path]
Ran = Callable[..., None]
Out = pytest.CaptureFixture[str]


ROBUSTNESS = "  - robustness: {attacks: [{name: gaussian_blur, epsilons: 20}], samples: 20}\n"
# A measure of one's own, one of whose numbers is not there for every seed.
SOMETIMES = """
import os
from bench.measures.base import Measure
from leaderboard.results import MetricInfo

def run(context):
    found = {"always": 1.0 + context.seed, "often": 2.0 + context.seed}
    if context.seed and os.environ.get("LESS"):
        del found["often"]
    return found

INFO = MetricInfo(title="x", better="higher", headline=True)
MEASURE = Measure("mine", run, metrics={"always": INFO, "often": INFO})
"""


def sql(run: Path, statement: str) -> None:
    """Change what was measured, as if it had been measured so: with its seals."""
    with sqlite3.connect(run / "results.sqlite") as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.executescript(statement)
        connection.execute("DELETE FROM metrics WHERE identity NOT IN (SELECT identity FROM cells)")
        connection.execute("DELETE FROM seals")
        seals.seal_all(connection)
    connection.close()


def changed(run: Path, statement: str) -> Path:
    """A copy of a run with something changed in it."""
    copy = run.with_name(f"changed{len(list(run.parent.iterdir()))}")
    shutil.copytree(run, copy)
    sql(copy, statement)
    return copy


@pytest.fixture
def made(tiny: Tiny, ran: Ran, tmp_path: Path, capsys: Out) -> tuple[Path, Path]:
    """A run of a tiny suite with two seeds, and its baseline."""
    suite = tiny(("seeds: [0]", "seeds: [0, 1]"))
    run, baseline = tmp_path / "runs" / "one", tmp_path / "baseline.json"
    ran(suite, run)
    assert main(["baseline", str(run), "--out", str(baseline)]) == 0
    capsys.readouterr()
    return run, baseline


@pytest.mark.parametrize(
    "text", ["name: tiny\n", '{"format": "topdown-bench baseline", "version": 9}', "{}"]
)
def test_what_is_no_baseline_is_not_written_over(
    made: tuple[Path, Path], tmp_path: Path, text: str, capsys: Out
) -> None:
    """And the line does not advise what was just tried."""
    path = tmp_path / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    assert main(["baseline", str(made[0]), "--out", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"--out {path}: is there already")
    assert error.endswith("remove it or name another file\n")
    assert len(error.splitlines()) == 1
    assert path.read_text(encoding="utf-8") == text


def test_the_gate_from_end_to_end(made: tuple[Path, Path], tmp_path: Path, capsys: Out) -> None:
    run, baseline = made
    text = baseline.read_bytes()
    assert main(["baseline", str(run), "--out", str(baseline)]) == 0
    assert baseline.read_bytes() == text  # the same run, the same bytes
    capsys.readouterr()

    def check(run: Path) -> int:
        reports = ("--json", "c.json", "--junit", "c.xml", "--markdown", "c.md")
        return main(["check", str(run), "--baseline", str(baseline), *reports])

    assert check(run) == 0
    assert "pass (2 pass)" in capsys.readouterr().out
    worse = "UPDATE metrics SET value = value - 40 WHERE metric = 'top1'"
    assert check(changed(run, worse)) == 1
    assert "REGRESSION (1 regression, 1 pass)" in capsys.readouterr().out
    missing = "DELETE FROM cells WHERE name LIKE '%/seed1/robustness%'"
    assert check(changed(run, missing)) == 4
    assert "seed 1: never reached" in capsys.readouterr().out
    root = ET.parse(tmp_path / "c.xml").getroot()
    assert [case.get("name") for case in root.iter("testcase") if len(case)] == [
        "robustness/gaussian_blur/area"
    ]
    read = json.loads((tmp_path / "c.json").read_text())
    assert (read["exit"], read["result"]) == (4, "not measured")
    assert "not measured" in (tmp_path / "c.md").read_text()
    failed = (
        "UPDATE cells SET status = 'failed', error_kind = 'RuntimeError', error = 'no layer' "
        "WHERE name LIKE '%/seed0/accuracy'"
    )
    assert check(changed(run, failed)) == 4
    assert "seed 0: failed: RuntimeError: no layer" in capsys.readouterr().out
    assert check(changed(run, "DELETE FROM cells; DELETE FROM metrics")) == 4
    assert "nothing was measured" in capsys.readouterr().out
    assert main(["baseline", str(changed(run, missing)), "--out", "x.json"]) == 2
    assert "finish the run first" in capsys.readouterr().err
    assert not Path("x.json").exists()


def test_a_baseline_of_an_unfinished_run_holds_what_is_in_it(
    made: tuple[Path, Path], tmp_path: Path, capsys: Out
) -> None:
    """Two seeds of accuracy, one of the attack."""
    run, _ = made
    part = changed(run, "DELETE FROM cells WHERE name LIKE '%/seed1/robustness%'")
    baseline = tmp_path / "part.json"
    assert main(["baseline", str(part), "--out", str(baseline), "--partial"]) == 0
    said = f"{baseline}  (failed, missing or damaged cells, not in it: 1)\n"
    assert capsys.readouterr().out == said
    words = ["--baseline", str(baseline), "--json", str(tmp_path / "c.json")]
    for one in (part, run):  # the same seeds, or one more
        assert main(["check", str(one), *words]) == 0, capsys.readouterr().out
    worse = "UPDATE metrics SET value = value - 40 WHERE metric = 'top1'"
    assert main(["check", str(changed(run, worse)), *words]) == 1
    gone = "DELETE FROM cells WHERE name LIKE '%/seed0/robustness%'"
    assert main(["check", str(changed(run, gone)), *words]) == 4
    assert "seed 0: never reached" in capsys.readouterr().out


def test_the_same_run_tells_nothing_of_chance(
    made: tuple[Path, Path], tiny: Tiny, tmp_path: Path, capsys: Out
) -> None:
    run, _ = made
    copy, other, out = tmp_path / "copy", tmp_path / "runs" / "other", tmp_path / "b.json"
    shutil.copytree(run, copy)
    part = changed(run, "DELETE FROM cells WHERE name LIKE '%/seed1/robustness%'")
    suite = tiny(("seeds: [0]", "seeds: [2, 3]"))
    assert main(["run", str(suite), "--out", str(other), "--quiet"]) == 0
    wrong = [(run,), (copy,), (part,), (other, other), (other, copy)]
    for noise in wrong:
        capsys.readouterr()
        words = ["baseline", str(run), "--out", str(out), "--noise-from", *map(str, noise)]
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"--noise-from {noise[-1]}: the same results as "), line
        assert not out.exists()
    # Seeds of its own beside the same ones.
    suite = tiny(("seeds: [0]", "seeds: [1, 2]"))
    overlap = tmp_path / "runs" / "overlap"
    assert main(["run", str(suite), "--out", str(overlap), "--quiet"]) == 0
    again = changed(run, "UPDATE metrics SET value = value - 1 WHERE metric = 'top1'")
    for noise in [(other,), (overlap,), (again,), (other, again)]:
        words = ["baseline", str(run), "--out", str(out), "--noise-from", *map(str, noise)]
        assert main(words) == 0, capsys.readouterr().err


def test_trainings_that_were_taken_over_tell_nothing_of_chance(tiny: Tiny, capsys: Out) -> None:
    """Only timings are new in a run beside another; and noise of another experiment is another."""
    timed = ("  - accuracy\n", "  - accuracy\n  - efficiency: {seconds: 0.01, resident: false}\n")
    for name, old, new in (
        ("base", "seeds: [0]", "seeds: [0, 1]"),
        ("again", "seeds: [0]", "seeds: [0, 1]"),
        ("more", "seeds: [0]", "seeds: [0, 1, 2, 3]"),
        ("edited", "lr: 0.05", "lr: 0.06"),
        ("bare", timed[1], timed[0]),
    ):
        suite = tiny(timed, (old, new))
        assert main(["run", str(suite), "--out", f"runs/{name}", "--quiet"]) == 0

    def line(*others: str) -> str:
        capsys.readouterr()
        noise = [f"runs/{name}" for name in others]
        assert main(["baseline", "runs/base", "--out", "b.json", "--noise-from", *noise]) == 2
        return capsys.readouterr().err.strip()

    words = ["baseline", "runs/base", "--out", "b.json", "--noise-from", "runs/again"]
    assert main(words) == 0
    said = "the same trainings as runs/base: only its timings tell of noise"
    assert capsys.readouterr().err == f"note: --noise-from runs/again: {said}\n"
    noise = json.loads(Path("b.json").read_text())["noise"]
    assert {one[6] for one in noise["seeds"] if one[4] in ("top1", "area")} == {1}
    assert len(noise["timed"]) == 1
    assert line("edited") == (
        "--noise-from runs/edited: another experiment, whose noise may be another: recipe.lr is "
        "0.05 in runs/base, 0.06 in runs/edited"
    )
    assert "measures.efficiency is in runs/base only" in line("bare")
    words = ["baseline", "runs/base", "--out", "b.json", "--noise-from", "runs/more"]
    assert main(words) == 0
    noise = json.loads(Path("b.json").read_text())["noise"]["seeds"]
    freedom = {one[3]: one[6] for one in noise if one[4] in ("top1", "area")}
    # One of the seeds 0 and 1, one of 2 and 3: those that were taken over count once.
    assert freedom == {"accuracy": 2, "robustness/gaussian_blur": 2}


def test_seeds_that_a_baseline_lacks_are_no_part_of_the_means(
    made: tuple[Path, Path], tmp_path: Path, capsys: Out
) -> None:
    run, _ = made
    # Two seeds that are well apart, so that their mean is neither's value.
    of_one = "identity IN (SELECT identity FROM cells WHERE name LIKE '%/seed1/accuracy')"
    run = changed(run, f"UPDATE metrics SET value = value - 20 WHERE {of_one}")
    part = changed(run, "DELETE FROM cells WHERE name LIKE '%/seed1/%' AND name NOT LIKE '%/train'")
    baseline, report = tmp_path / "part.json", tmp_path / "c.json"
    assert main(["baseline", str(part), "--out", str(baseline), "--partial"]) == 0
    assert main(["check", str(run), "--baseline", str(baseline), "--json", str(report)]) == 0
    read = json.loads(report.read_text())
    assert len(read["findings"]) == 2
    for one in read["findings"]:
        assert one["before"] == one["after"]
        assert one["reason"] == "identical for every seed in common"
    assert read["notes"] == [
        "seed 1 is not in the baseline: blobs/linear/bu/accuracy top1 and 1 more; "
        "what is shown is over the seeds that both have"
    ]
    capsys.readouterr()
    assert main(["check", str(part), "--baseline", str(baseline)]) == 0
    out = capsys.readouterr().out
    assert "not in the baseline" not in out
    assert "identical for every seed\n" in out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lr: 0.05", "lr: 0.06", "recipe.lr is 0.05 in the baseline, 0.06 in the run"),
        ("seeds: [0, 1]", "seeds: [0, 2]", "seeds[1] is 1 in the baseline, 2 in the run"),
        ("samples: 20", "samples: 30", "measures.robustness.samples is 20"),
        (
            "attacks: [{name: gaussian_blur, epsilons: 20}]",
            "attacks: [{name: gaussian_blur, epsilons: 20}, shifts]",
            "measures.robustness.attacks has shifts in the run only",
        ),
        (
            "attacks: [{name: gaussian_blur, epsilons: 20}]",
            "attacks: [{name: gaussian_blur, epsilons: 20}, {name: shifts, max_shift: 2}]",
            "measures.robustness.attacks has {name: shifts, max_shift: 2} in the run only",
        ),
    ],
)
def test_a_stale_baseline_is_refused(
    made: tuple[Path, Path], old: str, new: str, said: str, capsys: Out
) -> None:
    run, baseline = made
    other = changed(run, f"UPDATE facts SET value = replace(value, '{old}', '{new}')")
    junit = run.parent / "stale.xml"
    assert main(["check", str(other), "--baseline", str(baseline), "--junit", str(junit)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "stale" in err
    assert said in err
    case = ET.parse(junit).getroot().find("testsuite/testcase/error")
    assert case is not None
    assert said in case.get("message", "")


@pytest.mark.parametrize(("match", "stale"), [("*/later/*", False), ("*/linear/*", True)])
def test_overrides_count_for_the_networks_of_the_baseline(
    made: tuple[Path, Path], match: str, stale: bool, capsys: Out
) -> None:
    """A board that grows gets overrides for networks that came later."""
    run, baseline = made
    new = f'overrides: [{{match: "{match}", recipe: {{lr: 0.2}}}}]\nmeasures:'
    other = changed(run, f"UPDATE facts SET value = replace(value, 'measures:', '{new}')")
    code = main(["check", str(other), "--baseline", str(baseline)])
    assert ("stale" in capsys.readouterr().err) == stale
    assert (code == 2) == stale


def test_limits_of_the_page_leave_a_baseline_valid(made: tuple[Path, Path], capsys: Out) -> None:
    """They change what areas are shown, and nothing that was measured."""
    run, baseline = made
    new = "samples: 20, limits: {gaussian_blur: 3}"
    other = changed(run, f"UPDATE facts SET value = replace(value, 'samples: 20', '{new}')")
    assert main(["check", str(other), "--baseline", str(baseline)]) == 0
    assert capsys.readouterr().err == ""


def test_which_images_were_attacked_is_written_once(made: tuple[Path, Path]) -> None:
    """And where an older file says it of every attack, it is read from there."""
    run, baseline = made
    read = json.loads(baseline.read_text())
    (images,) = read["subsets"]
    attacks = [one for net in read["networks"] for one in net["attacked"].values()]
    assert len(attacks) > 1
    for one in attacks:
        assert one.pop("subset") == 0
        one["index"] = images
    older = {key: value for key, value in read.items() if key != "subsets"} | {"version": 1}
    baseline.write_text(json.dumps(older))
    assert main(["check", str(run), "--baseline", str(baseline)]) == 0
    attacks[0]["index"] = images[:-8]
    baseline.write_text(json.dumps(older))
    assert main(["check", str(run), "--baseline", str(baseline)]) == 2


def test_other_test_images_are_another_experiment(made: tuple[Path, Path], capsys: Out) -> None:
    run, baseline = made
    read = json.loads(baseline.read_text())
    next(iter(read["experiment"]["datasets"].values()))["test_labels"] = "another"
    baseline.write_text(json.dumps(read))
    assert main(["check", str(run), "--baseline", str(baseline)]) == 2
    assert "test_labels is another in the baseline" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "not a baseline"),
        ('{"format": "topdown-bench baseline", "version": 9}', "format version 9"),
        ('{"format": "topdown-bench baseline", "version": 1}', "damaged"),
    ],
)
def test_what_is_no_baseline(
    made: tuple[Path, Path], text: str, said: str, tmp_path: Path, capsys: Out
) -> None:
    (tmp_path / "bad.json").write_text(text)
    assert main(["check", str(made[0]), "--baseline", "bad.json"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("bad.json: ")
    assert said in err
    assert err.count("\n") == 1
    assert main(["check", str(made[0]), "--baseline", str(made[0])]) == 2
    assert "is a folder, not a baseline file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("thresholds", "said"),
    [
        ({"acuracy/top1": {"delta": 1}}, "did you mean 'accuracy/top1'?"),
        ({"accuracy/top1": {"delta": -1}}, "delta must be a number above 0"),
        ({"accuracy/top1": {"deltas": 1}}, "unknown key 'deltas'"),
        ({"accuracy/top1": {"delta": 1, "relative": 0.1}}, "not both"),
        ({"accuracy/top1": {"reference": "a/b/c"}}, "no reference 'a/b/c'"),
        (
            {"accuracy/top1": {"reference": "blobs/linear/bu"}},
            "'accuracy/top1': a reference divides speeds, and it fits none",
        ),
    ],
)
def test_wrong_thresholds(
    made: tuple[Path, Path], thresholds: object, said: str, capsys: Out
) -> None:
    run, baseline = made
    read = json.loads(baseline.read_text())
    baseline.write_text(json.dumps({**read, "thresholds": thresholds}))
    assert main(["check", str(run), "--baseline", str(baseline)]) == 2
    assert said in capsys.readouterr().err


def test_thresholds_of_a_suite_are_checked_by_line(tiny: Tiny, capsys: Out) -> None:
    suite = tiny()
    text = suite.read_text()
    suite.write_text(text + "gate:\n  acuracy/top1: {delta: 1}\n  accuracy/top1: {dleta: 1}\n")
    assert main(["plan", str(suite), "--no-cost"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    line = text.count("\n") + 2
    assert f":{line}: gate.acuracy/top1: fits no number" in first
    assert f":{line + 1}: gate.accuracy/top1.dleta: unknown key 'dleta'; did you" in second
    suite.write_text(text + "gate:\n  accuracy/*: {reference: blobs/linear/bu}\n")
    assert main(["plan", str(suite), "--no-cost"]) == 2
    where = f":{line}: gate.accuracy/*.reference: "
    assert (
        f"{where}a reference divides speeds, and 'accuracy/*' fits none" in capsys.readouterr().err
    )
    suite.write_text(text + "gate:\n  accuracy/top1: {delta: 1}\n  robustness/*: {delta: 1}\n")
    assert main(["plan", str(suite), "--no-cost"]) == 0


def test_compare(made: tuple[Path, Path], capsys: Out) -> None:
    run, baseline = made
    assert main(["compare", str(baseline), str(run)]) == 0
    assert "0 worse, 0 better, 0 inconclusive, 2 the same; 0 added, 0 removed" in (
        capsys.readouterr().out
    )
    other = changed(run, "DELETE FROM planned WHERE measure = 'accuracy'")
    assert main(["compare", str(run), str(other), "--format", "json", "--out", "c.json"]) == 0
    read = json.loads(Path("c.json").read_text())
    assert [name.rpartition("/")[2] for name in read["removed"]] == ["accuracy top1"]
    assert read["gone"] == []
    assert [change["verdict"] for change in read["changes"]] == ["equivalent"]
    other = changed(run, "DELETE FROM cells WHERE name LIKE '%/accuracy'")
    assert main(["compare", str(run), str(other), "--format", "json", "--out", "c.json"]) == 0
    read = json.loads(Path("c.json").read_text())
    assert read["removed"] == []
    assert read["gone"] == ["blobs/linear/bu/accuracy top1 (never reached)"]


def named(labels: list[str]) -> tuple[tuple[str, str], ...]:
    """Changes to the tiny suite: two seeds, and its backbone under these labels."""
    backbones = "".join(f"{{name: 'tiny_nets:linear', label: {label}}}, " for label in labels)
    return ("seeds: [0]", "seeds: [0, 1]"), ("[tiny_nets:linear]", f"[{backbones}]")


@pytest.mark.parametrize("of_baseline", [False, True])
def test_another_label_is_not_another_network(
    of_baseline: bool, made: tuple[Path, Path], tiny: Tiny, ran: Ran, capsys: Out
) -> None:
    run, baseline = made
    other = run.with_name("other")
    ran(tiny(*named(["flat"]), name="flat.yaml"), other)
    assert main(["compare", str(baseline if of_baseline else run), str(other)]) == 0
    out = capsys.readouterr().out.replace("\\", "")
    assert "- ⚠ linear before is flat after: the same network under another label" in out
    assert "0 worse, 0 better, 0 inconclusive, 2 the same; 0 added, 0 removed" in out
    assert main(["compare", str(other), str(run)]) == 0
    assert "- ⚠ flat before is linear after: " in capsys.readouterr().out.replace("\\", "")


def test_of_two_labels_for_one_network_each_goes_with_one(
    made: tuple[Path, Path], tiny: Tiny, ran: Ran, capsys: Out
) -> None:
    run, _ = made
    other = run.with_name("other")
    ran(tiny(*named(["flat", "level"]), name="twice.yaml"), other)
    assert main(["compare", str(run), str(other)]) == 0
    out = capsys.readouterr().out.replace("\\", "")
    assert out.count("the same network under another label") == 1
    assert "2 the same; 2 added, 0 removed" in out
    assert "- blobs/level/bu/accuracy top1" in out


def test_another_network_under_another_label_stays_another(
    made: tuple[Path, Path], tiny: Tiny, ran: Ran, capsys: Out
) -> None:
    run, _ = made
    other = run.with_name("other")
    ran(tiny(*named(["flat"]), ("lr: 0.05", "lr: 0.04"), name="flat.yaml"), other)
    assert main(["compare", str(run), str(other)]) == 0
    out = capsys.readouterr().out
    assert "under another label" not in out
    assert "0 the same; 2 added, 2 removed" in out


WORSE = "UPDATE metrics SET value = value - 30 WHERE metric = 'top1';"
RENAMED = (
    "note  linear in the baseline is flat in the run: the same network under another label",
    "note  linear in the baseline is flat in the run: both are tiny_nets:linear, which is taken "
    "for the same backbone under another label",
)


def check(run: Path, baseline: Path, capsys: Out) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["check", str(run), "--baseline", str(baseline)])
    told = capsys.readouterr()
    return code, told.out + told.err


@pytest.mark.parametrize("retrained", [False, True])
def test_the_gate_knows_a_backbone_by_another_label(
    retrained: bool, made: tuple[Path, Path], tiny: Tiny, ran: Ran, capsys: Out
) -> None:
    run, baseline = made
    rules = "gate: {'*/flat/bu/accuracy/top1': {delta: 40}}\nmeasures:"
    other = run.with_name("other")
    ran(tiny(*named(["flat"]), ("measures:", rules), name="flat.yaml"), other)
    if retrained:  # on another machine, after another edit
        sql(
            other,
            """UPDATE cells SET facts = json_set(facts, '$.network', 'other' || identity),
            name = name WHERE name LIKE '%/train' OR name LIKE '%/accuracy'""",
        )
    code, out = check(other, baseline, capsys)
    assert code == 0, out
    assert RENAMED[retrained] in out.splitlines()
    assert "blobs/linear/bu/accuracy top1  " in out
    assert "not measured" not in out
    sql(other, WORSE)
    code, out = check(other, baseline, capsys)
    assert (code, "allowed -40" in out) == (0, True), "its threshold is that of its new label"
    worse = run.with_name("worse")
    ran(tiny(*named(["flat"]), name="flat.yaml"), worse)
    sql(worse, WORSE)
    code, out = check(worse, baseline, capsys)
    assert code == 1
    assert out.startswith("✗ regression    blobs/linear/bu/accuracy top1  100 % -> 70 %, ")


def test_overrides_of_a_renamed_backbone_are_those_of_the_old_one(
    tiny: Tiny, ran: Ran, capsys: Out
) -> None:
    rules = "overrides: [{{match: '*/{}/bu', recipe: {{lr: {}}}}}]\nmeasures:"
    for name, label, lr in (("a", "linear", 0.04), ("b", "flat", 0.04), ("c", "flat", 0.03)):
        override = "measures:", rules.format(label, lr)
        ran(tiny(*named([label]), override, name="suite.yaml"), Path(f"runs/{name}"))
    baseline = Path("baseline.json")
    assert main(["baseline", "runs/a", "--out", str(baseline)]) == 0
    assert check(Path("runs/b"), baseline, capsys)[0] == 0
    code, out = check(Path("runs/c"), baseline, capsys)
    assert code == 2
    assert "stale: overrides" in out


def test_two_backbones_are_known_by_other_labels_at_once(tiny: Tiny, ran: Ran, capsys: Out) -> None:
    rules = """overrides:
      - {{match: '*/{}/bu', recipe: {{lr: 0.04}}}}
      - {{match: '*/{}/bu', recipe: {{lr: 0.06}}}}
    measures:""".replace("\n    ", "\n")
    text = Path("tiny_nets.py").read_text(encoding="utf-8")
    Path("tiny_nets.py").write_text(text + "\ndef second(*a, **k): return linear(*a, **k)\n")
    for name, one, two in (("a", "x", "y"), ("b", "p", "q")):
        nets = (
            f"[{{name: tiny_nets:linear, label: {one}}}, {{name: tiny_nets:second, label: {two}}}]"
        )
        override = "measures:", rules.format(one, two)
        ran(tiny(("[tiny_nets:linear]", nets), override, name="suite.yaml"), Path(f"runs/{name}"))
    sql(Path("runs/b"), "UPDATE cells SET facts = json_set(facts, '$.network', 'x' || identity)")
    assert main(["baseline", "runs/a", "--out", "baseline.json"]) == 0
    code, out = check(Path("runs/b"), Path("baseline.json"), capsys)
    assert code == 3, out  # a single seed tells nothing of accuracy; 2 would be stale
    assert "not measured" not in out
    assert out.count("under another label") == 2


def test_a_backbone_under_another_name_is_told_to_be_so(
    made: tuple[Path, Path], tiny: Tiny, ran: Ran, capsys: Out
) -> None:
    run, baseline = made
    text = Path("tiny_nets.py").read_text(encoding="utf-8").replace("linear", "layered")
    Path("tiny_nets.py").write_text(text + "\n# edited\n", encoding="utf-8")
    other = run.with_name("other")
    ran(tiny(*named([])[:1], ("tiny_nets:linear", "tiny_nets:layered")), other)
    code, out = check(other, baseline, capsys)
    if "under another label" in out:  # the same weights: it is known by these
        sql(other, "UPDATE cells SET facts = json_set(facts, '$.network', 'x' || identity)")
        code, out = check(other, baseline, capsys)
    assert code == 4
    assert "blobs/linear/bu/accuracy top1  the run has no backbone linear\n" in out
    assert (
        "note  linear is in the baseline only, layered in the run only; if that is the same "
        "backbone under another name, `label: linear` in the suite has it compared\n" in out
    )


def test_noise_of_a_run_with_other_labels_counts(
    made: tuple[Path, Path], tiny: Tiny, ran: Ran, capsys: Out
) -> None:
    run, baseline = made
    other = run.with_name("other")
    flat = named(["flat"])
    ran(tiny(("seeds: [0]", "seeds: [2, 3]"), flat[1], name="flat.yaml"), other)
    assert main(["baseline", str(run), "--out", str(baseline), "--noise-from", str(other)]) == 0
    seeds = json.loads(baseline.read_text(encoding="utf-8"))["noise"]["seeds"]
    assert {line[-1] for line in seeds} == {2}, "degrees of freedom"
    assert {line[1] for line in seeds} == {"linear"}


def test_another_network_under_the_same_label_is_told(
    made: tuple[Path, Path], tiny: Tiny, ran: Ran, capsys: Out
) -> None:
    run, baseline = made
    other = run.with_name("other")
    own = "[{name: 'tiny_nets:linear', label: linear, side: 12}]"
    ran(tiny(*named([])[:1], ("[tiny_nets:linear]", own)), other)
    out = check(other, baseline, capsys)[1]
    assert (
        "note  backbone linear is tiny_nets:linear in the baseline, {name: tiny_nets:linear, "
        "side: 12} in the run\n" in out
    )


def damaged(run: Path, name: str) -> Path:
    """A copy of a run in which the arrays of a cell are damaged."""
    copy = run.with_name(f"damaged{len(list(run.parent.iterdir()))}")
    shutil.copytree(run, copy)
    with sqlite3.connect(run / "results.sqlite") as connection:
        rows = connection.execute("SELECT file FROM cells WHERE name LIKE ?", (name,)).fetchall()
    for (file,) in rows:
        (copy / file).write_bytes((copy / file).read_bytes()[:-1])
    return copy


@pytest.mark.parametrize("seeds", ["seed1", "seed%"])
@pytest.mark.parametrize(
    ("measure", "metric"), [("robustness/gaussian_blur", "area"), ("accuracy", "top1")]
)
def test_what_is_damaged_was_not_measured(
    measure: str, metric: str, seeds: str, made: tuple[Path, Path], capsys: Out
) -> None:
    run, baseline = made
    broken = damaged(run, f"%/{seeds}/{measure}")
    assert main(["check", str(broken), "--baseline", str(baseline)]) == 4
    assert "damaged (its checksum is not the recorded one)" in capsys.readouterr().out
    there = "" if seeds == "seed%" else "seed 1: "
    for sides, where in (((run, broken), ""), ((broken, run), "before, ")):
        assert main(["compare", *map(str, sides)]) == 0
        lines = capsys.readouterr().out.splitlines()
        same = 1 if seeds == "seed%" else 2
        assert f"0 inconclusive, {same} the same; 0 added, 0 removed, 1 not measured" in lines[2]
        said = lines[lines.index("**Not measured**") + 2].replace("\\", "")
        assert said.startswith(
            f"- blobs/linear/bu/{measure} {metric} ({where}{there}{broken}/arrays/"
        )
        assert said.endswith(".safetensors: damaged (its checksum is not the recorded one))")
    assert main(["baseline", str(broken), "--out", "new.json"]) == 2
    assert " failed, missing or damaged (" in capsys.readouterr().err


def test_a_number_that_its_measure_did_not_give_for_a_seed_is_told(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    """`check` tells it, so `compare` must not say that all was measured."""
    Path("mine.py").write_text(SOMETIMES)
    suite = tiny(("seeds: [0]", "seeds: [0, 1]"), (ROBUSTNESS, "  - mine:MEASURE\n"))
    assert main(["run", str(suite), "--out", "runs/one", "--quiet"]) == 0
    monkeypatch.setenv("LESS", "yes")
    assert main(["run", str(suite), "--out", "runs/two", "--quiet"]) == 0
    capsys.readouterr()
    for sides, side in ((("one", "two"), ""), (("two", "one"), "before, ")):
        assert main(["compare", *(f"runs/{name}" for name in sides)]) == 0
        told = capsys.readouterr().out
        assert "1 not measured in whole or in part" in told
        assert f"- blobs/linear/bu/mine often ({side}seed 1: no such number)" in told


def test_a_changed_number_is_not_compared(made: tuple[Path, Path], capsys: Out) -> None:
    run, _ = made
    other = changed(run, "UPDATE metrics SET value = value - 40 WHERE metric = 'top1'")
    with sqlite3.connect(other / "results.sqlite") as connection:
        connection.execute(
            "UPDATE metrics SET value = 1 WHERE identity = (SELECT identity FROM "
            "cells WHERE name LIKE '%/seed1/accuracy') AND metric = 'top1'"
        )
    connection.close()
    assert main(["compare", str(run), str(other)]) == 0
    out = capsys.readouterr().out
    assert "1 not measured in whole" in out
    assert "accuracy top1 (seed 1: what is recorded of it was changed)" in out


def test_the_fixture(made: tuple[Path, Path], tmp_path: Path) -> None:
    run, baseline = made
    other = changed(run, "DELETE FROM cells WHERE name LIKE '%/seed1/accuracy'")
    (tmp_path / "test_mine.py").write_text(
        f"""
def test_gate(leaderboard_run):
    leaderboard_run({str(run)!r}).assert_no_regression({str(baseline)!r})

def test_number(leaderboard_run):
    assert leaderboard_run({str(run)!r}).mean("blobs/linear/bu", "accuracy/top1") > 50

def test_missing(leaderboard_run):
    leaderboard_run({str(other)!r}).assert_no_regression({str(baseline)!r})

def test_no_run(leaderboard_run):
    leaderboard_run("nowhere").assert_no_regression({str(baseline)!r})
"""
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "bench.pytest_plugin", "-q", "test_mine.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert "never reached" in done.stdout
    assert "\nnowhere: no run there (no results.sqlite); name the --out of a" in done.stdout
    assert "judged(" not in done.stdout, "no traceback for bad input"


def test_the_fixture_costs_pytest_nothing() -> None:
    code = "import sys, bench.pytest_plugin; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "numpy", "scipy", "pydantic", "leaderboard"}
    assert not heavy & set(done.stdout.split())
