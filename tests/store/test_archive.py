"""A run as one file: what comes back is what was packed, or a line says why not."""

from __future__ import annotations

import io
import lzma
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.cli import main
from bench.errors import BenchError
from bench.store import archive
from bench.store.archive import pack, unpack
from bench.store.database import Store

Tiny = Callable[..., Path]


@pytest.fixture
def run(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> Path:
    """A finished run of the tiny suite."""
    assert main(["run", str(tiny()), "--out", "runs/tiny", "--quiet"]) == 0
    capsys.readouterr()
    return Path("runs/tiny")


def tables(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    store = Store.open(folder)
    names = ("planned", "cells", "metrics", "sessions", "facts")
    found = {name: store.tuples(f"SELECT * FROM {name} ORDER BY 1, 2") for name in names}
    found["facts"] = [(key, value) for key, value in found["facts"] if key != "base"]
    store.close()
    return found


def page(folder: Path) -> dict[str, bytes]:
    assert main(["report", str(folder)]) == 0
    figures = sorted((folder / "figures").iterdir())
    return {path.name: path.read_bytes() for path in [folder / "leaderboard.md", *figures]}


def test_a_packed_run_is_the_same_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", str(run)]) == 0
    size = Path("runs/tiny.tar.xz").stat().st_size / 1024
    assert capsys.readouterr().out == f"runs/tiny.tar.xz  ({size:.1f} KiB)\n"
    assert main(["unpack", "runs/tiny.tar.xz", "--out", "elsewhere/again"]) == 0
    again = Path("elsewhere/again")
    assert tables(again) == tables(run)
    assert page(again) == page(run)
    # Nobody is told where on somebody's disk the suite lay, or a run whose training was taken over.
    home = str(Path().resolve()).encode()
    assert home in (run / "results.sqlite").read_bytes()
    assert home not in (again / "results.sqlite").read_bytes()
    assert main(["explain", str(again), "--images", "1"]) == 2
    assert "has no spatial feature map" in capsys.readouterr().err, "its suite was read"
    assert main(["doctor", str(again)]) == 0
    assert capsys.readouterr().out.endswith("elsewhere/again: whole\n")
    assert main(["run", "suite.yaml", "--out", str(again), "--verbose"]) == 0
    assert "all 3 cells are there; nothing to do" in capsys.readouterr().out


def test_without_weights_what_is_missing_trains_again(
    run: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pack", str(run), "--no-weights", "--out", "small.tar.xz"]) == 0
    assert main(["unpack", "small.tar.xz"]) == 0
    small = Path("runs/small")
    assert not (small / "weights").exists()
    assert page(small) == page(run)
    capsys.readouterr()
    assert main(["doctor", str(small)]) == 0
    assert "packed without weights (trainings without: 1)" in capsys.readouterr().out
    assert main(["doctor", str(small), "--repair"]) == 0
    assert tables(small)["cells"] == tables(run)["cells"], "nothing was damaged"
    # Beside it are the same trainings, which would be taken over.
    small = small.rename("small")
    suite = str(tiny(("epsilons: 20", "epsilons: 30")))
    assert main(["run", suite, "--out", str(small), "--only", "*/bu/seed0/*"]) == 0
    assert main(["run", suite, "--out", "runs/whole", "--only", "*/bu/seed0/*"]) == 0
    blurs = [
        [row for row in tables(folder)["metrics"] if row[2] == "median_l2"]
        for folder in (small, Path("runs/whole"))
    ]
    assert blurs[1]
    assert {row[:4] for row in blurs[1]} <= {row[:4] for row in blurs[0]}
    # A second time it is packed as it is: with the weights that were trained again.
    assert main(["pack", str(small), "--out", "more.tar.xz"]) == 0
    assert main(["unpack", "more.tar.xz"]) == 0
    assert len(list(Path("runs/more/weights").iterdir())) == 1


def test_a_large_archive_comes_in_parts(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And is the same file when they are put behind each other."""
    assert main(["pack", str(run), "--out", "whole.tar.xz"]) == 0
    whole = Path("whole.tar.xz").read_bytes()
    mebibytes = (len(whole) // 3 + 1) / 2**20
    capsys.readouterr()
    assert main(["pack", str(run), "--out", "a[1].tar.xz", "--split", str(mebibytes)]) == 0
    parts = [Path(f"a[1].tar.xz.00{number}") for number in (1, 2, 3)]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        part.name for part in parts
    ]
    assert b"".join(part.read_bytes() for part in parts) == whole
    for name in (Path("a[1].tar.xz"), parts[1]):
        assert main(["unpack", str(name), "--out", str(tmp_path / f"of{name.suffix}")]) == 0
        assert tables(tmp_path / f"of{name.suffix}") == tables(run)
    # What is smaller stays one file, and takes the place of the parts; so the other way round.
    assert main(["pack", str(run), "--out", "a[1].tar.xz", "--split", "1000"]) == 0
    assert [path.name for path in sorted(Path().glob("a*"))] == ["a[1].tar.xz"]
    assert main(["pack", str(run), "--out", "a[1].tar.xz", "--split", str(mebibytes * 1.5)]) == 0
    assert [path.name for path in sorted(Path().glob("a*"))] == [part.name for part in parts[:2]]


@pytest.mark.parametrize("limit", [None, 3000])
def test_an_archive_is_on_the_disk_before_it_has_its_name(
    limit: int | None, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut must not leave an empty file under the name of a run that may be deleted then."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    made = pack(run, Path("packed/run.tar.xz"), limit=limit)
    assert len(made) == 1 if limit is None else len(made) > 1
    at = [synced.index(path.stat().st_ino) for path in made]
    assert max(at) < synced.index(Path("packed").stat().st_ino)


def test_parts_that_are_gone_or_others_are_told(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "'0' is no size in MiB" in refused(["pack", str(run), "--split", "0"], capsys)
    assert "'x' is no size in MiB" in refused(["pack", str(run), "--split", "x"], capsys)
    assert main(["pack", str(run), "--out", "a.tar.xz", "--split", "0.003"]) == 0
    parts = sorted(Path().glob("a.tar.xz.*"))
    assert len(parts) > 2
    middle = parts[1].read_bytes()
    parts[1].unlink()
    assert line_of(["unpack", "a.tar.xz"], capsys) == (
        "a.tar.xz.002: no such file, but a later part is there"
    )
    parts[1].write_bytes(middle)
    last = parts[-1].read_bytes()
    parts[-1].unlink()
    assert "damaged, or no archive of a run" in line_of(["unpack", "a.tar.xz"], capsys)
    parts[-1].write_bytes(last)
    parts[0].write_bytes(b"a thesis")
    said = line_of(["pack", str(run), "--out", "a.tar.xz"], capsys)
    assert said.startswith("a.tar.xz.001: exists and is not an archive of a run")
    assert not Path("a.tar.xz").exists()
    said = line_of(["pack", str(run), "--out", "b.tar.xz", "--split", "0.000001"], capsys)
    assert "at most 999 can be named" in said
    assert not list(Path().glob("b.tar.xz*"))


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What wrong usage says."""
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    return capsys.readouterr().err


def test_a_run_at_work_is_packed_as_it_is_at_that_moment(run: Path, tmp_path: Path) -> None:
    before = tables(run)
    at_work = Store.create_or_open(run)
    with at_work.transaction():
        at_work._db.execute("DELETE FROM metrics")
        pack(run, tmp_path / "a.tar.xz")
    unpack(tmp_path / "a.tar.xz", tmp_path / "a")
    assert tables(tmp_path / "a") == before
    pack(run, tmp_path / "b.tar.xz")
    at_work.close()
    with tarfile.open(tmp_path / "b.tar.xz") as archive:
        archive.extract("results.sqlite", tmp_path, filter="data")
    left = sqlite3.connect(tmp_path / "results.sqlite")
    assert left.execute("SELECT count(*) FROM metrics").fetchone() == (0,)


def line_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a refused command says: one line, exit code 2."""
    capsys.readouterr()
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err.strip()


def test_what_cannot_be_packed_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert line_of(["pack", "nowhere"], capsys).startswith("nowhere: no run there")
    assert line_of(["pack", str(run), "--out", "runs"], capsys) == (
        "--out runs: is a folder; name a file"
    )
    assert line_of(["pack", str(run), "--out", "tiny.zip"], capsys) == (
        "--out tiny.zip: the archive is a tar.xz file; end its name so"
    )
    assert not Path("tiny.zip").exists()
    (damaged,) = sorted((run / "arrays").iterdir())[:1]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    said = line_of(["pack", str(run)], capsys)
    assert damaged.name in said
    assert "`python -m bench doctor runs/tiny --repair`" in said
    assert not Path("runs/tiny.tar.xz").exists()
    assert not list(Path("runs").glob("*.part"))


def test_no_file_of_another_kind_is_overwritten(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Path("kept.tar.xz")
    for content in (b"a thesis\n", b""):
        kept.write_bytes(content)
        assert line_of(["pack", str(run), "--out", str(kept)], capsys) == (
            "kept.tar.xz: exists and is not an archive of a run; "
            "name another file with --out, or move that one away"
        )
        assert kept.read_bytes() == content
    foreign(kept, "thesis.tex")
    content = kept.read_bytes()
    assert "not an archive of a run" in line_of(["pack", str(run), "--out", str(kept)], capsys)
    assert kept.read_bytes() == content
    kept.unlink()
    for more in ((), ("--no-weights",)):  # an older archive may go
        assert main(["pack", str(run), "--out", str(kept), *more]) == 0
    assert main(["unpack", str(kept), "--out", "again"]) == 0
    assert not list(Path("again").glob("weights/*"))


def foreign(path: Path, name: str, kind: bytes = tarfile.REGTYPE) -> str:
    with tarfile.open(path, "w:xz") as out:
        member = tarfile.TarInfo(name)
        member.type, member.size = kind, 3 if kind == tarfile.REGTYPE else 0
        member.linkname = "/etc/passwd"
        out.addfile(member, io.BytesIO(b"abc"))
    return str(path)


def test_what_is_no_archive_of_a_run_is_told_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no such file; it is made by `bench pack RUN`" in line_of(["unpack", "no"], capsys)
    Path("text.tar.xz").write_text("no archive", encoding="utf-8")
    assert "damaged, or no archive of a run" in line_of(["unpack", "text.tar.xz"], capsys)
    for name in ("../out.sqlite", "/tmp/results.sqlite", "weights/../../a.safetensors", "a.py"):
        said = line_of(["unpack", foreign(tmp_path / "f.tar.xz", name)], capsys)
        assert f"holds '{name}', which is no part of a run" in said
    said = line_of(
        ["unpack", foreign(tmp_path / "f.tar.xz", "results.sqlite", tarfile.SYMTYPE)], capsys
    )
    assert "which is no part of a run" in said
    said = line_of(["unpack", foreign(tmp_path / "f.tar.xz", "arrays/ab.safetensors")], capsys)
    assert "no results.sqlite in it" in said
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["f.tar.xz", "text.tar.xz"]
    Path("mine").mkdir()
    line_of(["unpack", "text.tar.xz", "--out", "mine/new/run"], capsys)
    assert [path.name for path in tmp_path.glob("mine/**")] == ["mine"], "what was there stays"


def declared(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> str:
    """An archive whose only header says so; what follows would come when it is read."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    Path("big.tar.xz").write_bytes(lzma.compress(member.tobuf(tarfile.GNU_FORMAT)))
    return "big.tar.xz"


@pytest.mark.parametrize("verb", [["unpack"], ["merge", "--out", "new/merged", "runs/tiny"]])
def test_a_small_file_that_would_fill_the_disk_is_refused(
    verb: list[str], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = line_of([*verb, declared("arrays/ab.safetensors", 2**42)], capsys)
    assert said == (
        "big.tar.xz: holds 4 TiB or more, over 1,000 times its size, which no run is; it was "
        "not made by `bench pack`"
    )
    assert not Path("runs/big").exists()
    assert not Path("new").exists()


def test_a_run_for_which_there_is_no_room_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pack", str(run)]) == 0
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2**26 + 1000))
    said = line_of(["unpack", "runs/tiny.tar.xz", "--out", "there/again"], capsys)
    assert said.startswith("runs/tiny.tar.xz: results.sqlite in it has ")
    assert said.endswith(
        " KiB, and there is no room for that on the disk; make some, or name a folder on another "
        "disk with --out"
    )
    assert not Path("there").exists()


def test_headers_alone_cannot_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    empty = tarfile.TarInfo("arrays/ab.safetensors").tobuf(tarfile.GNU_FORMAT)
    monkeypatch.setattr(archive, "_SMALL", 2**20)
    Path("big.tar.xz").write_bytes(lzma.compress(empty * 20_000))
    said = line_of(["unpack", "big.tar.xz"], capsys)
    assert "over 1,000 times its size" in said


def test_headers_cannot_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE):
        said = line_of(["unpack", declared("results.sqlite", 2**36, kind)], capsys)
        assert said == "big.tar.xz: damaged, or no archive of a run (a header of 64 GiB)"


def test_an_archive_of_a_damaged_run_is_named_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = line_of(["unpack", foreign(tmp_path / "f.tar.xz", "results.sqlite")], capsys)
    assert said.startswith(f"{tmp_path}/f.tar.xz: results.sqlite: damaged, or not a results file (")
    assert "doctor" not in said, "there is nothing that it could repair"


@pytest.mark.parametrize(
    "words",
    [
        ["report", "FILE"],
        ["explain", "FILE"],
        ["doctor", "FILE"],
        ["baseline", "FILE", "--out", "b.json"],
        ["check", "FILE", "--baseline", "b.json"],
        ["check", "runs/tiny", "--baseline", "FILE"],
        ["compare", "FILE", "runs/tiny"],
    ],
)
def test_who_names_an_archive_as_a_run_is_told_to_unpack_it(
    words: list[str], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["baseline", str(run), "--out", "b.json"]) == 0
    assert main(["pack", str(run), "--out", "a.tar.xz"]) == 0
    said = line_of(["a.tar.xz" if word == "FILE" else word for word in words], capsys)
    assert said.startswith("a.tar.xz: ")
    assert said.endswith("`python -m bench unpack a.tar.xz` makes a run directory of it")


def test_a_run_that_is_there_is_left_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", str(run)]) == 0
    before = tables(run)
    said = line_of(["unpack", "runs/tiny.tar.xz"], capsys)
    assert said == "runs/tiny: is there already; name another folder with --out"
    assert tables(run) == before


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_archive_is_refused_or_gives_the_same_run(
    run: Path, where: float, bit: int, cut: bool
) -> None:
    archive = Path("damaged.tar.xz")
    archive.unlink(missing_ok=True)  # not to be overwritten where its first bytes are damaged
    pack(run, archive)
    data = bytearray(archive.read_bytes())
    place = int(where * len(data))
    data[place] ^= 1 << bit
    archive.write_bytes(data[:place] if cut else data)
    target = Path("from_damaged")
    try:
        unpack(archive, target)
    except BenchError:
        assert not target.exists()
    else:
        assert tables(target) == tables(run)
        for path in target.rglob("*"):
            path.unlink() if path.is_file() else None
        for path in sorted(target.rglob("*"), reverse=True):
            path.rmdir()
        target.rmdir()


@pytest.mark.parametrize(
    ("table", "damage"),
    [
        ("facts", "UPDATE facts SET value = 'name: other' WHERE key = 'suite_text'"),
        ("planned", "UPDATE planned SET variant = 'td'"),
    ],
)
def test_damaged_tables_are_not_packed_as_if_they_were_whole(
    table: str, damage: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(run / "results.sqlite") as db:
        db.execute(damage)
    db.close()
    assert main(["pack", str(run)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{run}/results.sqlite: the table {table} is damaged; `python -m bench doctor" in said
    assert not Path("runs/tiny.tar.xz").exists()
    assert main(["doctor", str(run), "--repair"]) == 0
    assert main(["pack", str(run)]) == 0


def test_what_cannot_be_read_is_not_said_to_be_unwritable(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["unpack", str(run), "--out", "again"]) == 2
    assert capsys.readouterr().err == (
        f"{run}: is a folder, not a file of `bench pack`; a run directory needs no unpacking\n"
    )


@pytest.mark.parametrize("mask", [0o077, 0o027, 0o002])
def test_who_may_read_a_new_run_is_as_their_owner_wants(mask: int, run: Path) -> None:
    assert main(["pack", str(run)]) == 0
    before = os.umask(mask)
    try:
        assert main(["unpack", "runs/tiny.tar.xz", "--out", "again"]) == 0
        assert main(["merge", "again", str(run), "--out", "merged"]) == 0
    finally:
        os.umask(before)
    for folder in (Path("again"), Path("merged")):
        for path in (folder, *folder.rglob("*")):
            full = 0o555 if path.is_dir() else 0o444
            assert path.stat().st_mode & 0o555 == full & ~mask, path
