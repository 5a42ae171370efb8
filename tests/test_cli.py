"""The command line: verbs, exit codes, and what starting it costs."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bench import __version__
from bench.cli import LISTS, main
from bench.data.root import default_root

ROOT = Path(__file__).parents[1]
VERBS = ("run", "plan", "list", "report", "describe", "baseline", "check", "compare")
HEAVY = ("torch", "torchvision", "numpy", "pandas", "matplotlib", "pydantic", "scipy", "pyarrow")
ALLOWED = 0.150

Out = pytest.CaptureFixture[str]


def exit_code(*words: str) -> int:
    """What the shell sees, whether argparse or a verb ends it."""
    try:
        return main(words)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


def cpu_seconds(*words: str) -> float:
    """User and system time of one `python -m bench`."""
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    argv = [sys.executable, "-m", "bench", *words]
    process = os.posix_spawn(sys.executable, argv, os.environ, file_actions=silent)
    _, status, usage = os.wait4(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("words", [("--help",), ("list", "suites")], ids=" ".join)
def test_help_and_suites_start_at_once(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    spent = min(cpu_seconds(*words) for _ in range(5))
    assert spent <= ALLOWED, f"{spent:.3f} s of CPU time; at most {ALLOWED} s allowed"


@pytest.mark.parametrize(
    "words", [("--help",), ("list", "suites"), ("run", "--help")], ids=" ".join
)
def test_help_and_suites_import_nothing_heavy(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bench", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert "bench" in imported or "argparse" in imported
    assert not imported & set(HEAVY)
    assert done.stdout


def test_version(capsys: Out) -> None:
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"topdown-bench {__version__}\n"


def test_help_names_every_verb(capsys: Out) -> None:
    assert exit_code("--help") == 0
    out = capsys.readouterr().out
    assert all(f"\n    {verb} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: Out) -> None:
    assert exit_code(verb, "--help") == 0
    assert capsys.readouterr().out.startswith(f"usage: bench {verb} ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "required: VERB"),
        (("runn", "quickstart"), "invalid choice: 'runn'"),
        (("list", "networks"), "invalid choice: 'networks'"),
        (("list",), "required: what"),
        (("plan",), "required: SUITE"),
        (("plan", "quickstart", "--quick"), "unrecognized arguments: --quick"),
        (("run", "quickstart", "--workers", "many"), "'many' is neither a whole number nor auto"),
        (("run", "quickstart", "--workers", "0"), "--workers 0: must be 1 or more"),
        (("plan", "quickstrat"), "no such suite file; did you mean 'quickstart'?"),
        (("plan", "quickstart", "--only", "x*"), "--only 'x*' fits no cell"),
        (("run", "quickstart", "--only", "*", "--only", "x*"), "--only 'x*' fits no cell"),
        (("describe", "lenetfc"), "unknown backbone 'lenetfc'; did you mean 'lenet_fc'?"),
        (("describe", "lenet_fc@up"), "unknown variant 'up'"),
        (("describe", "lenet_fc", "--image-size", "0"), "describe lenet_fc: "),
        (("describe", "json:loads"), "backbone 'json:loads' cannot be built: TypeError"),
        (("report", "no/such/run"), "no/such/run: no run there"),
        (("compare", "no/such/run", "other"), "no/such/run: no run there"),
        (("baseline", "no/such/run", "--out", "b.json"), "no/such/run: no run there"),
        (("check",), "name a RUN and its --baseline FILE"),
        (("check", "run", "--baseline", "no.json"), "no.json: cannot be read"),
        (("check", "--benchmark-json", "a.json"), "need each other"),
    ],
)
def test_wrong_usage_exits_with_two_and_a_reason(
    words: tuple[str, ...], said: str, capsys: Out
) -> None:
    assert exit_code(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert said in line


def test_wrong_usage_says_where_help_is(capsys: Out) -> None:
    for words, said in [
        (("export", "run"), "bench export: error: the following arguments are required: --to; "),
        (("export", "run", "--to", "mlflow", "--x"), "bench export: error: unrecognized arguments"),
        (("list", "a\nb"), "bench list: error: argument what: invalid choice: 'a\\nb'"),
        (("plan", "s", "a\nb"), "bench plan: error: unrecognized arguments: a\\nb; "),
    ]:
        assert exit_code(*words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(said)
        assert line.endswith(f"; see `bench {words[0]} --help`")


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("backbones", "lenet_fc"),
        ("variants", "td_rev"),
        ("datasets", "fashion-mnist-mini"),
        ("datasets", "imagefolder:PATH"),
        ("attacks", "gaussian_blur"),
        ("measures", "robustness"),
        ("suites", "quickstart"),
    ],
)
def test_list(what: str, name: str, capsys: Out) -> None:
    assert what in LISTS
    assert exit_code("list", what) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = [line for line in out.splitlines() if line and not line.startswith(" ")]
    rows = {line.split()[0]: line.partition(" ")[2] for line in lines}
    assert len(rows[name]) > 20  # every row says what it is
    assert not any("ERROR" in text for text in rows.values())


def test_describe(capsys: Out) -> None:
    words = ("describe", "lenet_fc@td", "--image-size", "28", "--in-chans", "1")
    assert exit_code(*words) == 0
    assert capsys.readouterr().out.startswith("lenet_fc@td: 1 x 28 x 28 to 10 classes")
    assert exit_code(*words, "--json") == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_plan_of_a_shipped_suite(
    capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code("plan", "quickstart", "--no-cost") == 0
    *cells, last = capsys.readouterr().out.splitlines()
    assert len(cells) == 18
    assert all(line.startswith("to do   fashion-mnist-mini/lenet_fc/") for line in cells)
    assert last == "18 cells: 0 done, 0 failed, 18 to do; results in runs/quickstart"
    assert list(tmp_path.iterdir()) == []  # planning writes nothing


def test_plan_tells_which_data_are_missing(
    capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    suite = tmp_path / "some.yaml"
    suite.write_text(
        "name: some\nseeds: [0]\ndatasets: [mnist, fashion-mnist-mini]\n"
        "backbones: [lenet_fc]\nrecipe: {epochs: 1}\nmeasures: [accuracy]\n"
    )
    words = ("plan", str(suite), "--no-cost")
    assert exit_code(*words, "--data", str(tmp_path / "none")) == 0
    *cells, last, note = capsys.readouterr().out.splitlines()
    assert len(cells) == 4
    assert last.startswith("4 cells: 0 done, 0 failed, 4 to do")
    assert note.startswith(f"note: mnist is not in {tmp_path / 'none'}: ")
    assert "--data DIR" in note
    assert "`bench run --download` fetches it (12 MB)" in note  # `plan` has no such option
    assert default_root() != tmp_path / "none", "the flag is of one command"
    # Nothing to miss where the cells that use it are left out.
    assert exit_code(*words, "--data", str(tmp_path / "none"), "--only", "fashion*") == 0
    assert "note: " not in capsys.readouterr().out


def test_plan_of_a_part(capsys: Out) -> None:
    assert exit_code("plan", "quickstart", "--no-cost", "--only", "*/td/seed1/acc*") == 0
    *cells, last = capsys.readouterr().out.splitlines()
    assert [line.rpartition("/")[2] for line in cells] == ["train", "accuracy"]
    assert last.startswith("2 cells: ")


def test_plan_estimates_the_cost(
    capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where no run is done yet
    assert exit_code("plan", "quickstart", "--only", "*/bu/seed0/accuracy") == 0
    lines = capsys.readouterr().out.splitlines()
    first, gpu, second = [line for line in lines[-4:] if not line.startswith("note: ")][-3:]
    assert first.startswith("estimate for this machine's CPU, one worker: ")
    assert gpu.startswith("estimate for one GPU, ")
    assert "timed" in gpu
    assert second.startswith("  fashion-mnist-mini/lenet_fc/bu: ")


def unread(*words: str, folder: Path = ROOT, buffered: bool = True) -> tuple[int, str]:
    """Exit code and errors of `python -m bench ... | true`."""
    reading, writing = os.pipe()
    os.close(reading)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT), **({} if buffered else UNBUFFERED)},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    return done.returncode, done.stderr


UNBUFFERED = {"PYTHONUNBUFFERED": "1"}


@pytest.mark.parametrize("words", ["list backbones", "plan quickstart --no-cost"])
def test_a_reader_that_goes_away_is_no_error(words: str) -> None:
    assert unread(*words.split()) == (0, "")


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published run of the quickstart."""
    folder = tmp_path_factory.mktemp("quickstart") / "run"
    archive = ROOT / "leaderboard/published/quickstart/run.tar.xz"
    assert main(["unpack", str(archive), "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("buffered", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_verdict_that_nobody_reads_is_the_exit_code_all_the_same(
    quickstart: Path, tmp_path: Path, buffered: bool
) -> None:
    """With `set -o pipefail`, `bench check ... | head` is not to pass."""
    run = shutil.copytree(quickstart, tmp_path / "run")
    with sqlite3.connect(run / "results.sqlite") as database:
        database.execute("DELETE FROM cells WHERE name LIKE '%/accuracy'")
    database.close()
    baseline = ("--baseline", str(ROOT / "leaderboard/baselines/quickstart.json"))
    assert unread("check", str(run), *baseline, buffered=buffered) == (4, "")
    assert unread("doctor", str(run), buffered=buffered) == (1, "")
    csv = ("--format", "csv", "--out", str(tmp_path / "numbers.csv"))
    code, errors = unread("report", str(run), *csv, buffered=buffered)
    assert (code, "cannot be written" in errors) == (0, False)
    assert unread("doctor", str(run), "--repair", buffered=buffered)[0] == 0
    assert main(["doctor", str(run)]) == 0


@pytest.mark.slow
def test_a_run_that_nobody_reads_says_that_it_is_not_finished(tmp_path: Path) -> None:
    code, errors = unread("run", "quickstart", "--only", "*/bu/seed0/*", folder=tmp_path)
    assert code == 141
    assert errors.splitlines()[-1] == (
        "interrupted, for nobody reads the output any more (--quiet prints none); run the same "
        "command again to go on"
    )


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "latin-1", "cp1252"])
def test_a_terminal_without_unicode_shows_what_it_can(quickstart: Path, encoding: str) -> None:
    baseline = ("--baseline", str(ROOT / "leaderboard/baselines/quickstart.json"))
    done = subprocess.run(
        [sys.executable, "-m", "bench", "check", str(quickstart), *baseline],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert done.returncode in (0, 3), done.stderr
    assert b"? pass" in done.stdout
    assert done.stderr == b""


def test_a_path_that_is_no_text_is_printed_as_it_is(quickstart: Path, tmp_path: Path) -> None:
    out = os.fsencode(tmp_path) + b"/caf\xe9.csv"
    words = [b"report", os.fsencode(quickstart), b"--format", b"csv", b"--out", out]
    done = subprocess.run(
        [os.fsencode(sys.executable), b"-m", b"bench", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},  # as most locales have it
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, out + b"\n", b"")


def test_a_report_that_cannot_be_written_says_where_and_what_to_do(
    quickstart: Path, tmp_path: Path, capsys: Out
) -> None:
    run = shutil.copytree(quickstart, tmp_path / "run")
    (run / "figures").write_text("in the way", encoding="utf-8")
    assert main(["report", str(run)]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"{run}: cannot be written: ")
    assert error.endswith("/figures'; --out names another place")


@pytest.mark.parametrize("below", ["x.csv", "more/x.csv"])
def test_a_report_below_a_file_is_refused_in_plain_words(
    quickstart: Path, tmp_path: Path, capsys: Out, below: str
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine", encoding="utf-8")
    out = file / below
    assert main(["report", str(quickstart), "--format", "csv", "--out", str(out)]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error == f"--out {out}: cannot be written: {file} is a file, not a folder"
