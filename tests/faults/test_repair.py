"""What a repair keeps, and that it says what it could not."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from corruptions import DATABASE, sql

from bench.cli import main
from bench.store import seals
from bench.store.archive import unpack

ROOT = Path(__file__).parents[2]
PACKED = ROOT / "leaderboard" / "published" / "quickstart" / "run.tar.xz"
NET = "fashion-mnist-mini/lenet_fc/td/seed1"
ACCURACY = f"{NET}/accuracy"
CELLS, ARRAYS = 18, 12
Out = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published quickstart, which was packed without weights, with its page."""
    folder = tmp_path_factory.mktemp("packed") / "run"
    unpack(PACKED, folder)
    assert main(["report", str(folder)]) == 0
    return folder


@pytest.fixture
def run(packed: Path, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(packed, tmp_path / "run")
    yield tmp_path / "run"
    shutil.rmtree(tmp_path / "run")


def bench(capsys: Out, *words: object) -> tuple[int, str]:
    capsys.readouterr()
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out + err


def page(run: Path, capsys: Out) -> str:
    code, said = bench(capsys, "report", run)
    assert code == 0, said
    return (run / "leaderboard.md").read_text(encoding="utf-8")


def cells(run: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(run / DATABASE) as db:
        found = db.execute("SELECT * FROM cells ORDER BY identity").fetchall()
    db.close()
    return found


def change(run: Path, statement: str) -> None:
    sql(run, statement.format(place=f"name = '{ACCURACY}'"))


PLANNED = {
    "identity": "UPDATE planned SET identity = 'x' || identity WHERE {place}",
    "name": "UPDATE planned SET name = replace(name, 'td', 'tD') WHERE {place}",
    "data set": "UPDATE planned SET dataset = 'fashion-mnist-minj' WHERE {place}",
    "backbone": "UPDATE planned SET backbone = 'lenet_fb' WHERE {place}",
    "variant": "UPDATE planned SET variant = 'bu' WHERE {place}",
    "seed": "UPDATE planned SET seed = 0 WHERE {place}",
    "measure": "UPDATE planned SET measure = 'accurqcy' WHERE {place}",
    "row": "DELETE FROM planned WHERE {place}",
    "variant of all": "UPDATE planned SET variant = 'xx' WHERE variant = 'td'",
}


@pytest.mark.parametrize("what", PLANNED)
def test_a_plan_with_one_damage_is_rebuilt_whole(
    what: str, run: Path, packed: Path, capsys: Out
) -> None:
    change(run, PLANNED[what])
    assert bench(capsys, "doctor", run)[0] == 1
    code, said = bench(capsys, "doctor", run, "--repair")
    assert code == 0
    assert "the table planned was changed; it is rebuilt, and nothing of it is lost" in said
    assert cells(run) == cells(packed)
    assert page(run, capsys) == page(packed, capsys)
    code, said = bench(capsys, "doctor", run)
    assert code == 0
    assert said.splitlines()[0].startswith("note    ")
    assert "packed without weights (trainings without: 4)" in said.splitlines()[0]
    assert said.splitlines()[1].endswith(": whole, 1 note")


def test_a_plan_that_cannot_be_proved_is_said_to_be_what_is_known(
    run: Path, packed: Path, capsys: Out
) -> None:
    """A cell that was never measured is gone from the plan: nothing tells that it was there."""
    for table in ("metrics", "cells"):
        sql(run, f"DELETE FROM {table} WHERE identity IN (SELECT identity FROM planned "
            f"WHERE name = '{ACCURACY}')")  # fmt: skip
    sealed_anew(run)
    change(run, PLANNED["row"])
    code, said = bench(capsys, "doctor", run, "--repair")
    assert code == 0
    assert "`bench run` of the same suite writes it anew" in said
    assert len(cells(run)) == CELLS - 1
    assert "list of planned cells was damaged" in page(run, capsys)
    assert bench(capsys, "doctor", run)[0] == 0


@pytest.mark.parametrize("seals", ["", "DELETE FROM seals WHERE kind = 'session'"])
def test_a_session_whose_row_was_deleted_is_told_and_emptied(
    run: Path, capsys: Out, seals: str
) -> None:
    """How the cells were measured is not known any more; what they measured is."""
    before = page(run, capsys)
    sql(run, "DELETE FROM sessions")
    if seals:
        sql(run, seals)
    code, said = bench(capsys, "doctor", run)
    assert code == 1
    assert "DAMAGE  " in said
    assert "the record of session 1 is gone" in said
    told = page(run, capsys)
    assert "1 (their records are damaged)" in told
    # All the rest is as it was.
    assert told.partition("## How it was")[0] == before.partition("## How it was")[0]
    code, said = bench(capsys, "doctor", run, "--repair")
    assert code == 0
    assert "an empty one takes its place" in said
    assert bench(capsys, "doctor", run)[0] == 0
    assert page(run, capsys) == told


def test_a_plan_is_rebuilt_though_the_session_of_its_cells_is_gone(run: Path, capsys: Out) -> None:
    sql(run, "DELETE FROM sessions")
    change(run, PLANNED["row"])
    assert bench(capsys, "doctor", run, "--repair")[0] == 0
    assert len(cells(run)) == CELLS
    assert ACCURACY in sorted(name for _, name, *_ in cells(run))
    assert "86.0" in page(run, capsys)


def test_cells_of_an_earlier_suite_do_not_come_back(run: Path, capsys: Out) -> None:
    """The plan has no longer the cell of a session with another suite."""
    sql(run, "INSERT INTO sessions SELECT 99, started, ended, "
        "json_set(provenance, '$.suite_text', 'name: old') FROM sessions LIMIT 1")  # fmt: skip
    sql(run, f"UPDATE cells SET session = 99 WHERE name = '{ACCURACY}'")
    change(run, PLANNED["row"])
    sql(run, "UPDATE facts SET value = 'another' WHERE key = 'plan'")
    sealed_anew(run)
    change(run, "UPDATE planned SET position = 99 WHERE position = 0")
    assert bench(capsys, "doctor", run, "--repair")[0] == 0
    with sqlite3.connect(run / DATABASE) as db:
        names = [row[0] for row in db.execute("SELECT name FROM planned")]
    db.close()
    assert len(names) == CELLS - 1
    assert ACCURACY not in names


def sealed_anew(run: Path) -> None:
    """As if the run had recorded it so."""
    db = sqlite3.connect(run / DATABASE)
    with db:
        db.execute("DELETE FROM seals")
        seals.seal_all(db)
    db.close()


@pytest.mark.parametrize("key", ["suite_text", "weights_left_out", "plan"])
def test_damaged_facts_cost_no_cell(key: str, run: Path, packed: Path, capsys: Out) -> None:
    sql(run, "UPDATE facts SET key = 'x' || key WHERE key = ?", key)
    assert bench(capsys, "doctor", run)[0] == 1
    code, said = bench(capsys, "doctor", run, "--repair")
    assert code == 0
    assert "`bench run` of the same suite writes it anew" in said
    assert cells(run) == cells(packed)
    code, said = bench(capsys, "doctor", run)
    assert code == 0
    assert "packed without weights (trainings without: 4)" in said
    assert "facts of the suite (attacks, claims, notes) were damaged" in page(run, capsys)
    found = bench(capsys, "report", run, "--format", "csv", "--out", run / "a.csv")
    assert found[0] == 0
    assert main(["report", str(packed), "--format", "csv", "--out", str(run / "b.csv")]) == 0
    assert (run / "a.csv").read_text() == (run / "b.csv").read_text()


def test_a_run_that_writes_the_plan_anew_keeps_what_was_left_out(
    run: Path, packed: Path, capsys: Out
) -> None:
    change(run, PLANNED["variant"])
    words = (ROOT / "suites" / "quickstart.yaml", "--out", run, "--only", "*/td/seed1/accuracy")
    code, said = bench(capsys, "run", *words, "--quiet")
    assert code == 0, said
    code, said = bench(capsys, "doctor", run)
    assert code == 0
    assert "packed without weights" in said


def invert(run: Path) -> None:
    content = bytearray((run / DATABASE).read_bytes())
    content[100:160] = bytes(byte ^ 255 for byte in content[100:160])
    (run / DATABASE).write_bytes(content)


LOSSES: dict[str, Callable[[Path], object]] = {
    "first page": invert,
    "gone": lambda run: (run / DATABASE).unlink(),
    "emptied": lambda run: (run / DATABASE).write_bytes(b""),
}


@pytest.mark.parametrize("how", LOSSES)
def test_a_repair_that_saves_nothing_says_so(how: str, run: Path, capsys: Out) -> None:
    LOSSES[how](run)
    code, said = bench(capsys, "doctor", run, "--repair")
    assert code == 1
    first, *moved, last = said.splitlines()
    assert first.startswith(f"LOST    {run / DATABASE}: ")
    assert f"saved into a new {DATABASE}: 0 of at least {ARRAYS} cells" in first
    assert ("the damaged one stays beside it" in first) == (how != "gone")
    assert (run / f"{DATABASE}.damaged-1").exists() == (how != "gone")
    assert len([line for line in moved if line.endswith("moved to orphans/arrays/")]) == ARRAYS
    assert "may be deleted" not in said
    assert last.endswith(
        ": not all cells could be saved; run the same suite again for what is missing"
    )


def test_a_repair_counts_what_it_saves(run: Path, packed: Path, capsys: Out) -> None:
    """The page of the plan: it is read off the cells, and the digest of the plan proves it."""
    db = sqlite3.connect(run / DATABASE)
    (size,) = db.execute("PRAGMA page_size").fetchone()
    (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'planned'").fetchone()
    db.close()
    with (run / DATABASE).open("r+b") as stream:
        stream.seek((root - 1) * size)
        stream.write(bytes(size))
    code, said = bench(capsys, "doctor", run, "--repair")
    assert code == 0
    assert f"saved into a new {DATABASE}: {CELLS} of {CELLS} cells" in said
    assert cells(run) == cells(packed)
    assert page(run, capsys) == page(packed, capsys)
