"""A run from suite to leaderboard, through the command line, with the real parts."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main
from bench.identity import code_fingerprint

Tiny = Callable[..., Path]
Ran = Callable[..., None]


# Cannot be trained while a file is there.
MOODY = """
import os
class Moody(nn.Module):
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.net = linear(in_chans, num_classes)
    def forward(self, x):
        if self.training and len(x) > 2 and os.path.exists("moody"):  # not when it is tried
            raise RuntimeError("not today")
        return self.net(x)
"""


def cells(run: Path) -> dict[str, tuple[str, float]]:
    with sqlite3.connect(run / "results.sqlite") as db:
        rows = db.execute(
            "SELECT p.name, status, started FROM planned p JOIN cells USING (identity)"
        ).fetchall()
    return {name: (status, started) for name, status, started in rows}


def changed(before: dict[str, tuple[str, float]], now: dict[str, tuple[str, float]]) -> set[str]:
    assert now.keys() == before.keys()
    return {name for name, cell in now.items() if cell != before[name]}


def tidy(run: Path) -> dict[tuple[str, ...], float]:
    with sqlite3.connect(run / "results.sqlite") as db:
        rows = db.execute("SELECT * FROM tidy").fetchall()
    return {tuple(str(part) for part in row[:6]): row[6] for row in rows}


def test_run_trains_measures_and_renders(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tiny())]) == 0
    run = Path("runs/tiny")
    assert {name: status for name, (status, _) in cells(run).items()} == {
        "blobs/linear/bu/seed0/train": "done",
        "blobs/linear/bu/seed0/accuracy": "done",
        "blobs/linear/bu/seed0/robustness/gaussian_blur": "done",
    }
    assert tidy(run)["blobs", "linear", "bu", "0", "accuracy", "top1"] == 100.0
    page = (run / "leaderboard.md").read_text(encoding="utf-8")
    assert "| linear | bu |" in page
    assert "100.0" in page
    assert "1 training: deterministic mode, " in page
    assert list((run / "figures").glob("*.png"))
    printed = capsys.readouterr().out
    assert "[3/3]" in printed
    assert str(run / "leaderboard.md") in printed


def test_second_run_does_nothing_again(
    tiny: Tiny, ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tiny()
    ran(suite, "runs/tiny")
    before = cells(Path("runs/tiny"))
    page = Path("runs/tiny/leaderboard.md").read_bytes()
    capsys.readouterr()
    assert main(["run", str(suite)]) == 0
    assert cells(Path("runs/tiny")) == before
    assert Path("runs/tiny/leaderboard.md").read_bytes() == page
    assert "[1/" not in capsys.readouterr().out


def test_only_what_a_change_touches_is_done_again(tiny: Tiny, ran: Ran) -> None:
    ran(tiny(), "runs/tiny")
    before = cells(Path("runs/tiny"))
    main(["run", str(tiny(("samples: 20", "samples: 24")))])
    after = cells(Path("runs/tiny"))
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"blobs/linear/bu/seed0/robustness/gaussian_blur"}


def test_new_claims_are_judged_without_measuring_again(tiny: Tiny, ran: Ran) -> None:
    ran(tiny(), "runs/tiny")
    run = Path("runs/tiny")
    before, page = cells(run), run / "leaderboard.md"
    told = "numbers: accuracy/top1, nets: '*/bu', against: [td], expect: lower"
    claim = f"claim: as good as itself, {told}"
    with_td = ("variants: [bu]", "variants: [bu, td]")
    suite = tiny(with_td, ("measures:\n", f"claims: [{{{claim}}}]\nmeasures:\n"))
    assert main(["report", str(run)]) == 0
    assert "as good as itself" not in page.read_text(encoding="utf-8")
    assert main(["run", str(suite), "--out", str(run), "--only", "*/bu/*"]) == 0
    assert "as good as itself" in page.read_text(encoding="utf-8")
    assert cells(run) == before


def test_the_same_thing_under_two_labels_is_done_once(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = "['tiny_nets:linear', {name: 'tiny_nets:linear', label: twin}]"
    assert main(["run", str(tiny(("[tiny_nets:linear]", twice)))]) == 0
    assert "[3/3]" in capsys.readouterr().out
    page = Path("runs/tiny/leaderboard.md").read_text(encoding="utf-8")
    assert "| twin | bu |" in page


def test_edited_backbone_is_trained_again(tiny: Tiny, ran: Ran) -> None:
    from bench import identity

    suite = tiny()
    ran(suite, "runs/tiny")
    before = cells(Path("runs/tiny"))
    with open("tiny_nets.py", "a", encoding="utf-8") as stream:
        stream.write("# a new idea\n")
    identity.code_fingerprint.cache_clear()
    main(["run", str(suite)])
    assert all(cells(Path("runs/tiny"))[name] != before[name] for name in before)


def test_only_takes_a_glob_and_what_it_needs(tiny: Tiny) -> None:
    assert main(["run", str(tiny(("[0]", "[0, 1]"))), "--only", "*/seed1/accuracy"]) == 0
    assert set(cells(Path("runs/tiny"))) == {
        "blobs/linear/bu/seed1/train",
        "blobs/linear/bu/seed1/accuracy",
    }


def test_what_only_leaves_out_is_told_from_what_was_not_reached(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path("runs/tiny/leaderboard.md")
    suite = str(tiny(("[0]", "[0, 1]")))
    assert main(["run", suite, "--only", "*/seed1/accuracy"]) == 0
    assert "not selected (--only): 4 cells" in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert "Not selected (--only) (4):" in text
    assert "ever reached (" not in text
    # What was asked for once, and taken back since, was not left out.
    with sqlite3.connect(page.parent / "results.sqlite") as db:
        db.execute("DELETE FROM cells WHERE name LIKE '%/accuracy'")
    assert main(["run", suite, "--only", "*/seed0/accuracy"]) == 0
    printed = capsys.readouterr().out
    assert "not selected (--only): 2 cells" in printed
    assert "never reached: 1 cell\n" in printed
    # A longer plan: what is new was not asked for either.
    longer = str(tiny(("[0]", "[0, 1, 2]")))
    assert main(["run", longer, "--only", "*/seed1/accuracy"]) == 0
    assert "not selected (--only): 5 cells" in capsys.readouterr().out
    assert main(["run", longer]) == 0
    assert "Not selected" not in page.read_text(encoding="utf-8")


def test_only_that_fits_nothing_is_an_error(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tiny()), "--only", "nothing*"]) == 2
    assert "--only 'nothing*' fits no cell" in capsys.readouterr().err


def test_fresh_discards_and_guards_other_folders(
    tiny: Tiny, ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tiny()
    ran(suite, "runs/tiny")
    before = cells(Path("runs/tiny"))
    assert main(["run", str(suite), "--fresh"]) == 0
    assert all(cells(Path("runs/tiny"))[name] != before[name] for name in before)
    Path("precious").mkdir()
    Path("precious/thesis.tex").write_text("years of work", encoding="utf-8")
    assert main(["run", str(suite), "--fresh", "--out", "precious"]) == 2
    assert "is not empty and not a run directory" in capsys.readouterr().err
    assert Path("precious/thesis.tex").exists()


# What is measured of a network that is trained again stays where that comes out the same.
@pytest.mark.parametrize("cell", ["seed1/accuracy", "seed1/train"])
def test_fresh_with_only_discards_what_fits_and_nothing_else(
    cell: str, tiny: Tiny, ran: Ran
) -> None:
    suite, run = tiny(("[0]", "[0, 1]")), Path("runs/tiny")
    ran(suite, run)
    before = cells(run)
    assert main(["run", str(suite), "--fresh", "--only", f"*/{cell}"]) == 0
    assert changed(before, cells(run)) == {f"blobs/linear/bu/{cell}"}


def test_fresh_with_only_takes_nothing_of_another_suite(
    tiny: Tiny, ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(tiny(), "runs/tiny")
    before = cells(Path("runs/tiny"))
    other = tiny(("name: tiny", "name: other"))
    chosen = ["--fresh", "--only", "*/accuracy"]
    assert main(["run", str(other), "--out", "runs/tiny", *chosen]) == 2
    told = "belongs to suite 'tiny', not 'other'; choose another --out, or --fresh (without --only)"
    assert told in capsys.readouterr().err
    assert cells(Path("runs/tiny")) == before


def test_failing_cells_stay_and_the_others_go_on(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tiny(("[tiny_nets:linear]", "[tiny_nets:Broken, tiny_nets:linear]"))
    assert main(["run", str(suite)]) == 1
    found = {name: status for name, (status, _) in cells(Path("runs/tiny")).items()}
    assert found["blobs/Broken/bu/seed0/train"] == "failed"
    assert found["blobs/Broken/bu/seed0/accuracy"] == "failed"
    assert found["blobs/linear/bu/seed0/accuracy"] == "done"
    error = capsys.readouterr().err
    assert "RuntimeError: no such layer" in error
    assert "Traceback" not in error
    assert "no such layer" in Path("runs/tiny/leaderboard.md").read_text(encoding="utf-8")


def test_failed_cells_are_left_alone_unless_retried(tiny: Tiny) -> None:
    suite = str(tiny(("tiny_nets:linear", "tiny_nets:Broken")))
    assert main(["run", suite]) == 1
    before = cells(Path("runs/tiny"))
    assert main(["run", suite]) == 1
    assert cells(Path("runs/tiny")) == before
    assert main(["run", suite, "--retry", "failed"]) == 1
    assert cells(Path("runs/tiny")) != before


@pytest.mark.parametrize("again", ["--retry failed", "--fresh"])
def test_what_failed_for_want_of_a_training_is_to_do_once_that_is_there(
    again: str, tiny: Tiny, ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was never tried: neither page nor plan may go on saying that its training failed."""
    suite, run = tiny(("linear]", "Moody]"), ("[0]", "[0, 1]")), Path("runs/tiny")
    with Path("tiny_nets.py").open("a", encoding="utf-8") as stream:
        stream.write(MOODY)
    Path("moody").touch()
    assert main(["run", str(suite)]) == 1
    Path("moody").unlink()
    words = [*again.split(), "--only", "*/seed1/train"]
    assert main(["run", str(suite), *words]) == 0
    seed1 = {name: status for name, (status, _) in cells(run).items() if "/seed1/" in name}
    assert seed1 == {"blobs/Moody/bu/seed1/train": "done"}
    assert "seed1/accuracy: RuntimeError" not in (run / "leaderboard.md").read_text()
    capsys.readouterr()
    assert main(["plan", str(suite), "--no-cost"]) == 0
    assert "6 cells: 1 done, 3 failed, 2 to do" in capsys.readouterr().out
    assert main(["run", str(suite)]) == 1, "the other seed"
    assert [status for name, (status, _) in cells(run).items() if "/seed1/" in name] == ["done"] * 3


def test_what_needs_a_failed_training_is_not_planned_as_to_do(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is it done: a measure that the suite got later waits for --retry failed as well."""
    broken = ("tiny_nets:linear", "tiny_nets:Broken")
    assert main(["run", str(tiny(broken))]) == 1
    suite = str(tiny(broken, ("  - accuracy\n", "  - accuracy\n  - efficiency\n")))
    capsys.readouterr()
    assert main(["plan", suite, "--no-cost"]) == 0
    out = capsys.readouterr().out
    assert "to do   " not in out
    assert "4 cells: 0 done, 4 failed, 0 to do" in out
    assert main(["run", suite]) == 1
    assert (
        "tiny: 0 of 4 cells are there, 3 failed, 1 needs a training that failed; "
        "--retry failed tries again" in capsys.readouterr().out
    )


def test_divergence_is_a_failed_cell_with_its_epoch(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(tiny(("tiny_nets:linear", "tiny_nets:Diverging")))]) == 1
    assert "the training loss is nan in epoch 1 of 2" in capsys.readouterr().err
    assert not any("accuracy" in key for key in tidy(Path("runs/tiny")))


def test_identical_training_of_a_neighbour_is_taken_over(
    tiny: Tiny, ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(tiny(), "runs/tiny")
    other = tiny(("name: tiny", "name: other"), ("samples: 20", "samples: 10"), name="other.yaml")
    said = "1 of the trainings will be taken over from runs/tiny"
    capsys.readouterr()
    assert main(["plan", str(other)]) == 0
    planned = capsys.readouterr().out
    assert said in planned
    assert not Path("runs/other").exists()
    assert main(["run", str(other)]) == 0
    assert "1 identical training taken over" in capsys.readouterr().out
    name = "blobs/linear/bu/seed0/train"
    assert cells(Path("runs/other"))[name] == cells(Path("runs/tiny"))[name]
    with sqlite3.connect("runs/other/results.sqlite") as db:
        (facts,) = db.execute("SELECT facts FROM cells WHERE name = ?", (name,)).fetchone()
    assert json.loads(facts)["taken_from"].endswith("tiny")
    assert main(["plan", str(other)]) == 0
    assert "taken over" not in capsys.readouterr().out  # it has it


def test_a_plan_does_not_estimate_trainings_that_are_taken_over(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["run", str(tiny()), "--only", "*/train"])
    other = str(tiny(("name: tiny", "name: other"), name="other.yaml"))
    for folder, count in (("elsewhere/other", 3), ("runs/other", 2)):
        capsys.readouterr()
        assert main(["plan", other, "--out", folder]) == 0
        # Nothing is known of such data before they are loaded.
        assert f"{count} cells are not in it" in capsys.readouterr().out


def test_a_plan_says_why_it_does_not_know_a_data_set(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own" / "train" / "cat").mkdir(parents=True)
    suite = tiny(("tiny_sets:blobs", "imagefolder:own"), ("[tiny_nets:linear]", "[lenet_fc, nin]"))
    assert main(["plan", str(suite)]) == 0
    folder = tmp_path / "own"
    why = f"{folder}: no folder test, val, valid or validation; its test images belong there"
    assert capsys.readouterr().out.splitlines()[-1] == f"  6 cells are not in it: {why}"
    assert main(["plan", str(suite), "--only", "*/nin/*/train"]) == 0
    assert f"  1 cell is not in it: {why}" in capsys.readouterr().out


@pytest.mark.slow
def test_a_neighbour_of_other_code_is_not_believed(
    tiny: Tiny, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`run --out base`, edit the code that trains, `run --out head`: head is to show the edit."""
    copy = tmp_path_factory.mktemp("copy")
    for package in ("arches", "bench", "leaderboard"):
        source = Path(__file__).parents[2] / package
        shutil.copytree(source, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    suite = tiny()
    main(["run", str(suite), "--only", "*/train"])

    def run(out: str) -> str:
        command = [sys.executable, "-m", "bench", "run", str(suite), "--only", "*/train"]
        environment = os.environ | {"PYTHONPATH": str(copy)}
        return subprocess.run(
            [*command, "--out", out], env=environment, check=True, capture_output=True, text=True
        ).stdout

    assert "taken over" in run("runs/same")
    step = copy / "bench" / "train" / "step.py"
    step.write_text(step.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")
    assert "taken over" not in run("runs/edited")


def test_an_edited_plugin_is_named(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    suite = str(tiny())
    main(["run", suite])
    assert "the code of" not in capsys.readouterr().out
    with Path("tiny_nets.py").open("a", encoding="utf-8") as file:
        file.write("# edited\n")
    code_fingerprint.cache_clear()
    for said in (1, 0):
        main(["run", suite])
        out = capsys.readouterr().out
        assert out.count("note: the code of tiny_nets:linear is not what it was") == said, out
        assert ("3 of 3 cells to do" in out) is bool(said)


def test_damaged_weights_are_trained_again(tiny: Tiny) -> None:
    main(["run", str(tiny()), "--only", "*/train"])
    (weights,) = Path("runs/tiny/weights").iterdir()
    weights.write_bytes(weights.read_bytes()[:-7])
    before = cells(Path("runs/tiny"))
    assert main(["run", str(tiny())]) == 0
    name = "blobs/linear/bu/seed0/train"
    assert cells(Path("runs/tiny"))[name] != before[name]


def test_own_weights_are_measured_without_training(tiny: Tiny, ran: Ran) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    ran(tiny(), "runs/tiny")
    trained = next(Path("runs/tiny/weights").iterdir())
    state = {k.removeprefix("backbone."): v for k, v in load_file(trained).items() if "1." in k}
    save_file(state, "mine.safetensors")
    torch.save(state, "mine.pt")
    for number, file in enumerate(["mine.safetensors", "mine.pt", str(trained)]):
        own = tiny(
            ("name: tiny\n", f"name: own-{number}\n"),
            ("[tiny_nets:linear]", f"[{{name: 'tiny_nets:linear', weights: {file}}}]"),
        )
        assert main(["run", str(own)]) == 0
        run = Path(f"runs/own-{number}")
        assert not any("train" in name for name in cells(run))
        for key, value in tidy(run).items():
            assert tidy(Path("runs/tiny"))[key] == value


def test_one_file_for_several_seeds_is_no_sample_of_trainings(tiny: Tiny) -> None:
    main(["run", str(tiny())])
    shutil.copy(next(Path("runs/tiny/weights").iterdir()), "own.safetensors")
    net = "[{name: 'tiny_nets:linear', weights: own.safetensors}]"
    changes = ("name: tiny\n", "name: own\n"), ("[tiny_nets:linear]", net)
    page = Path("runs/own/leaderboard.md")
    assert main(["run", str(tiny(*changes))]) == 0
    assert "the same weights" not in page.read_text(encoding="utf-8")
    assert main(["run", str(tiny(*changes, ("seeds: [0]", "seeds: [0, 1]")))]) == 0
    said = "blobs/linear/bu: seeds 0, 1 have the same weights: their spread is not that of"
    assert said in " ".join(page.read_text(encoding="utf-8").split())


NORMED = """
import torch
from torch import nn
from tiny_nets import linear

class Normalize(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 1, 1))
        self.register_buffer("std", torch.zeros(1, 1, 1))

    def forward(self, x):
        return (x - self.mean) / self.std

class Net(nn.Module):
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.normalize = Normalize()
        self.backbone = linear(in_chans, num_classes)

    def forward(self, x):
        return self.backbone(self.normalize(x))
"""


PLAIN = ("recipe: {", "recipe: {mean: none, std: none, ")


def test_own_weights_with_a_normalisation_of_their_own(tiny: Tiny) -> None:
    """As robust networks are often published; a run's own files have such names too."""
    from safetensors.torch import load_file, save_file

    main(["run", str(tiny())])
    state = load_file(next(Path("runs/tiny/weights").iterdir()))
    save_file(state, "own.safetensors")  # `normalize.mean`, `normalize.std`, `backbone...`
    Path("normed_nets.py").write_text(NORMED, encoding="utf-8")
    net = "[{name: 'normed_nets:Net', label: linear, weights: own.safetensors}]"
    own = tiny(("name: tiny\n", "name: own\n"), ("[tiny_nets:linear]", net), PLAIN)
    assert main(["run", str(own)]) == 0
    for key, value in tidy(Path("runs/own")).items():
        assert tidy(Path("runs/tiny"))[key] == value


REPLACING = """
import shutil
from pathlib import Path

def replacing(context):
    if not Path("replaced").exists():
        Path("replaced").touch()
        shutil.copy("first.safetensors", "second.safetensors")
    return {"value": 1.0}
"""


def test_own_weights_that_change_while_the_run_is_at_work(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from safetensors.torch import save_file

    for number, file in enumerate(["first.safetensors", "second.safetensors"]):
        torch.manual_seed(number)
        save_file({"1.weight": torch.randn(4, 144), "1.bias": torch.zeros(4)}, file)
    Path("replacing.py").write_text(REPLACING, encoding="utf-8")
    backbones = (
        "[{name: 'tiny_nets:linear', weights: first.safetensors, label: first},"
        " {name: 'tiny_nets:linear', weights: second.safetensors, label: second}]"
    )
    suite = tiny(("[tiny_nets:linear]", backbones), ("- accuracy", "- replacing:replacing"))
    assert main(["run", str(suite)]) == 1
    error = capsys.readouterr().err
    assert "second.safetensors: it changed while the run was at work" in error
    run = Path("runs/tiny")
    assert not any("second" in key for key in tidy(run))
    # The next run takes the file as it is then.
    assert main(["run", str(suite)]) == 0
    first, second = (
        {key[3:]: value for key, value in tidy(run).items() if label in key}
        for label in ("first", "second")
    )
    assert first == second != {}


def test_weights_that_do_not_fit_are_named(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"1.weight": torch.zeros(4, 9)}, "bad.safetensors")
    own = tiny(("[tiny_nets:linear]", "[{name: 'tiny_nets:linear', weights: bad.safetensors}]"))
    assert main(["run", str(own)]) == 1
    error = capsys.readouterr().err
    assert "missing: 1.bias" in error
    assert "of another shape: 1.weight" in error


def test_a_run_directory_belongs_to_one_suite(
    tiny: Tiny, ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(tiny(), "here")
    other = tiny(("name: tiny", "name: other"))
    assert main(["run", str(other), "--out", "here"]) == 2
    assert "belongs to suite 'tiny', not 'other'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--device", "tpu"], "use auto, cpu, cuda or cuda:N"),
        (["--device", "cuda:99"], "CUDA devices"),
        (["--workers", "0"], "--workers 0: must be 1 or more"),
    ],
)
def test_bad_flags_are_one_line(
    tiny: Tiny, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["run", str(tiny()), *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_missing_data_stop_the_run_before_anything_is_trained(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tiny(("[tiny_sets:blobs]", "[mnist, tiny_sets:blobs]"))
    assert main(["run", str(suite), "--data", "nowhere"]) == 2
    error = capsys.readouterr().err
    assert "nowhere" in error
    assert "--download" in error
    assert cells(Path("runs/tiny")) == {}


@pytest.mark.parametrize("kind", ["md", "csv", "json", "html"])
def test_reports(tiny: Tiny, ran: Ran, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    ran(tiny(), "runs/tiny")
    capsys.readouterr()
    out = Path("page") if kind == "md" else Path(f"board.{kind}")
    assert main(["report", "runs/tiny", "--format", kind, "--out", str(out)]) == 0
    path = Path(capsys.readouterr().out.strip())
    text = path.read_text(encoding="utf-8")
    assert "robustness/gaussian_blur" in text or kind in ("md", "html")
    assert "100.0" in text


def test_report_of_nothing_is_one_line(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    tiny()
    assert main(["report", "runs/nothing"]) == 2
    assert "no run there" in capsys.readouterr().err
    Path("runs/junk").mkdir(parents=True)
    Path("runs/junk/results.sqlite").write_bytes(b"not a database" * 100)
    assert main(["report", "runs/junk"]) == 2
    assert "not a results file" in capsys.readouterr().err


def test_fresh_discards_nothing_before_the_new_run_can_start(
    tiny: Tiny, ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(tiny(), "runs/tiny")
    before = cells(Path("runs/tiny"))
    Path("runs/tiny/notes.txt").write_text("mine", encoding="utf-8")
    worse = tiny(("[tiny_sets:blobs]", "[tiny_sets:blobs, mnist]"))
    assert main(["run", str(worse), "--fresh", "--data", "nowhere"]) == 2
    assert cells(Path("runs/tiny")) == before
    assert main(["run", str(tiny()), "--fresh"]) == 0
    assert cells(Path("runs/tiny")) != before
    assert Path("runs/tiny/notes.txt").exists()


def test_fresh_waits_for_nobody_and_takes_nothing_from_a_run_at_work(
    tiny: Tiny, ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.store.database import Store

    ran(tiny(), "runs/tiny")
    before = cells(Path("runs/tiny"))
    at_work = Store.create_or_open(Path("runs/tiny"))
    assert main(["run", str(tiny()), "--fresh"]) == 2
    assert "another run is at work there" in capsys.readouterr().err
    at_work.close()
    assert cells(Path("runs/tiny")) == before


MEASURES = """
import torch

def spoiling(context):
    with torch.no_grad():
        for parameter in context.network.parameters():
            parameter.zero_()
    return {"value": 1.0}

def nothing(context):
    return None

def scaled(context, factor=2):
    return {"double": 21.0 * factor}

def leaving(context):
    raise SystemExit(7)

def wrong(context):
    return {"value": undefined_name}

def numbered(context):
    return {"value": 1.0, 3: 2.0}

def nested(context):
    return {"value": {"deeper": 1.0}}

def worded(context):
    from numpy import array
    from bench.measures.base import Found
    return Found({"value": 1.0}, {"words": array(["a", None], object)})

def nameless(context):
    from numpy import zeros
    from bench.measures.base import Found
    return Found({"value": 1.0}, {3: zeros(3)})
"""


def with_measure(tiny: Tiny, measure: str) -> str:
    Path("tiny_measures.py").write_text(MEASURES, encoding="utf-8")
    return str(tiny(("  - accuracy\n", f"  - {measure}\n  - accuracy\n")))


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        ("spoiling", "the network was changed while it was measured"),
        ("nothing", "returned NoneType, not a mapping"),
        ("leaving", "SystemExit: 7 (tiny_measures.py:"),
        ("wrong", "NameError: name 'undefined_name' is not defined (tiny_measures.py:"),
        ("numbered", "the measure returned 3 as a name: names are text"),
        ("nested", "the measure returned dict for value, not a number"),
        ("worded", "returned an array of object for words, not of numbers or bools"),
        ("nameless", "the measure returned 3 as a name: names are text"),
    ],
)
def test_a_bad_measure_fails_alone(
    tiny: Tiny, capsys: pytest.CaptureFixture[str], measure: str, said: str
) -> None:
    assert main(["run", with_measure(tiny, f"tiny_measures:{measure}")]) == 1
    assert said in capsys.readouterr().err
    assert tidy(Path("runs/tiny"))["blobs", "linear", "bu", "0", "accuracy", "top1"] == 100.0
    assert "Traceback" in Path("runs/tiny/failures.log").read_text(encoding="utf-8")


def test_own_measures_take_options_and_have_columns(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = with_measure(tiny, "tiny_measures:scaled: {factor: 4}")
    assert main(["run", suite]) == 0
    assert "double 84.00" in capsys.readouterr().out
    assert "84.00" in Path("runs/tiny/leaderboard.md").read_text(encoding="utf-8")
    wrong = Path(suite).read_text(encoding="utf-8").replace("factor", "facto")
    Path(suite).write_text(wrong, encoding="utf-8")
    assert main(["run", suite]) == 2
    assert "unknown key 'facto'; did you mean 'factor'?" in capsys.readouterr().err


def test_a_network_with_other_logits_is_refused_before_it_is_trained(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("tiny_nets.py", "a", encoding="utf-8") as stream:
        stream.write("def more(in_chans, num_classes):\n    return linear(1, num_classes + 1)\n")
    assert main(["run", str(tiny(("tiny_nets:linear", "tiny_nets:more")))]) == 2
    assert "logits of shape (2, 5) for 2 images of 4 classes" in capsys.readouterr().err


def test_lost_and_damaged_arrays(tiny: Tiny, ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    suite = tiny()
    ran(suite, "runs/tiny")
    before = cells(Path("runs/tiny"))
    attack = "blobs/linear/bu/seed0/robustness/gaussian_blur"
    for array in Path("runs/tiny/arrays").iterdir():
        array.write_bytes(b"junk")
    assert main(["report", "runs/tiny"]) == 0
    page = Path("runs/tiny/leaderboard.md").read_text(encoding="utf-8")
    (note,) = (line for line in page.splitlines() if f"- {attack}" in line)
    assert "is not in figures, nor in what pages compute image by image" in note
    assert "its recorded numbers are still shown: " in note
    assert "| linear | bu | 1 | 100.0 | 2.54 |" in page.replace("\u00a0", " ")
    for array in Path("runs/tiny/arrays").iterdir():
        array.unlink()
    assert main(["run", str(suite)]) == 0
    assert cells(Path("runs/tiny"))[attack] != before[attack]


def test_variants_of_one_backbone_and_nothing_to_do(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    narrowed = "[{name: 'tiny_nets:linear', variants: [bu]}]"
    suite = str(tiny(("variants: [bu]", "variants: [td]"), ("[tiny_nets:linear]", narrowed)))
    assert main(["run", suite]) == 0
    capsys.readouterr()
    assert main(["run", suite]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_a_recipe_too_short_for_its_statistics_is_noted(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tiny(("[tiny_nets:linear]", "[lenet_fc]"), ("epochs: 2", "epochs: 1"))
    assert main(["run", str(suite), "--only", "*/train"]) == 0
    assert "note: blobs/lenet_fc: batch normalisation averages" in capsys.readouterr().out
    assert "set bn_momentum" in Path("runs/tiny/leaderboard.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("batch", "steps"), [(20, "8 steps"), (100, "2 steps"), (143, "1 step"), (1000, "1 step")]
)
def test_that_note_counts_the_steps_that_are_made(
    batch: int, steps: str, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 144 images; a rest of some is a step, a rest of one is left out."""
    sizes = ("epochs: 2, batch_size: 20", f"epochs: 1, batch_size: {batch}")
    suite = tiny(("[tiny_nets:linear]", "[lenet_fc]"), sizes)
    assert main(["run", str(suite), "--only", "*/train"]) == 0
    assert f"with momentum 0.01 over {steps} only" in capsys.readouterr().out


NORMALISED = """
def normalised(in_chans, num_classes):
    layers = nn.Conv2d(in_chans, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(4, num_classes))
"""


def test_that_note_comes_for_own_backbones_and_stays(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("tiny_nets.py").open("a", encoding="utf-8") as stream:
        stream.write(NORMALISED)
    both = "['tiny_nets:normalised', 'tiny_nets:linear']"
    suite = str(tiny(("[tiny_nets:linear]", both), ("epochs: 2", "epochs: 1")))
    page = Path("runs/tiny/leaderboard.md")
    said = "blobs/normalised: batch normalisation averages with momentum 0"
    assert main(["run", suite, "--only", "*/normalised/*"]) == 0
    assert f"note: {said}" in capsys.readouterr().out
    first = page.read_text(encoding="utf-8")
    assert first.count(said) == 1
    # The session that the page was made after has nothing to do with that network.
    assert main(["run", suite]) == 0
    assert f"note: {said}" not in capsys.readouterr().out
    assert page.read_text(encoding="utf-8").count(said) == 1
    # Nor does a network that was renamed have a note under the name it had.
    renamed = both.replace("'tiny_nets:normalised'", "{name: 'tiny_nets:normalised', label: new}")
    assert (
        main(["run", str(tiny(("[tiny_nets:linear]", renamed), ("epochs: 2", "epochs: 1")))]) == 0
    )
    text = page.read_text(encoding="utf-8")
    assert text.count("averages with momentum") == 1
    assert f"- {said.replace('normalised', 'new')}" in text


@pytest.mark.parametrize("damage", ["cut short", "another byte", "another number"])
def test_what_is_damaged_counts_as_to_do_from_the_start(
    damage: str, tiny: Tiny, ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    """`bench plan` and `bench run` say the same, and only what is done again is said to be done."""
    suite, run = tiny(), Path("runs/tiny")
    ran(suite, run)
    before = tidy(run)
    with sqlite3.connect(run / "results.sqlite") as db:
        query = "SELECT file FROM cells WHERE name LIKE '%/gaussian_blur'"
        arrays = run / db.execute(query).fetchone()[0]
    whole = arrays.read_bytes()
    if damage == "cut short":
        arrays.write_bytes(whole[: len(whole) // 2])
    elif damage == "another byte":
        arrays.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    else:
        with sqlite3.connect(run / "results.sqlite") as db:
            db.execute(
                "UPDATE metrics SET value = 0 WHERE identity IN "
                "(SELECT identity FROM cells WHERE name LIKE '%/gaussian_blur')"
            )
    capsys.readouterr()
    assert main(["plan", str(suite), "--no-cost"]) == 0
    assert "3 cells: 2 done, 0 failed, 1 to do (1 of them again" in capsys.readouterr().out
    assert main(["run", str(suite)]) == 0
    said, warned = capsys.readouterr()
    assert "nothing to do" not in said
    assert "tiny: 1 of 3 cells to do" in said
    assert "[3/3] blobs/linear/bu/seed0/robustness/gaussian_blur" in said
    assert warned.count("it is done again") == 1
    assert tidy(run) == before
    assert main(["run", str(suite)]) == 0
    assert "all 3 cells are there; nothing to do" in capsys.readouterr().out
