"""Kinds of damage to a run directory: what is done to it, and what must be said of it."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from bench.store import files, parts, seals
from bench.store.database import Store
from bench.store.outcome import Outcome

NET = "fashion-mnist-mini/lenet_fc"
TRAIN, ACCURACY = f"{NET}/bu/seed0/train", f"{NET}/bu/seed0/accuracy"
BLUR, CONTRAST = (
    f"{NET}/td/seed0/robustness/{attack}" for attack in ("gaussian_blur", "contrast_reduction")
)
DATABASE = "results.sqlite"


@dataclass(frozen=True)
class Kind:
    """`said`: what `bench doctor` must print; `harmless`: nothing measured is affected; `lost`: not
    every cell can be saved."""

    name: str
    damage: Callable[[Path], None]
    said: str
    harmless: bool = False
    lost: bool = False


KINDS: list[Kind] = []


def kind(
    said: str, harmless: bool = False, lost: bool = False
) -> Callable[[Callable[[Path], None]], None]:
    def add(damage: Callable[[Path], None]) -> None:
        name = damage.__name__.strip("_").replace("_", " ")
        KINDS.append(Kind(name, damage, said, harmless, lost))

    return add


def file_of(run: Path, name: str) -> Path:
    with sqlite3.connect(run / DATABASE) as db:
        (found,) = db.execute("SELECT file FROM cells WHERE name = ?", (name,)).fetchone()
    return run / found


def sql(run: Path, statement: str, *values: object) -> None:
    db = sqlite3.connect(run / DATABASE)
    with db:
        assert db.execute(statement, values).rowcount != 0
    db.close()


def of(name: str) -> str:
    return f"(SELECT identity FROM cells WHERE name = '{name}')"


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 16
    path.write_bytes(content)


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


@kind(f"{TRAIN}: .*weights/.*safetensors: damaged")
def bit_flip_in_weights(run: Path) -> None:
    flip(file_of(run, TRAIN), -100)


@kind(f"{TRAIN}: .*weights/.*safetensors: damaged")
def truncated_weights(run: Path) -> None:
    cut(file_of(run, TRAIN), 0.5)


@kind(f"{TRAIN}: .*weights/.*safetensors: damaged")
def emptied_weights(run: Path) -> None:
    file_of(run, TRAIN).write_bytes(b"")


@kind(f"{TRAIN}: .*weights/.*safetensors: cannot be read", harmless=True)
def lost_weights(run: Path) -> None:
    file_of(run, TRAIN).unlink()


@kind(f"{BLUR}: .*arrays/.*safetensors: damaged")
def bit_flip_in_an_array(run: Path) -> None:
    flip(file_of(run, BLUR), -5)


@kind(f"{ACCURACY}: .*arrays/.*safetensors: damaged")
def array_that_no_figure_shows(run: Path) -> None:
    flip(file_of(run, ACCURACY), -5)


@kind(f"{CONTRAST}: .*arrays/.*safetensors: damaged")
def arrays_of_two_cells_swapped(run: Path) -> None:
    one, other = file_of(run, BLUR), file_of(run, CONTRAST)
    first = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(first)


@kind(f"{BLUR}: .*arrays/.*safetensors: cannot be read")
def arrays_folder_gone(run: Path) -> None:
    shutil.rmtree(run / "arrays")


def forge(run: Path, name: str, content: bytes) -> None:
    """A file that has the recorded checksum, in a row that has its seal, and is wrong."""
    path = file_of(run, name)
    path.write_bytes(content)
    sql(
        run, "UPDATE cells SET sha256 = ? WHERE name = ?", hashlib.sha256(content).hexdigest(), name
    )
    reseal(run)


def reseal(run: Path) -> None:
    db = sqlite3.connect(run / DATABASE)
    with db:
        seals.seal_all(db)
    db.close()


@kind("holds other arrays than such a cell has")
def wrong_shape_with_the_right_checksum(run: Path) -> None:
    arrays = load_file(file_of(run, BLUR))
    arrays["linf"] = np.zeros((3, 3))
    aside = run / "forged"
    files.write_arrays(aside, arrays)
    content = aside.read_bytes()
    aside.unlink()
    forge(run, BLUR, content)


@kind("not a readable safetensors file")
def no_safetensors_with_the_right_checksum(run: Path) -> None:
    forge(run, BLUR, b"not arrays at all")


@kind(f"{ACCURACY}: what is recorded of it was changed")
def flipped_digit_in_a_metric(run: Path) -> None:
    sql(run, f"UPDATE metrics SET value = value + 10 WHERE identity = {of(ACCURACY)}")


@kind(f"{ACCURACY}: what is recorded of it was changed")
def deleted_metric(run: Path) -> None:
    sql(run, f"DELETE FROM metrics WHERE identity = {of(ACCURACY)} AND metric = 'top1'")


@kind(f"{ACCURACY}: what is recorded of it was changed")
def added_metric(run: Path) -> None:
    sql(run, f"INSERT INTO metrics SELECT {of(ACCURACY)}, 99, 'top5', 99.0, '%', '{{}}'")


@kind(f"{ACCURACY}: what is recorded of it was changed")
def text_for_a_number(run: Path) -> None:
    sql(run, f"UPDATE metrics SET value = 'many' WHERE identity = {of(ACCURACY)}")


@kind(f"{ACCURACY}: what is recorded of it was changed")
def changed_unit(run: Path) -> None:
    sql(run, f"UPDATE metrics SET info = '{{' WHERE identity = {of(ACCURACY)}")


@kind(f"{ACCURACY}: what is recorded of it was changed")
def changed_status(run: Path) -> None:
    sql(run, "UPDATE cells SET status = 'failed' WHERE name = ?", ACCURACY)


@kind(f"{TRAIN}: what is recorded of it was changed")
def facts_of_a_training_that_are_no_json(run: Path) -> None:
    sql(run, "UPDATE cells SET facts = substr(facts, 1, 100) WHERE name = ?", TRAIN)


@kind(f"{ACCURACY}: what is recorded of it was changed")
def lost_seal(run: Path) -> None:
    sql(run, f"DELETE FROM seals WHERE key = {of(ACCURACY)}")


@kind(f"{ACCURACY}: its record is gone")
def deleted_row(run: Path) -> None:
    sql(run, "DELETE FROM cells WHERE name = ?", ACCURACY)


@kind("the table planned was changed")
def edited_plan(run: Path) -> None:
    sql(run, "UPDATE planned SET variant = 'td' WHERE variant = 'bu'")


@kind("the table planned was changed")
def shortened_plan(run: Path) -> None:
    sql(run, "DELETE FROM planned WHERE position > 3")


@kind("the table facts was changed")
def changed_suite_text(run: Path) -> None:
    sql(run, "UPDATE facts SET value = 'name: other' WHERE key = 'suite_text'")


@kind("results.sqlite: damaged \\(it has no format\\)")
def facts_deleted(run: Path) -> None:
    sql(run, "DELETE FROM facts")


@kind("the record of session 1 was changed")
def provenance_that_is_no_json(run: Path) -> None:
    sql(run, "UPDATE sessions SET provenance = substr(provenance, 1, 40)")


@kind("results.sqlite: damaged", lost=True)
def dropped_table(run: Path) -> None:
    sql(run, "DROP TABLE metrics")


@kind("results.sqlite: ", lost=True)
def truncated_database(run: Path) -> None:
    cut(run / DATABASE, 0.5)


@kind("results.sqlite: damaged", lost=True)
def zeroed_page(run: Path) -> None:
    db = sqlite3.connect(run / DATABASE)
    (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'metrics'").fetchone()
    (size,) = db.execute("PRAGMA page_size").fetchone()
    db.close()
    with open(run / DATABASE, "r+b") as stream:
        stream.seek((page - 1) * size)
        stream.write(bytes(size))


@kind("results.sqlite: damaged, or not a results file .file is not a database", lost=True)
def destroyed_header(run: Path) -> None:
    with open(run / DATABASE, "r+b") as stream:
        stream.write(b"\xff" * 100)


@kind("results.sqlite: damaged", lost=True)
def emptied_database(run: Path) -> None:
    (run / DATABASE).write_bytes(b"")


@kind("results.sqlite: is gone", lost=True)
def lost_database(run: Path) -> None:
    (run / DATABASE).unlink()


@kind("results.sqlite: damaged", lost=True)
def database_of_a_stranger(run: Path) -> None:
    (run / DATABASE).unlink()
    db = sqlite3.connect(run / DATABASE)
    with db:
        db.execute("CREATE TABLE people (name TEXT)")
    db.close()


def killed_after_a_cell(run: Path) -> Path:
    """As after `kill -9`: the row of the accuracy is only in the write-ahead log, whose path is
    given."""
    store = Store.create_or_open(run)
    (row,) = store.rows("SELECT * FROM cells WHERE name = ?", ACCURACY)
    metrics = dict(
        store.tuples("SELECT metric, value FROM metrics WHERE identity = ?", row["identity"])
    )
    arrays = load_file(run / row["file"])
    store.forget(row["identity"])
    store.close()
    store = Store.create_or_open(run)
    outcome = Outcome(1.0, 2.0, 3.0, metrics=metrics, arrays=arrays)
    store.record(1, row["identity"], ACCURACY, outcome)
    names = (DATABASE, f"{DATABASE}-wal")
    content = {name: (run / name).read_bytes() for name in names}
    store.close()
    for name in names:
        (run / name).write_bytes(content[name])
    return run / names[1]


@kind("belongs to no finished cell", harmless=True)
def deleted_write_ahead_log(run: Path) -> None:
    killed_after_a_cell(run).unlink()


@kind("belongs to no finished cell", harmless=True)
def truncated_write_ahead_log(run: Path) -> None:
    cut(killed_after_a_cell(run), 0.7)


@kind("damaged part of an interrupted cell")
def damaged_part(run: Path) -> None:
    parts.keep(run, "0" * 20, "images 0-9", {"l2": np.ones(10)})
    (path,) = (run / "parts").rglob("*.safetensors")
    flip(path, -40)


@kind("half-written by an interrupted run", harmless=True)
def half_written_file(run: Path) -> None:
    (run / "arrays" / ("1" * 20 + ".safetensors" + files.PART)).write_bytes(b"half")


@kind("not what the results make now: leaderboard.md", harmless=True)
def truncated_page(run: Path) -> None:
    cut(run / "leaderboard.md", 0.5)


@kind("not what the results make now: figures/", harmless=True)
def truncated_figure(run: Path) -> None:
    cut(next((run / "figures").iterdir()), 0.5)
