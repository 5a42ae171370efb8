"""Several runs as one: nothing is lost or altered, and no two networks are mixed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from drivers import STOPPING
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.cli import main
from bench.store import seals
from bench.store.database import Store

Tiny = Callable[..., Path]
Out = pytest.CaptureFixture[str]
# Each alone in its folder: from runs side by side trainings are taken over.
A, B, C, M = Path("a/run"), Path("b/run"), Path("c/run"), Path("m/run")
NET = "blobs/linear/bu/seed0"
TRAIN, ACCURACY, BLUR = (f"{NET}/{t}" for t in ("train", "accuracy", "robustness/gaussian_blur"))
TWO_SEEDS = ("seeds: [0]", "seeds: [0, 1]")


def run(suite: Path, folder: Path, *only: str, code: int = 0) -> None:
    words = [word for glob in only for word in ("--only", glob)]
    assert main(["run", str(suite), "--out", str(folder), "--quiet", *words]) == code


def merge(*runs: Path, out: Path = M) -> None:
    assert main(["merge", *map(str, runs), "--out", str(out)]) == 0


def refused(capsys: Out, *runs: Path, out: Path = M) -> str:
    """The one line that a merge ends with; it leaves nothing."""
    capsys.readouterr()
    assert main(["merge", *map(str, runs), "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert not M.parent.exists()
    return line


def table(folder: Path, name: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "results.sqlite")) as db:
        return db.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()


def tidy(folder: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "results.sqlite")) as db:
        return db.execute("SELECT * FROM tidy").fetchall()


def cells(folder: Path) -> dict[str, tuple[object, ...]]:
    """The records of the cells by name, without the number of their session."""
    return {str(row[1]): (*row[:3], *row[4:]) for row in table(folder, "cells")}


def content(folder: Path) -> dict[str, bytes]:
    """The files of a run, without those by which SQLite tells readers and writers of each other."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(p): p.read_bytes() for p in files if not p.name.endswith(("-wal", "-shm"))}


def changed(folder: Path, sql: str, *values: object, sealed: bool = True) -> None:
    """Write into a run as another machine or version would have, or as a bad disk would."""
    with closing(sqlite3.connect(folder / "results.sqlite")) as db, db:
        assert db.execute(sql, values).rowcount
        if sealed:
            seals.seal_all(db)


def whole(folder: Path, suite: Path, capsys: Out) -> None:
    """An ordinary run, with nothing to complain about or to do."""
    capsys.readouterr()
    assert main(["doctor", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}: whole\n"
    assert main(["run", str(suite), "--out", str(folder)]) == 0
    assert "cells are there; nothing to do" in capsys.readouterr().out
    assert main(["doctor", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}: whole\n"


def test_parts_of_a_suite_are_the_one_run(tiny: Tiny, capsys: Out) -> None:
    suite = tiny(TWO_SEEDS)
    run(suite, A, "*/seed0/*")
    run(suite, B, "*/seed1/*")
    run(suite, C)
    before = content(A), content(B)
    writer = Store.create_or_open(A)  # a run may be at work there, as for a report
    capsys.readouterr()
    merge(A, B)
    writer.close()
    assert capsys.readouterr().out.splitlines() == [
        "a/run: 3 cells taken",
        "b/run: 3 cells taken",
        "m/run: 6 cells: 6 done, 0 to do",
    ]
    assert (content(A), content(B)) == before
    assert tidy(M) == tidy(C)
    assert cells(M) == cells(A) | cells(B)
    for part in (A, B):
        for kind in ("weights", "arrays"):
            for path in (part / kind).iterdir():
                assert (M / kind / path.name).read_bytes() == path.read_bytes()
    whole(M, suite, capsys)
    pages = [(folder / "leaderboard.md").read_text(encoding="utf-8") for folder in (M, C)]
    tables = [page.partition("## How it was produced")[0] for page in pages]
    assert tables[0] == tables[1]
    assert main(["pack", str(M), "--out", "m.tar.xz"]) == 0
    assert main(["baseline", str(C), "--out", "baseline.json"]) == 0
    assert main(["check", str(M), "--baseline", "baseline.json"]) == 0
    assert main(["explain", str(M), "--images", "1"]) == 2
    assert "has no spatial feature map" in capsys.readouterr().err, "its suite was read"


def test_a_run_with_itself_and_with_its_parts_is_that_run(tiny: Tiny, capsys: Out) -> None:
    suite = tiny(TWO_SEEDS)
    run(suite, A, "*/seed0/accuracy")
    run(suite, A, "*/seed0/*")
    run(suite, B, "*/seed1/*")
    names = ("facts", "planned", "sessions", "cells", "metrics", "seals")
    merge(A, A, out=Path("self/run"))
    for name in names:
        assert table(Path("self/run"), name) == table(A, name)
    merge(A, B)
    for number, again in enumerate(((M, A), (M, B, M), (M, M))):
        merge(*again, out=Path(f"again{number}/run"))
        for name in names:
            assert table(Path(f"again{number}/run"), name) == table(M, name)
    assert len(table(M, "sessions")) == 3
    capsys.readouterr()
    assert main(["report", str(M)]) == 0
    page = (M / "leaderboard.md").read_text(encoding="utf-8")
    assert "- Sessions: 3\n" in page


FAILING = """
from pathlib import Path

def failing(context):
    if not Path("mended").exists():
        raise RuntimeError("not yet")
    return {"value": 1.0}
"""
WITH_FAILING = ("  - accuracy\n", "  - accuracy\n  - 'failing_measure:failing'\n")
FAILED = f"{NET}/failing"


def with_failing(tiny: Tiny, *changes: tuple[str, str]) -> Path:
    """A suite of which one measure fails until there is a file `mended`."""
    Path("failing_measure.py").write_text(FAILING, encoding="utf-8")
    sys.modules.pop("failing_measure", None)
    return tiny(WITH_FAILING, *changes)


def test_however_the_cells_are_dealt_out(tiny: Tiny) -> None:
    run(with_failing(tiny, TWO_SEEDS), A, code=1)
    identities = [str(row[0]) for row in table(A, "cells")]
    assert len(identities) == 8
    some = st.sets(st.integers(0, 2), min_size=1)

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(some, min_size=len(identities), max_size=len(identities)))
    def check(dealt: list[set[int]]) -> None:
        with tempfile.TemporaryDirectory() as place:
            runs = []
            for number in sorted(set.union(*dealt)):
                folder = Path(shutil.copytree(A, Path(place) / f"{number}" / "run"))
                store = Store.create_or_open(folder)
                for identity, owners in zip(identities, dealt, strict=True):
                    if number not in owners:
                        store.forget(identity)
                store.close()
                runs.append(folder)
            if len(runs) > 1:
                out = Path(place) / "merged"
                merge(*runs, out=out)
                for name in ("planned", "sessions", "cells", "metrics"):
                    assert table(out, name) == table(A, name)
                assert {p.name for p in out.glob("*/*.safetensors")} == {
                    p.name for p in A.glob("*/*.safetensors")
                }

    check()


# Of one training, in several runs ---------------------------------------------------------------

MOVING = """
from pathlib import Path
import torch
from tiny_nets import linear

def moving(in_chans, num_classes):
    net = linear(in_chans, num_classes)
    torch.nn.init.normal_(net[1].weight, std=float(Path("std.txt").read_text()))
    return net
"""


def with_a_net_that_moves(tiny: Tiny, *changes: tuple[str, str]) -> Path:
    """Its weights depend on what no identity sees, as on another machine."""
    Path("moving_net.py").write_text(MOVING, encoding="utf-8")
    sys.modules.pop("moving_net", None)
    return tiny(("tiny_nets:linear", "moving_net:moving, label: linear}"), *changes)


def machine(std: float) -> None:
    Path("std.txt").write_text(str(std), encoding="utf-8")


def moving(tiny: Tiny) -> Path:
    return with_a_net_that_moves(tiny, ("[moving_net", "[{name: moving_net"))


def two_machines(tiny: Tiny, first: str, second: str) -> Path:
    """Two runs that trained the same cell to other weights."""
    suite = moving(tiny)
    machine(0.01)
    run(suite, A, first)
    machine(0.5)
    run(suite, B, second)
    assert cells(A)[TRAIN] != cells(B)[TRAIN]
    return suite


def test_the_network_with_more_finished_cells_is_kept(tiny: Tiny, capsys: Out) -> None:
    suite = two_machines(tiny, "*/accuracy", "*")
    capsys.readouterr()
    merge(A, B)
    assert capsys.readouterr().out.splitlines() == [
        f"{NET}: left out of a/run: 2 finished cells, of other weights; kept are those of b/run, "
        "with 3 finished",
        "a/run: 0 cells taken, 2 that another run has too",
        "b/run: 3 cells taken",
        "m/run: 3 cells: 3 done, 0 to do",
    ]
    assert cells(M) == cells(B)
    assert tidy(M) == tidy(B)
    whole(M, suite, capsys)


def test_of_equal_ones_the_earlier_is_kept_and_nothing_of_the_other(
    tiny: Tiny, capsys: Out
) -> None:
    suite = two_machines(tiny, "*/accuracy", "*/robustness/*")
    merge(A, B)
    assert cells(M) == cells(A)
    capsys.readouterr()
    assert main(["plan", str(suite), "--out", str(M), "--no-cost"]) == 0
    assert f"to do   {BLUR}\n" in capsys.readouterr().out
    page = Path("there/run")
    merge(B, A, out=page)
    assert cells(page) == cells(B)
    assert main(["doctor", str(page)]) == 0
    machine(0.5)
    run(suite, page)
    assert {name for name, row in cells(page).items() if row != cells(B).get(name)} == {ACCURACY}


def without_hashes(folder: Path) -> None:
    """As an earlier version recorded it."""
    changed(folder, "UPDATE cells SET facts = json_remove(facts, '$.network')")


@pytest.mark.parametrize("old", [(A,), (B,), (A, B)], ids=["first", "second", "both"])
def test_runs_that_do_not_tell_their_weights_are_not_mixed(
    old: tuple[Path, ...], tiny: Tiny, capsys: Out
) -> None:
    suite = tiny()
    run(suite, A, "*/accuracy")
    run(suite, B, "*/robustness/*")
    for folder in old:
        without_hashes(folder)
    capsys.readouterr()
    merge(A, B)
    assert cells(M) == cells(A)
    what = "weights that its records do not tell" if B in old else "other weights"
    said = f"{NET}: left out of b/run: 2 finished cells, of {what}; kept are those of a/run"
    assert said in capsys.readouterr().out
    assert main(["doctor", str(M)]) == 0


def test_a_copy_of_a_run_that_does_not_tell_its_weights_is_no_other(
    tiny: Tiny, capsys: Out
) -> None:
    run(tiny(), A)
    without_hashes(A)
    capsys.readouterr()
    merge(A, Path(shutil.copytree(A, "copy/run")))
    assert capsys.readouterr().out.splitlines() == [
        "a/run: 3 cells taken",
        "copy/run: 0 cells taken, 3 that another run has too",
        "m/run: 3 cells: 3 done, 0 to do",
    ]
    assert table(M, "cells") == table(A, "cells")


def test_of_equal_weights_those_that_are_there_are_taken(tiny: Tiny, capsys: Out) -> None:
    suite = tiny()
    run(suite, A)
    run(suite, B, "*/accuracy")
    assert main(["pack", str(A), "--no-weights", "--out", "a.tar.xz"]) == 0
    merge(Path("a.tar.xz"), B)
    assert cells(M)[BLUR] == cells(A)[BLUR]
    assert cells(M)[TRAIN] == cells(B)[TRAIN]
    (weights,) = (M / "weights").iterdir()
    weights.unlink()  # it is not as if they had never been there
    assert main(["doctor", str(M)]) == 0
    assert "packed without weights" not in capsys.readouterr().out


def test_half_done_cells_are_carried_on(tiny: Tiny, capsys: Out) -> None:
    Path("stopping.py").write_text(STOPPING, encoding="utf-8")
    sys.modules.pop("stopping", None)
    suite = tiny(("attacks: [{name: gaussian_blur, epsilons: 20}]", IN_BATCHES), TWO_SEEDS)
    run(suite, A, "*/seed1/*", code=130)
    Path("batch.txt").unlink()
    run(suite, B, "*/seed0/*")
    capsys.readouterr()
    merge(B, A)
    assert "a/run: 2 cells taken, 1 half done" in capsys.readouterr().out
    assert main(["run", str(suite), "--out", str(M)]) == 0
    assert "/seed1/robustness/ATTACK: carries on after 1 finished part" in capsys.readouterr().out


def test_half_done_cells_of_given_weights_are_carried_on(tiny: Tiny, capsys: Out) -> None:
    """Where nothing of the network is finished yet, its weights are known all the same."""
    run(tiny(), C)
    shutil.copy(next((C / "weights").iterdir()), "given.safetensors")
    Path("stopping.py").write_text(STOPPING, encoding="utf-8")
    sys.modules.pop("stopping", None)
    suite = tiny(
        ("[tiny_nets:linear]", "[{name: tiny_nets:linear, weights: given.safetensors}]"),
        ("  - accuracy\n", ""),
        ("attacks: [{name: gaussian_blur, epsilons: 20}]", IN_BATCHES),
    )
    run(suite, A, code=130)
    shutil.copytree(A, B)
    capsys.readouterr()
    merge(A, B)
    assert "a/run: 0 cells taken, 1 half done" in capsys.readouterr().out
    assert main(["run", str(suite), "--out", str(M)]) == 0
    assert "/robustness/ATTACK: carries on after 1 finished part" in capsys.readouterr().out


IN_BATCHES = "attacks: ['stopping:ATTACK'], batch_size: 4"


def test_done_wins_over_failed_and_failed_keeps_its_log(tiny: Tiny, capsys: Out) -> None:
    suite = with_failing(tiny)
    run(suite, A, code=1)
    run(suite, B, "*/failing", code=1)
    merge(A, B)
    (log,) = (M / "logs").glob(f"{cells(A)[FAILED][0]}.jsonl")
    assert "not yet" in log.read_text(encoding="utf-8")
    assert (M / "failures.log").read_text() == (A / "failures.log").read_text()
    ends = [json.loads(line) for line in (M / "logs" / "run.jsonl").read_text().splitlines()]
    assert [e["cell"] for e in ends if e["event"] == "cell_failed"] == [FAILED]
    assert main(["doctor", str(M)]) == 0
    Path("mended").touch()
    assert main(["run", str(suite), "--out", str(B), "--retry", "failed", "--quiet"]) == 0
    capsys.readouterr()
    merge(A, B, out=C)
    assert cells(C)[FAILED] == cells(B)[FAILED]
    assert "c/run: 4 cells: 4 done, 0 to do" in capsys.readouterr().out
    whole(C, suite, capsys)


def test_trials_and_what_they_chose_come_together(tiny: Tiny, capsys: Out) -> None:
    """The choice is of one machine's trials; what another trained with another recipe is not."""
    suite = with_a_net_that_moves(
        tiny,
        ("[moving_net", "[{name: moving_net"),
        ("measures:", "tune:\n  values: {lr: [0.02, 0.05]}\nmeasures:"),
    )
    machine(0.01)
    run(suite, A, "*/accuracy")
    machine(0.01)
    run(suite, B)
    best = {"lr=0.02": 0.0, "lr=0.05": 100.0}
    if json.loads(str(cells(A)[TRAIN][-1]))["recipe"]["lr"] == 0.05:
        best = {"lr=0.02": 100.0, "lr=0.05": 0.0}
    for name, score in best.items():  # another machine has another best trial
        sql = """UPDATE metrics SET value = ? WHERE metric = 'validation_top1' AND identity =
            (SELECT identity FROM cells WHERE name LIKE '%' || ?)"""
        changed(A, sql, score, name)
    assert main(["run", str(suite), "--out", str(A), "--only", "*/accuracy", "--quiet"]) == 0
    capsys.readouterr()
    merge(A, B)
    told = capsys.readouterr().out
    said = f"{NET}: left out of a/run: 2 finished cells, of another recipe than the trials choose"
    assert said in told
    assert cells(M) == cells(B)
    whole(M, suite, capsys)


def test_trials_of_a_run_that_lost_its_facts_are_kept(tiny: Tiny, capsys: Out) -> None:
    """A repaired run tells neither its searches nor its kind of device until it is run again."""
    tuned = ("measures:", "tune:\n  values: {lr: [0.02, 0.05]}\nmeasures:")
    suite = tiny(tuned, TWO_SEEDS)
    run(suite, A, "*/seed0/*")
    run(suite, B, "*/seed1/*")
    shutil.copytree(A, C)
    changed(A, "UPDATE facts SET value = 'x' WHERE key = 'notes'", sealed=False)
    assert main(["doctor", str(A), "--repair"]) == 0
    for folder in (B, C):
        changed(folder, "UPDATE facts SET value = 'cuda' WHERE key = 'device'")
    capsys.readouterr()
    merge(A, A, out=Path("n/run"))
    assert cells(Path("n/run")) == cells(A)
    merge(A, C)
    assert cells(M) == cells(C)
    changed(B, "UPDATE facts SET value = 'cpu' WHERE key = 'device'")
    assert main(["merge", *map(str, (A, C, B)), "--out", "o/run"]) == 2
    assert "b/run: was measured on cpu, and c/run on cuda; " in capsys.readouterr().err


# What a page says -------------------------------------------------------------------------------

EFFICIENCY = ("  - accuracy\n", "  - accuracy\n  - efficiency: {seconds: 0.01, resident: false}\n")
OTHER = "another processor, 4 cores; 8 GiB"


def moved(folder: Path) -> None:
    """As if it had been measured on another machine, a day later and at another commit."""
    sql = """UPDATE sessions SET started = started + 86400, provenance = json_set(provenance,
        '$.hardware', ?, '$.git_commit', 'abcdef', '$.versions.torch', '1.0', '$.notes[0]', 'N.')"""
    changed(folder, sql, OTHER)


def test_the_page_tells_machines_and_what_was_timed_where(tiny: Tiny, capsys: Out) -> None:
    twin = "tiny_nets:linear, {name: tiny_nets:linear, side: 12, label: twin}"
    both = ("tiny_nets:linear", twin)
    suite = tiny(EFFICIENCY, both)
    run(suite, A, "*/linear/*")
    run(suite, B, "*/twin/*")
    moved(A)
    merge(A, B)
    assert main(["report", str(M)]) == 0
    page = (M / "leaderboard.md").read_text(encoding="utf-8")
    assert "different machines)" in page
    (machines,) = (line for line in page.splitlines() if line.startswith("- Machines: "))
    assert f"{OTHER}: 4 measured cells, 20" in machines
    assert machines.count(": 4 measured cells, 20") == 2
    assert "- Commits: abcdef (4), " in page
    assert "(4 of 8 measured cells with torch 1.0)" in page
    assert "- N.\n" in page, "notes of all machines"
    (note,) = (line for line in page.splitlines() if "Different hardware" in line)
    assert f"On {OTHER}: linear bu; on " in note
    assert ": twin bu. They are not bold" in note
    assert main(["baseline", str(M), "--out", "baseline.json"]) == 0
    made_on = json.loads(Path("baseline.json").read_text(encoding="utf-8"))["machine"]["hardware"]
    assert OTHER in made_on.split(" and ")
    merge(A, A, out=C)
    assert main(["report", str(C)]) == 0
    assert "Different hardware" not in (C / "leaderboard.md").read_text(encoding="utf-8")
    # A cluster of two kinds of machines does not tell on which of them it was.
    sql = "UPDATE sessions SET provenance = json_set(provenance, '$.hardware', 'one | two')"
    changed(C, sql)
    assert main(["report", str(C)]) == 0
    assert "on one: linear bu; on two: linear bu." in (
        (C / "leaderboard.md").read_text(encoding="utf-8").lower()
    )


@pytest.mark.parametrize(
    ("hardware", "machines"),
    [
        ("2 x H (16 GiB); a processor, 4 cores; 8 GiB", 1),
        ("H (16 GiB); a processor, 4 cores; 9 GiB", 2),
    ],
)
def test_speeds_compare_on_like_processors(tiny: Tiny, hardware: str, machines: int) -> None:
    """How many GPUs or how much memory there is beside the one that it was timed on is no matter;
    the gate sees it so too."""
    twin = "tiny_nets:linear, {name: tiny_nets:linear, side: 12, label: twin}"
    suite = tiny(EFFICIENCY, ("tiny_nets:linear", twin))
    run(suite, A, "*/linear/*")
    run(suite, A, "*/twin/*")
    sql = "UPDATE sessions SET provenance = json_set(provenance, '$.hardware', ?) WHERE id = ?"
    changed(A, sql, "H (16 GiB); a processor, 4 cores; 8 GiB", 1)
    changed(A, sql, hardware, 2)
    assert main(["report", str(A)]) == 0
    page = (A / "leaderboard.md").read_text(encoding="utf-8")
    used = "" if machines == 1 else f" (the run used {machines} different machines)"
    assert f"- Hardware: {hardware}{used}\n" in page
    assert "ifferent hardware" not in page


def test_what_no_machine_was_asked_for_is_told_so(tiny: Tiny, capsys: Out) -> None:
    suite = tiny(("seeds: [0]", "seeds: [0, 1, 2]"))
    run(suite, A, "*/seed0/*")
    run(suite, B, "*/seed1/*")
    merge(A, B)
    assert main(["report", str(M)]) == 0
    page = (M / "leaderboard.md").read_text(encoding="utf-8")
    assert "seed2/accuracy" in page.partition("ot selected (--only)")[2]
    assert "seed1/" not in page.partition("ot selected (--only)")[2].partition("## How")[0]
    capsys.readouterr()
    run(suite, M)
    assert len(cells(M)) == 9


# Damage and bad input ---------------------------------------------------------------------------


def test_what_is_damaged_is_told_and_the_rest_is_taken(tiny: Tiny, capsys: Out) -> None:
    suite = tiny(TWO_SEEDS)
    run(suite, A, "*/seed0/*")
    run(suite, B, "*/seed1/*")
    good = cells(A) | cells(B)
    file = A / str(cells(A)[BLUR][9])
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    other = ACCURACY.replace("seed0", "seed1")
    sql = "UPDATE cells SET seconds = 9 WHERE name = ?"
    changed(B, sql, other, sealed=False)
    changed(B, "UPDATE sessions SET started = 9", sealed=False)
    weights = A / str(cells(A)[TRAIN][9])
    weights.write_bytes(b"?")
    (B / str(cells(B)[TRAIN.replace("seed0", "seed1")][9])).unlink()
    before = content(A), content(B)
    capsys.readouterr()
    merge(A, B)
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 5
    assert err[0].startswith(f"DAMAGE  a/run: {BLUR}: ")
    assert err[0].endswith("checksum is not the recorded one); it is left out")
    assert err[1].startswith(f"DAMAGE  a/run: {TRAIN}: ")
    assert err[1].endswith("what needs it trains again")
    what = "what is recorded of it was changed"
    assert err[2] == f"DAMAGE  b/run: {other}: {what}; it is left out"
    assert "the record of session 1 was changed" in err[3]
    assert err[4].startswith(f"note    b/run: {TRAIN.replace('seed0', 'seed1')}: ")
    assert err[4].endswith("cannot be read: No such file or directory; what needs it trains again")
    assert (content(A), content(B)) == before
    assert cells(M) == {name: row for name, row in good.items() if name not in (BLUR, other)}
    run(suite, M)
    assert {*cells(M)} == {*good}
    assert main(["doctor", str(M)]) == 0


def test_a_session_that_is_gone_is_one_without_a_record(tiny: Tiny, capsys: Out) -> None:
    suite = tiny(TWO_SEEDS)
    run(suite, A, "*/seed0/*")
    run(suite, B, "*/seed1/accuracy")
    run(suite, B, "*/seed1/*")
    changed(B, "DELETE FROM sessions WHERE id = 1", sealed=False)
    capsys.readouterr()
    merge(A, B)
    (line,) = capsys.readouterr().err.splitlines()
    said = "the record of session 1 is gone; it is emptied"
    assert line == f"DAMAGE  b/run: results.sqlite: {said}"
    assert cells(M) == cells(A) | cells(B)
    whole(M, suite, capsys)


def test_runs_that_are_no_parts_are_refused(tiny: Tiny, capsys: Out) -> None:
    run(tiny(), A)
    run(tiny(("name: tiny", "name: other"), ("epochs: 2", "epochs: 1")), B)
    line = refused(capsys, A, B)
    assert line.startswith("b/run: has no cell that is planned in a/run (its cells of the same ")
    run(tiny(("name: tiny", "name: more"), TWO_SEEDS), C, "*/seed1/*")
    line = refused(capsys, A, C)
    assert "(it is of suite 'more', that one of 'tiny'); leave it out, or name first" in line
    merge(C, A, out=Path("d/run"))  # the other way round it fits
    twin = "[{name: tiny_nets:linear, side: 12, label: twin}]"
    run(tiny(("[tiny_nets:linear]", twin)), Path("e/run"))
    line = refused(capsys, A, Path("e/run"))
    assert "(its suite, of the same name, plans other cells); leave it out" in line
    shutil.copytree(A, "gpu")
    changed(Path("gpu"), "UPDATE facts SET value = 'cuda' WHERE key = 'device'")
    assert refused(capsys, A, Path("gpu")).startswith("gpu: was measured on cuda, and a/run on cpu")
    shutil.copytree(A, "data")
    sql = "UPDATE facts SET value = replace(value, '\": \"', '\": \"0') WHERE key = 'contents'"
    changed(Path("data"), sql)
    assert refused(capsys, A, Path("data")).startswith("data: was measured on other data than")
    sql = "UPDATE facts SET value = 'x' WHERE key = 'notes'"
    changed(Path("data"), sql, sealed=False)
    assert "the table facts is damaged" in refused(capsys, A, Path("data"))
    assert refused(capsys, A) == "a/run: is a single run; name two or more"
    assert refused(capsys, A, Path("x")).startswith("x: no run there")
    Path("x").write_text("a thesis", encoding="utf-8")
    assert "no archive of a run" in refused(capsys, A, Path("x"))
    assert refused(capsys, A, C, out=B).startswith("b/run: is there already")
    assert "lies in a/run" in refused(capsys, A, C, out=A / "merged")
    assert refused(capsys, C, A, out=Path("x/run")).startswith("--out x/run: cannot be written")
    assert not [path for path in Path().glob("**/.*") if path.is_dir()]


def test_cells_that_are_not_planned_are_counted(tiny: Tiny, capsys: Out) -> None:
    run(tiny(), A, "*/accuracy")
    run(tiny(TWO_SEEDS), B)
    capsys.readouterr()
    M.mkdir(parents=True)  # an empty folder is as good as none
    merge(A, B)
    assert capsys.readouterr().out.splitlines() == [
        "a/run: 2 cells taken",
        "b/run: 1 cell taken, 2 that another run has too, 3 left out that a/run has not planned",
        "m/run: 3 cells: 3 done, 0 to do",
    ]
