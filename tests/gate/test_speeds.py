"""Speeds at the gate: one timing a run, of whose noise only further runs tell."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from bench.store import seals
from leaderboard.gate.baseline import Baseline, dumps, loads
from leaderboard.gate.finding import Exit, Status
from leaderboard.gate.judge import judge
from leaderboard.gate.measured import Machine, Measured, Number
from leaderboard.gate.noise import noise
from leaderboard.numbers.summary import Key

Out = pytest.CaptureFixture[str]
Speeds = Callable[..., Path]
FAST, SLOW = "blobs/fast/bu", "blobs/slow/bu"


@pytest.fixture
def speeds(
    tiny: Callable[..., Path], ran: Callable[..., None], tmp_path: Path, capsys: Out
) -> Speeds:
    """Makes runs of a suite that times two networks of two seeds, with the speeds told."""
    accuracy = "  - accuracy\n  - robustness: {attacks: [{name: gaussian_blur, epsilons: 20}], "
    suite = tiny(
        (f"{accuracy}samples: 20}}\n", "  - efficiency: {seconds: 0.01, resident: false}\n"),
        ("seeds: [0]", "seeds: [0, 1]"),
        (
            "[tiny_nets:linear]",
            "[{name: 'tiny_nets:linear', label: fast}, {name: 'tiny_nets:linear', label: slow}]",
        ),
        ("measures:", "overrides: [{match: '*/slow/*', recipe: {lr: 0.04}}]\nmeasures:"),
    )
    first = tmp_path / "first"
    ran(suite, first)
    capsys.readouterr()
    made = Counter[str]()

    def make(
        fast: float,
        slow: float = 1000.0,
        iqr: float = 0.03,
        load: float = 0.0,
        batch: float = 128.0,
    ) -> Path:
        made["runs"] += 1
        run = tmp_path / f"run{made['runs']}"
        shutil.copytree(first, run)
        with sqlite3.connect(run / "results.sqlite") as connection:
            connection.execute("DELETE FROM metrics WHERE metric = 'other_load'")
            rows = connection.execute("SELECT identity, name FROM cells WHERE name LIKE '%/eff%'")
            for identity, name in rows.fetchall():
                speed = fast if name.startswith(FAST) else slow
                for metric, value in (
                    ("images_per_second", speed),
                    ("images_per_second_iqr", iqr * speed),
                    ("batch_size", batch),
                    ("train_batch_size", batch),
                ):
                    connection.execute(
                        "UPDATE metrics SET value = ? WHERE identity = ? AND metric = ?",
                        (value, identity, metric),
                    )
                # Timings so short do not always have one.
                connection.execute(
                    "INSERT INTO metrics (identity, metric, value, position, unit, info) "
                    "SELECT identity, 'other_load', ?, 99, '%', info FROM metrics "
                    "WHERE identity = ? AND metric = 'images_per_second'",
                    (load, identity),
                )
            connection.execute("DELETE FROM seals")
            seals.seal_all(connection)
        connection.close()
        return run

    return make


def baseline(run: Path, *noise_from: Path, **thresholds: object) -> Path:
    """A baseline of a run; with a threshold for images/s."""
    out = run.with_suffix(".json")
    more = ["--noise-from", *map(str, noise_from)] if noise_from else []
    assert main(["baseline", str(run), "--out", str(out), *more]) == 0
    if thresholds:
        said = {f"{FAST}/efficiency/images_per_second": thresholds}
        out.write_text(json.dumps({**json.loads(out.read_text()), "thresholds": said}))
    return out


def check(run: Path, against: Path, capsys: Out) -> tuple[int, str, str]:
    """The exit code, what is said of the fast network, and the last line."""
    capsys.readouterr()
    code = main(["check", str(run), "--baseline", str(against)])
    lines = capsys.readouterr().out.splitlines()
    (said,) = (line for line in lines if f"{FAST}/efficiency images_per_second" in line)
    return code, said, lines[-1]


def test_one_timing_shows_what_no_noise_explains(speeds: Speeds, capsys: Out) -> None:
    first = speeds(60_000)
    against = baseline(first)
    code, said, _ = check(speeds(1_000), against, capsys)
    assert (code, "-98.3 %" in said) == (1, True), said
    assert "more than any plausible noise between runs" in said
    assert check(speeds(22_000), against, capsys)[0] == 1
    # Passes that lie far apart make more plausible.
    assert check(speeds(22_000, iqr=0.6), against, capsys)[0] == 3
    for less in (59_900, 45_000, 28_000):
        code, said, last = check(speeds(less), against, capsys)
        assert (code, "a slowdown of 3.0 % cannot be excluded" in said) == (3, True), said
        assert "more seeds" not in last
        assert "make the baseline with --noise-from of further runs" in last


def test_further_runs_tell_the_noise(speeds: Speeds, capsys: Out) -> None:
    """As many degrees of freedom as further runs, of whichever seed they timed."""
    further = [speeds(60_000 * f, 1_000 * f) for f in (1.003, 0.998, 1.001, 0.996)]
    against = baseline(speeds(60_000), *further)
    assert check(speeds(60_100, 1_001), against, capsys)[0] == 0
    code, said, _ = check(speeds(51_000, 1_001), against, capsys)
    assert (code, "-15.0 %" in said) == (1, True), said
    assert check(speeds(57_900, 1_001), against, capsys)[0] == 3  # between delta and noise
    # Few, and far apart.
    against = baseline(speeds(60_000), speeds(66_000, 1_001), speeds(56_000, 999))
    code, said, last = check(speeds(51_000, 1_000.5), against, capsys)
    assert (code, "the baseline against itself varies by" in said) == (3, True), said
    assert "--noise-from of further runs" in last


def test_ratios_to_a_reference_have_the_noise_of_ratios(speeds: Speeds, capsys: Out) -> None:
    """A machine that is slow for all, or busy, leaves them as they are."""
    common, own = (1.4, 0.8, 1.1, 0.9), (1.002, 0.999, 1.001, 0.997)
    further = [
        speeds(60_000 * c * o, 1_000 * c, load=40.0) for c, o in zip(common, own, strict=True)
    ]
    words = {"relative": 0.1, "reference": SLOW}
    against = baseline(speeds(60_000), *further, **words)
    _, said, _ = check(speeds(30_100, 500), against, capsys)
    assert said.startswith("✓ pass"), said
    code, said, _ = check(speeds(48_000, 1_000.5), against, capsys)
    assert (code, said.startswith("✗ regression")) == (1, True), said
    # Without further runs a ratio has the noise of two timings on each side.
    against = baseline(speeds(60_000), **words)
    assert check(speeds(18_000, 1_001), against, capsys)[0] == 3
    assert check(speeds(12_000, 1_001), against, capsys)[0] == 1


def test_the_reference_is_not_compared_with_itself(speeds: Speeds, capsys: Out) -> None:
    against = baseline(speeds(60_000), relative=0.1, reference=FAST)
    _, said, _ = check(speeds(50_000), against, capsys)
    assert said.startswith("· not compared"), said
    assert "the reference itself" in said


def test_timings_of_a_busy_machine_or_a_copy_are_no_noise(speeds: Speeds, capsys: Out) -> None:
    first = speeds(60_000)
    busy = [speeds(60_000 * f, load=50.0) for f in (1.003, 0.998, 1.001, 0.996)]
    code, said, last = check(speeds(51_000), baseline(first, *busy), capsys)
    assert (code, "were timed on another or a busy machine" in said) == (3, True), said
    assert "when it is quiet" in last
    copy = first.with_name("copy")
    shutil.copytree(first, copy)
    assert main(["baseline", str(first), "--out", "x.json", "--noise-from", str(copy)]) == 2
    assert "the same results as" in capsys.readouterr().err


def test_costs_of_other_batches_are_not_compared(speeds: Speeds, capsys: Out) -> None:
    """Half of the images need about half of the memory: no gain, and no pass."""
    whole, half = speeds(fast=5000), speeds(fast=5000, batch=64)
    code, said, last = check(half, baseline(whole), capsys)
    assert code == 3
    assert "of batches of 128 in the baseline, of 64 in the run" in said
    assert "measure with as many images" in last
    main(["check", str(half), "--baseline", str(baseline(whole))])
    memory = [line for line in capsys.readouterr().out.splitlines() if "train_memory" in line]
    assert memory
    assert all("inconclusive" in line for line in memory)
    assert main(["compare", str(whole), str(half)]) == 0
    assert "of batches of 128 before, of 64 after" in capsys.readouterr().out
    old = json.loads(baseline(whole).read_text())
    old["numbers"] = [one for one in old["numbers"] if "batch_size" not in one["metric"]]
    kept = whole.with_suffix(".old.json")
    kept.write_text(json.dumps(old))
    assert "in the run" not in check(half, kept, capsys)[1]


def test_baselines_without_spreads_of_timings_are_read(speeds: Speeds, capsys: Out) -> None:
    """As they were before those were kept."""
    against = baseline(speeds(60_000), speeds(60_100))
    read = json.loads(against.read_text())
    assert dumps(loads(against.read_text(), "x")) == against.read_text()
    assert len(read["noise"].pop("timed")) == 1
    iqr = [one for one in read["numbers"] if one["metric"] == "images_per_second_iqr"]
    assert [one["better"] for one in iqr] == ["neither", "neither"]
    read["numbers"] = [one for one in read["numbers"] if one not in iqr]
    against.write_text(json.dumps(read))
    assert check(speeds(1_000), against, capsys)[0] == 1
    assert main(["check", str(speeds(50_000)), "--baseline", str(against)]) == 3
    assert "without a baseline" not in capsys.readouterr().out


def test_compare_tells_of_speeds(speeds: Speeds, capsys: Out) -> None:
    first = speeds(60_000)

    def said(one: Path, other: Path) -> str:
        capsys.readouterr()
        assert main(["compare", str(one), str(other)]) == 0
        out = capsys.readouterr().out.replace("\\", "")
        (line,) = (x for x in out.splitlines() if f"| {FAST}/efficiency images_per_second" in x)
        return line

    assert "| -98.33 % (" in said(first, speeds(1_000))
    assert "worse (one timing on each side)" in said(first, speeds(1_000))
    assert "inconclusive (one timing on each side)" in said(first, speeds(45_000))
    assert "inconclusive (timed on a busy machine)" in said(first, speeds(1_000, load=40.0))
    further = [speeds(60_000 * f, 1_000 * f) for f in (1.003, 0.998, 1.001, 0.996)]
    assert "worse (further runs)" in said(baseline(first, *further), speeds(45_000))


# Boards of networks between which nothing has changed but the moment ---------------------------

NETS = 6
BOARDS = 1000


def board(random: np.random.Generator, spread: float, common: float) -> Measured:
    """A run of networks; `common` is the share of the variance that all of them have together."""
    shift = math.sqrt(common) * random.normal()
    numbers = {}
    for net in range(NETS):
        log = spread * (shift + math.sqrt(1 - common) * random.normal())
        key = Key("some", f"net{net}", "bu", "efficiency", "images_per_second")
        numbers[key] = Number("images/s", "higher", {0: 1000 * 4.0**net * math.exp(log)})
        iqr = Number("images/s", "neither", {0: 0.02 * 1000 * 4.0**net})
        numbers[key._replace(metric="images_per_second_iqr")] = iqr
    return Measured("suite", {}, Machine("CPU, 2 cores", "cpu", "2.9"), numbers)


def boards(
    spread: float, further: int, common: float, slowed: float = 0.0, count: int = BOARDS
) -> tuple[Counter[Exit], Counter[Status]]:
    """How boards end, and their first numbers, of which that share of the speed was lost."""
    random = np.random.default_rng([round(1000 * spread), further, round(10 * common)])
    ends, firsts = Counter[Exit](), Counter[Status]()
    for _ in range(count):
        history: Sequence[Measured] = [board(random, spread, common) for _ in range(further + 1)]
        run = board(random, spread, common)
        key, number = next(iter(run.numbers.items()))
        slow = Number(number.unit, number.better, {0: number.values[0] * (1 - slowed)})
        run = Measured("suite", {}, run.machine, {**run.numbers, key: slow})
        judgement = judge(run, Baseline(history[0], noise(history)))
        ends[judgement.exit] += 1
        firsts[judgement.findings[0].status] += 1
    return ends, firsts


@pytest.mark.parametrize("further", [0, 1, 4])
def test_noise_between_runs_raises_no_alarm(further: int) -> None:
    """The same in short."""
    ends, _ = boards(0.1, further, 0.5, count=120)
    assert ends[Exit.REGRESSION] <= 3  # at 1 %, four or more are one in thirty


@pytest.mark.slow
@pytest.mark.parametrize("common", [0.0, 1.0])
@pytest.mark.parametrize("further", [0, 1, 2, 4, 9])
@pytest.mark.parametrize("spread", [0.005, 0.05, 0.17])
def test_noise_between_runs_is_no_regression(spread: float, further: int, common: float) -> None:
    ends, _ = boards(spread, further, common)
    print(spread, further, common, ends)
    assert ends[Exit.REGRESSION] <= 0.01 * BOARDS


@pytest.mark.slow
@pytest.mark.parametrize("further", [0, 1, 2, 4, 9])
@pytest.mark.parametrize("spread", [0.005, 0.02, 0.1])
def test_a_slowdown_does_not_pass(spread: float, further: int) -> None:
    """One of 15 % is beyond what any baseline allows that can pass."""
    _, firsts = boards(spread, further, 0.5, slowed=0.15)
    print(spread, further, firsts)
    assert firsts[Status.PASS] <= 0.01 * BOARDS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spread", "further", "slowed", "least"),
    [(0.02, 0, 0.7, 0.99), (0.1, 0, 0.75, 0.98), (0.005, 4, 0.15, 0.9), (0.005, 9, 0.1, 0.9)],
)
def test_a_slowdown_is_seen(spread: float, further: int, slowed: float, least: float) -> None:
    _, firsts = boards(spread, further, 0.5, slowed=slowed)
    print(spread, further, slowed, firsts)
    assert firsts[Status.REGRESSION] >= least * BOARDS
