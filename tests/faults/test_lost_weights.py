"""Weights are needed by cells that are still to do: without them a finished run is whole, and what
needs them trains again."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corruptions import cut, file_of, flip
from drivers import STOPPING

from bench.cli import main
from bench.store import files

Tiny = Callable[..., Path]
Ran = Callable[..., None]
Out = pytest.CaptureFixture[str]
RUN = Path("here/run")  # with nothing beside it that trainings could be taken over from
NET = "blobs/linear/bu/seed0"
TRAIN, ACCURACY, BLUR = (f"{NET}/{title}" for title in ("train", "accuracy", "robustness/blur"))
LABELLED = ("{name: gaussian_blur", "{name: gaussian_blur, label: blur")
Damage = Callable[[Path], None]
LOST_OR_DAMAGED = pytest.mark.parametrize(
    "hurt", [Path.unlink, lambda path: cut(path, 0.5)], ids=["lost", "damaged"]
)


def run(suite: Path, *words: str) -> int:
    return main(["run", str(suite), "--out", str(RUN), *words])


def cells() -> dict[str, tuple[str, float]]:
    """Status and start of every finished cell."""
    with sqlite3.connect(RUN / "results.sqlite") as db:
        rows = db.execute("SELECT name, status, started FROM cells").fetchall()
    return {name: (status, started) for name, status, started in rows}


def table() -> list[tuple[object, ...]]:
    with sqlite3.connect(RUN / "results.sqlite") as db:
        return db.execute("SELECT * FROM tidy").fetchall()


def doctor(capsys: Out, *words: str) -> tuple[int, list[str]]:
    capsys.readouterr()
    code = main(["doctor", str(RUN), *words])
    return code, capsys.readouterr().out.splitlines()


def test_a_finished_run_without_weights_is_usable(tiny: Tiny, ran: Ran, capsys: Out) -> None:
    suite = tiny(LABELLED)
    ran(suite, RUN)
    file_of(RUN, TRAIN).unlink()
    before = cells()
    code, told = doctor(capsys)
    assert code == 0
    assert told[0].startswith(f"note    {TRAIN}: ")
    assert told[0].endswith(
        "; what needs it trains again; with --repair its training is taken back, and the next "
        "`bench run` does it again"
    )
    assert told[1:] == [f"{RUN}: whole, 1 note (--repair tidies up)"]
    assert run(suite) == 0
    assert cells() == before
    assert doctor(capsys) == (code, told)


@LOST_OR_DAMAGED
def test_repair_and_a_run_bring_the_weights_back(
    hurt: Damage, tiny: Tiny, ran: Ran, capsys: Out
) -> None:
    suite = tiny(LABELLED)
    ran(suite, RUN)
    weights = file_of(RUN, TRAIN)
    content, before, rows = weights.read_bytes(), cells(), table()
    hurt(weights)
    assert doctor(capsys, "--repair")[0] == 0
    assert doctor(capsys) == (0, [f"{RUN}: whole"])
    assert run(suite) == 0
    assert weights.read_bytes() == content
    assert table() == rows
    again = {name for name, cell in cells().items() if cell != before[name]}
    assert again == {TRAIN}
    assert doctor(capsys) == (0, [f"{RUN}: whole"])


def test_damaged_weights_stay_damage_until_they_are_needed(
    tiny: Tiny, ran: Ran, capsys: Out
) -> None:
    suite = tiny(LABELLED)
    ran(suite, RUN)
    flip(file_of(RUN, TRAIN), -100)
    code, told = doctor(capsys)
    assert code == 1
    assert told[0].startswith(f"DAMAGE  {TRAIN}: ")
    assert "; what needs it trains again; " in told[0]
    more = tiny(LABELLED, ("epsilons: 20}]", "epsilons: 20}, contrast_reduction]"))
    assert run(more) == 0
    assert doctor(capsys) == (0, [f"{RUN}: whole"])


@LOST_OR_DAMAGED
@pytest.mark.parametrize(
    ("name", "only"),
    [(ACCURACY, "*"), (BLUR, "*"), (BLUR, "*/robustness/*"), (BLUR, "*/accuracy")],
)
def test_a_damaged_cell_gets_its_network_trained_again(
    hurt: Damage, name: str, only: str, tiny: Tiny, ran: Ran, capsys: Out
) -> None:
    suite = tiny(LABELLED)
    ran(suite, RUN)
    before, rows = cells(), table()
    hurt(file_of(RUN, TRAIN))
    flip(file_of(RUN, name), -5)
    assert run(suite, "--only", only) == 0, capsys.readouterr().err
    again = {name for name, cell in cells().items() if cell != before[name]}
    if only == "*/accuracy":  # what is damaged was not asked for
        assert again == set()
        assert run(suite) == 0
    else:
        assert again == {TRAIN, name}
    assert table() == rows
    assert doctor(capsys) == (0, [f"{RUN}: whole"])


def test_with_a_search_its_choice_trains_again(tiny: Tiny, ran: Ran, capsys: Out) -> None:
    suite = tiny(LABELLED, ("measures:", "tune:\n  values: {lr: [0.02, 0.05]}\nmeasures:"))
    ran(suite, RUN)
    before, rows = cells(), table()
    file_of(RUN, TRAIN).unlink()
    flip(file_of(RUN, BLUR), -5)
    assert run(suite) == 0
    assert {name for name, cell in cells().items() if cell != before[name]} == {TRAIN, BLUR}
    assert table() == rows
    assert doctor(capsys) == (0, [f"{RUN}: whole"])


FLAKY = """
from pathlib import Path

def flaky(context):
    if not Path("mended").exists():
        raise RuntimeError("not yet")
    return {"value": 1.0}
"""


@LOST_OR_DAMAGED
def test_a_failed_cell_that_is_tried_again_gets_its_network(hurt: Damage, tiny: Tiny) -> None:
    suite = tiny(("  - accuracy\n", "  - accuracy\n  - 'flaky_measure:flaky'\n"))
    Path("flaky_measure.py").write_text(FLAKY, encoding="utf-8")
    assert run(suite) == 1
    before = cells()
    hurt(file_of(RUN, TRAIN))
    Path("mended").touch()
    assert run(suite, "--retry", "failed") == 0
    again = {name for name, cell in cells().items() if cell != before[name]}
    assert again == {TRAIN, f"{NET}/flaky"}


def test_who_wants_to_see_them_is_told_how_to_get_them(tiny: Tiny, ran: Ran, capsys: Out) -> None:
    suite = tiny(LABELLED)
    ran(suite, RUN)
    file_of(RUN, TRAIN).unlink()
    capsys.readouterr()
    assert main(["explain", str(RUN)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        f"; `python -m bench doctor {RUN} --repair`, then `bench run` of its suite trains it again"
    )
    assert main(["pack", str(RUN), "--no-weights", "--out", "small.tar.xz"]) == 0
    assert main(["unpack", "small.tar.xz"]) == 0
    capsys.readouterr()
    assert main(["explain", "runs/small"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("(blobs/linear/bu/seed0: the run was packed without its weights)")


@LOST_OR_DAMAGED
def test_a_plan_counts_the_trainings_that_a_run_does_again(
    hurt: Damage, tiny: Tiny, ran: Ran, capsys: Out
) -> None:
    ran(tiny(LABELLED), RUN)
    hurt(file_of(RUN, TRAIN))
    before = {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()}
    capsys.readouterr()
    whole = tiny(LABELLED)
    assert main(["plan", str(whole), "--out", str(RUN), "--no-cost"]) == 0
    assert "3 cells: 3 done, 0 failed, 0 to do; results" in capsys.readouterr().out

    more = tiny(LABELLED, ("epsilons: 20}]", "epsilons: 20}, contrast_reduction]"))
    assert main(["plan", str(more), "--out", str(RUN)]) == 0
    told = capsys.readouterr().out
    assert f"again   {TRAIN}\n" in told
    assert f"done    {ACCURACY}\n" in told
    assert (
        "4 cells: 2 done, 0 failed, 2 to do (1 of them again: their results are lost or damaged)"
        in told
    )
    assert {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()} == before
    assert run(more) == 0
    assert "2 of 4 cells to do" in capsys.readouterr().out


def test_a_plan_counts_the_cells_whose_arrays_are_gone(tiny: Tiny, ran: Ran, capsys: Out) -> None:
    suite = tiny(LABELLED)
    ran(suite, RUN)
    file_of(RUN, TRAIN).unlink()
    file_of(RUN, BLUR).unlink()
    capsys.readouterr()
    assert main(["plan", str(suite), "--out", str(RUN), "--no-cost"]) == 0
    told = capsys.readouterr().out
    assert "3 cells: 1 done, 0 failed, 2 to do (2 of them again: " in told
    assert run(suite) == 0
    assert "2 of 3 cells to do" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["arrays", "row"])
def test_a_plan_counts_the_cells_whose_results_are_damaged(
    what: str, tiny: Tiny, capsys: Out
) -> None:
    suite = tiny(LABELLED)
    assert run(suite) == 0
    if what == "arrays":
        path = file_of(RUN, BLUR)
        path.write_bytes(path.read_bytes()[:-1])
    else:
        with sqlite3.connect(RUN / "results.sqlite") as database:
            database.execute(
                "UPDATE metrics SET value = 1 WHERE identity = "
                f"(SELECT identity FROM cells WHERE name = '{BLUR}')"
            )
        database.close()
    # Then its training is needed, too.
    file_of(RUN, TRAIN).unlink()
    capsys.readouterr()
    assert main(["plan", str(suite), "--out", str(RUN), "--no-cost"]) == 0
    told = capsys.readouterr().out
    assert f"again   {BLUR}\n" in told
    assert "3 cells: 1 done, 0 failed, 2 to do (2 of them again: " in told
    assert run(suite) == 0
    assert main(["plan", str(suite), "--out", str(RUN), "--no-cost"]) == 0
    assert "3 cells: 3 done, 0 failed, 0 to do; results" in capsys.readouterr().out


MOVING = """
from pathlib import Path
import torch
from tiny_nets import linear

def moving(in_chans, num_classes):
    net = linear(in_chans, num_classes)
    torch.nn.init.normal_(net[1].weight, std=float(Path("std.txt").read_text()))
    return net
"""
MOVED = f"{NET}/train".replace("linear", "moving")


def with_a_net_that_moves(tiny: Tiny, *changes: tuple[str, str]) -> Path:
    """Its weights depend on what no identity sees: a file, another version of a library."""
    Path("moving_net.py").write_text(MOVING, encoding="utf-8")
    sys.modules.pop("moving_net", None)  # that of another test, which lies elsewhere
    Path("std.txt").write_text("0.01", encoding="utf-8")
    return tiny(("tiny_nets:linear", "moving_net:moving"), *changes)


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_what_was_measured_of_the_lost_network_is_not_mixed_with_the_new(
    workers: str, tiny: Tiny, capsys: Out
) -> None:
    suite = with_a_net_that_moves(tiny, LABELLED)
    assert run(suite) == 0
    before = cells()
    file_of(RUN, MOVED).unlink()
    flip(file_of(RUN, MOVED.replace("train", "robustness/blur")), -5)
    Path("std.txt").write_text("0.5", encoding="utf-8")
    capsys.readouterr()
    assert run(suite, "--workers", workers) == 0
    assert {name for name, cell in cells().items() if cell != before[name]} == {*before}
    name = MOVED.replace("train", "accuracy")
    told = f"{name}: was measured of the network as it was trained before; it is done again"
    assert told in capsys.readouterr().err.splitlines()
    found = table()
    assert run(suite, "--fresh") == 0
    assert table() == found


def test_weights_of_another_version_of_the_network_say_what_to_do(tiny: Tiny, capsys: Out) -> None:
    suite = with_a_net_that_moves(tiny, LABELLED)
    assert run(suite, "--only", "*/accuracy") == 0
    net = Path("moving_net.py")
    net.write_text(
        MOVING.replace("return net", "net.append(torch.nn.Linear(4, 4))\n    return net")
    )
    sys.modules.pop("moving_net")
    trained = file_of(RUN, MOVED)
    capsys.readouterr()
    assert run(suite) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert f"{trained}: does not fit the network; missing: backbone.2.bias" in told
    assert "Another version of the code or of a library built this network otherwise" in told
    trained.unlink()
    assert run(suite, "--retry", "failed") == 0
    assert all(status == "done" for status, _ in cells().values())


def test_half_of_a_cell_is_not_of_the_lost_network(tiny: Tiny, capsys: Out) -> None:
    Path("stopping_again.py").write_text(STOPPING, encoding="utf-8")
    attack = "attacks: ['stopping_again:ATTACK'], batch_size: 4"
    suite = with_a_net_that_moves(tiny, ("attacks: [{name: gaussian_blur, epsilons: 20}]", attack))
    assert run(suite, "--only", "*/robustness/*") == 130
    assert len([*RUN.glob("parts/*/*.safetensors")]) == 1
    file_of(RUN, MOVED).unlink()
    Path("std.txt").write_text("0.5", encoding="utf-8")
    capsys.readouterr()
    assert run(suite, "--only", "*/accuracy") == 0  # trains; the parts are not asked for
    assert not [*RUN.glob("parts/*/*.safetensors")]
    assert run(suite) == 0
    assert "carries on" not in capsys.readouterr().out


WIPING = """
from pathlib import Path

def wipes(context):
    for file in Path("here/run/weights").glob("*.safetensors"):
        {how}
    return {{"value": 1.0}}
"""
DELETE, CUT = "file.unlink()", "file.write_bytes(file.read_bytes()[:100])"
TWO = "seeds: [0]", "seeds: [0, 1]"
OTHER = NET.replace("seed0", "seed1")
GONE = f"{OTHER}/train: its weights were lost while the run was at work; it is done again"


def wiping(tiny: Tiny, how: str) -> Path:
    """A suite whose measure `wipes` takes the weights that other networks need."""
    Path("wiping.py").write_text(WIPING.format(how=how), encoding="utf-8")
    own = "  - accuracy\n", "  - accuracy\n  - 'wiping:wipes'\n"
    return tiny(TWO, own, ("epsilons: 20}]", "epsilons: 20}, contrast_reduction]"))


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("how", [DELETE, CUT])
def test_weights_that_go_while_the_run_is_at_work_are_trained_again(
    workers: str, how: str, tiny: Tiny, ran: Ran, capsys: Out
) -> None:
    ran(tiny(TWO), RUN)
    before = cells()
    code = run(wiping(tiny, how), "--workers", workers)
    told = capsys.readouterr()
    assert code == 0, told.err
    assert {status for status, _ in cells().values()} == {"done"}
    assert GONE in told.err.splitlines() or workers == "2"  # each may have loaded them before
    assert "weights file" not in told.out + told.err
    assert cells()[f"{OTHER}/accuracy"] == before[f"{OTHER}/accuracy"], "of the same network"
    assert not (RUN / "failures.log").exists()


def test_they_are_also_trained_again_for_cells_that_had_failed_before(
    tiny: Tiny, capsys: Out
) -> None:
    suite = wiping(tiny, f"if Path('not-yet').exists(): raise ValueError\n        {DELETE}")
    Path("not-yet").touch()
    assert run(suite) == 1
    Path("not-yet").unlink()
    capsys.readouterr()
    assert run(suite, "--retry", "failed") == 0, capsys.readouterr().err
    assert {status for status, _ in cells().values()} == {"done"}
    assert GONE in capsys.readouterr().err.splitlines()


def test_weights_that_cannot_be_kept_are_a_failure_in_the_end(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    """On a disk that loses what is written, say."""
    write = files.write_weights

    def lose(path: Path, *rest: Any) -> str:
        checksum = write(path, *rest)
        path.unlink()
        return checksum

    monkeypatch.setattr(files, "write_weights", lose)
    assert run(tiny(), "--workers", "2") == 1
    told = capsys.readouterr().err
    assert told.count(GONE.replace(OTHER, NET)) == 2
    assert f"  {ACCURACY}: " in told
    assert "no such weights file" in told
    assert "Traceback" not in told
