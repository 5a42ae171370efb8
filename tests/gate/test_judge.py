"""The rules of the gate, one by one, on runs drawn from real networks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from simulated import by_seed, drawn, lost, slower, ten_seeds

from bench.cli import main
from leaderboard.gate.baseline import Baseline, dumps, loads
from leaderboard.gate.benchmarks import judge_benchmarks
from leaderboard.gate.compare import compare
from leaderboard.gate.finding import Exit, Finding, Judgement, Status
from leaderboard.gate.judge import judge
from leaderboard.gate.measured import Attacked, Machine, Measured, Number, Trained
from leaderboard.gate.noise import NONE, noise
from leaderboard.gate.report import as_markdown, as_text, headline
from leaderboard.gate.thresholds import Threshold
from leaderboard.numbers.summary import Key
from leaderboard.statistics.verdict import Verdict
from leaderboard.text import markdown

ROOT = Path(__file__).parents[2]
SPEED = "efficiency/images_per_second"


def finding(run: Measured, baseline: Baseline, name: str, variant: str = "td") -> Finding:
    found = judge(run, baseline).findings
    return next(
        f for f in found if f"{f.key.measure}/{f.key.metric}" == name and f.key.variant == variant
    )


@pytest.fixture
def pair() -> tuple[Baseline, Measured]:
    return drawn(np.random.default_rng(4), 5)


def test_a_baseline_is_read_as_it_was_written() -> None:
    text = dumps(ten_seeds())
    assert dumps(loads(text, "x")) == text


def test_the_committed_baseline_is_of_the_quickstart() -> None:
    path = ROOT / "leaderboard" / "baselines" / "quickstart.json"
    kept = loads(path.read_text(encoding="utf-8"), str(path))
    assert kept.measured.suite == "quickstart"
    assert judge(kept.measured, kept).exit is Exit.PASS  # the same again is no loss
    suite = yaml.safe_load((ROOT / "suites" / "quickstart.yaml").read_text(encoding="utf-8"))
    assert kept.measured.experiment["seeds"] == suite["seeds"]
    assert {k: kept.measured.experiment["recipe"][k] for k in suite["recipe"]} == suite["recipe"]


def test_speeds_are_compared_on_like_hardware_only(pair: tuple[Baseline, Measured]) -> None:
    baseline, run = pair
    slow = replace(slower(0.2)(run), machine=Machine("Another CPU, 4 cores; 8 GiB", "cpu", "2.9"))
    found = finding(slow, baseline, SPEED)
    assert found.status is Status.NOT_COMPARED
    then = baseline.measured.machine
    said = (
        f"hardware is {then.model} in the baseline, Another CPU, 4 cores in the run; "
        f"torch is {then.torch} in the baseline, 2.9 in the run"
    )
    assert found.reason == f"other machine: {said}"
    assert judge(slow, baseline).notes == (f"another machine: {said}",)
    notes = compare(baseline, Baseline(slow, noise([slow]))).notes
    assert f"Another CPU, 4 cores after; torch is {then.torch} before, 2.9 after" in notes[-1]
    reference = {SPEED: Threshold(reference="fashion-mnist-mini/lenet_fc/bu")}
    with_reference = replace(baseline, thresholds=reference)
    assert finding(slow, with_reference, SPEED).status is Status.PASS  # both alike
    one = replace(slower(0.3, ("td",))(run), machine=slow.machine)
    assert finding(one, with_reference, SPEED).status is Status.REGRESSION


def test_memory_beside_the_processor_does_not_make_it_another() -> None:
    one, two = (Machine(f"CPU, 2 cores; {n} GiB", "cpu", "2.9") for n in (8, 24))
    assert not one.differs(two)
    assert "torch" in one.differs(replace(one, torch="3.0"))
    # Of a merged run, or of a cluster as its baselines used to have it.
    both, alike, other = (
        Machine(text, "cpu", "2.9")
        for text in (
            "CPU, 2 cores; 8 GiB and GPU (8 GiB); CPU, 4 cores; 24 GiB",
            "CPU, 2 cores; 9 GiB | GPU (8 GiB); CPU, 4 cores; 16 GiB",
            "CPU, 2 cores; 8 GiB and GPU (9 GiB); CPU, 4 cores; 24 GiB",
        )
    )
    assert both.model == "CPU, 2 cores and GPU (8 GiB); CPU, 4 cores"
    assert not both.differs(alike)
    assert both.differs(other)


def test_a_busy_machine_says_nothing_of_speed(pair: tuple[Baseline, Measured]) -> None:
    baseline, run = pair
    key = next(k for k in run.numbers if k.metric == "images_per_second" and k.variant == "td")
    load = replace(run.numbers[key], better="neither", values=dict.fromkeys(range(5), 40.0))
    busy = replace(run, numbers={**run.numbers, key._replace(metric="other_load"): load})
    found = finding(busy, baseline, SPEED)
    assert (found.status, "busy" in found.reason) == (Status.INCONCLUSIVE, True)
    # More seeds would be timed as badly.
    alone = Judgement((found,))
    quiet = "timed on a busy machine: measure again when it is quiet"
    assert headline(alone) == f"inconclusive: {quiet} (1 inconclusive)"
    open_ = replace(found, key=key._replace(metric="top1"), remedy="")
    assert headline(Judgement((open_,))).startswith("inconclusive: more seeds would tell (1 ")
    both = headline(alone.joined(Judgement((open_,))))
    assert both == f"inconclusive: {quiet}; of others, more seeds would tell (2 inconclusive)"
    # Where it was the baseline's machine, the run may be timed again for ever.
    numbers = {**baseline.measured.numbers, key._replace(metric="other_load"): load}
    busy_then = replace(baseline, measured=replace(baseline.measured, numbers=numbers))
    found = finding(run, busy_then, SPEED)
    assert found.reason.startswith("the baseline was timed on a busy machine")
    assert "make the baseline again" in headline(Judgement((found,)))


@pytest.mark.parametrize(("flipped", "wanted"), [(3, Status.PASS), (40, Status.REGRESSION)])
def test_the_same_weights_are_compared_image_by_image(flipped: int, wanted: Status) -> None:
    kept = ten_seeds()
    net = Trained("fashion-mnist-mini", "lenet_fc", "td", 0)
    bits = kept.measured.correct[net].copy()
    bits[np.flatnonzero(bits)[:flipped]] = False
    key = next(k for k in kept.measured.numbers if k.metric == "top1" and k.variant == "td")
    number = kept.measured.numbers[key]
    values = {**number.values, 0: 100 * float(bits.mean())}
    run = replace(
        kept.measured,
        correct={**kept.measured.correct, net: bits},
        numbers={**kept.measured.numbers, key: replace(number, values=values)},
    )
    found = finding(run, kept, "accuracy/top1")
    assert found.status is wanted
    assert f"{flipped} images lost and 0 gained of 10000" in found.reason


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        (41.0, 49.312, "41.00 % -> 49.31 %"),
        (49.3, 41.0, "49.3 % -> 41.0 %"),
        (640.0, 640.0, "640 % -> 640 %"),
        (9.9994, 10.01, "10.00 % -> 10.01 %"),
        (999.46, 34_400.2, "999 % -> 34,400 %"),
        (0.0, 0.01234, "0.00000 % -> 0.01234 %"),
        (0.0, 0.0, "0 % -> 0 %"),
        (3e-6, 0.0, "3.000e-06 % -> 0.000e+00 %"),
        (float("inf"), 2.5, "inf % -> 2.5 %"),
        (float("inf"), float("inf"), "inf % -> inf %"),
    ],
)
def test_both_sides_have_as_many_decimals(before: float, after: float, wanted: str) -> None:
    key = Key("some", "net", "bu", "accuracy", "top1")
    found = Finding(key, "%", Status.PASS, before=before, after=after)
    assert f"accuracy top1  {wanted}\n" in as_text(Judgement((found,)), "run")
    cells = " | ".join(map(markdown, wanted.split(" -> ")))
    assert f"| {cells} |" in as_markdown(Judgement((found,)), "run")


def test_robustness_that_jumps_up_is_suspicious(pair: tuple[Baseline, Measured]) -> None:
    baseline, run = pair
    blind = {
        key: Attacked((one.l2 * 2).astype(np.float16), one.index)
        for key, one in run.attacked.items()
    }
    found = finding(replace(run, attacked=blind), baseline, "robustness/gaussian_blur/area")
    assert found.suspicious
    assert "look whether the attack still works" in found.reason


def test_counted_numbers_may_grow_by_a_percent() -> None:
    kept = ten_seeds()
    for factor, wanted in ((1.009, Status.PASS), (1.011, Status.REGRESSION), (0.5, Status.PASS)):
        grown = {
            key: replace(n, values={s: factor * v for s, v in n.values.items()})
            if key.metric == "flops"
            else n
            for key, n in kept.measured.numbers.items()
        }
        run = replace(kept.measured, numbers=grown)
        assert finding(run, kept, "efficiency/flops").status is wanted


def test_one_seed_without_any_noise_known_is_inconclusive() -> None:
    baseline, run = drawn(np.random.default_rng(0), 1)
    alone = Baseline(baseline.measured, noise([baseline.measured]))
    found = finding(run, alone, "accuracy/top1")
    assert (found.status, "single seed" in found.reason) == (Status.INCONCLUSIVE, True)


def test_trainings_of_the_same_seeds_tell_the_noise_of_differences() -> None:
    """They are closer to one another than two seeds are, which a baseline can learn."""
    _, run = drawn(np.random.default_rng(0), 5)
    again = lost(0.1)(run)
    again = replace(
        again,
        numbers={
            key: replace(n, values={s: v + 0.1 * (s % 2) for s, v in n.values.items()})
            for key, n in again.numbers.items()
        },
    )
    found = noise([run, again])
    key = next(k for k in run.numbers if k.metric == "top1")
    prior, pooled = found.of_difference(key, run)
    assert (prior.variance, pooled) == (pytest.approx(0.003), 8)  # of 0, .1, 0, .1, 0
    assert found.of_seeds(key).variance > 10 * prior.variance


def test_compare_tells_what_is_beyond_noise(pair: tuple[Baseline, Measured]) -> None:
    baseline, run = pair
    same = compare(baseline, Baseline(run, noise([run])))
    verdicts = {change.verdict for change in same.changes}
    assert not verdicts & {Verdict.BETTER, Verdict.WORSE}
    worse = compare(baseline, Baseline(lost(3.0, ("td",))(run), noise([run])))
    bad = [change for change in worse.changes if change.verdict is Verdict.WORSE]
    assert [change.key[2:] for change in bad] == [("td", "accuracy", "top1")]
    (found,) = (change.compared for change in bad)
    assert found is not None
    assert found.low < found.difference < found.high < 0


@pytest.mark.parametrize("alike", [1, 20])
def test_identical_numbers_do_not_hide_what_has_changed(alike: int) -> None:
    """In one run of two, all networks but one may be the very same: that is no test of chance."""
    top1 = 90.0 + 0.1 * np.arange(4)
    before = {Key("some", "net", "bu", "accuracy", "top1"): top1}
    after = {key: values - (0.2, 0.6, 0.3, 0.7) for key, values in before.items()}
    for number in range(alike):
        same = Key("some", f"net{number}", "bu", "localization", "energy")
        before[same] = after[same] = top1
    one, other = (
        Measured(
            "suite", {}, Machine(), {k: Number("%", "higher", by_seed(v)) for k, v in s.items()}
        )
        for s in (before, after)
    )
    changed, *others = compare(Baseline(one, NONE), Baseline(other, NONE)).changes
    assert {(o.verdict, o.reason) for o in others} == {(Verdict.EQUIVALENT, "identical")}
    assert changed.compared is not None
    assert 0.003 < changed.compared.p_value < 0.05
    assert changed.compared.corrected == changed.compared.p_value
    gated = finding(other, Baseline(one, NONE), "accuracy/top1", "bu")
    assert gated.p_value == pytest.approx(changed.compared.p_value / 2)  # one-sided
    assert changed.verdict is Verdict.WORSE


def test_values_of_a_suite_are_told_as_they_are() -> None:
    """Of two runs, sentences say before and after; what a suite holds may have the words, too."""
    key = Key("some", "net", "bu", "accuracy", "top1")
    one, other = (
        Baseline(
            Measured(
                "suite",
                {"note": f"{word} seen in the run"},
                Machine(),
                {key: Number("%", "higher", {0: 90.0})},
            ),
            NONE,
        )
        for word in ("once", "twice")
    )
    said = "note is once seen in the run before, twice seen in the run after"
    assert said in compare(one, other).notes


def test_two_seeds_that_agree_by_chance_decide_nothing() -> None:
    key = Key("some", "net", "bu", "accuracy", "top1")
    one, other = (
        Measured("suite", {}, Machine(), {key: Number("%", "higher", by_seed(np.array(values)))})
        for values in ([90.0, 90.0], [90.6, 90.6])
    )
    (found,) = compare(Baseline(one, NONE), Baseline(other, NONE)).changes
    assert (found.verdict, found.compared) == (Verdict.INCONCLUSIVE, None)
    assert "equal by chance" in found.reason


def of_images(counts: Sequence[int], images: int, weights: str) -> Measured:
    """A network that classifies so many images correctly, seed by seed."""
    key = Key("some", "net", "bu", "accuracy", "top1")
    nets = [Trained(*key[:3], seed) for seed in range(len(counts))]
    return Measured(
        "suite",
        {},
        Machine(),
        {key: Number("%", "higher", {n: 100 * c / images for n, c in enumerate(counts)})},
        correct={net: np.arange(images) < count for net, count in zip(nets, counts, strict=True)},
        weights=dict.fromkeys(nets, weights),
    )


def only(before: Measured, after: Measured) -> Finding:
    (found,) = judge(after, Baseline(before, noise([before]))).findings
    return found


def test_seeds_that_agree_by_chance_are_no_certain_loss() -> None:
    """Both seeds lose one image of a hundred: without any spread that would be a sure loss."""
    before = of_images((99, 99), 100, "a")
    found = only(before, of_images((98, 98), 100, "b"))
    assert found.status is Status.INCONCLUSIVE
    assert found.p_value is not None
    assert found.p_value > 0.1
    assert only(before, of_images((10, 10), 100, "b")).status is Status.REGRESSION
    unknown, fewer = (replace(side, correct={}) for side in (before, of_images((98, 98), 100, "b")))
    lost = only(unknown, fewer)
    assert lost.status is Status.INCONCLUSIVE
    assert "equal by chance" in lost.reason
    # What is no percentage, and the same for all seeds, is so by its nature.
    layers = [
        replace(side, numbers={k: replace(n, unit="") for k, n in side.numbers.items()})
        for side in (unknown, fewer)
    ]
    assert only(*layers).status is Status.REGRESSION


def test_few_images_alarm_no_more_often_than_many() -> None:
    rng = np.random.default_rng(6)
    alarms = 0
    for _ in range(400):
        before, after = (of_images(rng.binomial(100, 0.99, 2), 100, name) for name in "ab")
        alarms += only(before, after).status is Status.REGRESSION
    assert alarms <= 8  # 4 are one in a hundred


def test_another_network_of_the_same_accuracy_is_tested() -> None:
    """One training, twenty images: that as many are right says little of what was lost."""
    before, after = of_images((19,), 20, "a"), of_images((19,), 20, "b")
    assert only(before, after).status is Status.INCONCLUSIVE
    assert only(before, of_images((19,), 20, "a")).status is Status.PASS
    unknown = replace(after, weights={})
    assert only(before, unknown).status is Status.PASS  # it may be the same
    many = only(
        of_images((9900, 9905, 9910), 10000, "a"), of_images((9900, 9905, 9910), 10000, "b")
    )
    assert many.status is Status.PASS
    assert "identical" not in many.reason


# pytest-benchmark's files ---------------------------------------------------------------------


def files(rng: np.random.Generator, count: int, seconds: float, noise: float) -> list[dict]:
    return [{"b.py::test_a": seconds * float(np.exp(noise * rng.normal()))} for _ in range(count)]


@pytest.mark.parametrize(
    ("slowdown", "noise", "count", "wanted"),
    [
        (1.0, 0.005, 10, Exit.PASS),
        (1.1, 0.01, 10, Exit.REGRESSION),
        (0.8, 0.01, 10, Exit.PASS),
        (1.0, 0.2, 10, Exit.INCONCLUSIVE),
        (1.1, 0.01, 3, Exit.INCONCLUSIVE),
    ],
)
def test_benchmarks(slowdown: float, noise: float, count: int, wanted: Exit) -> None:
    rng = np.random.default_rng(2)
    before, after = files(rng, count, 1.0, noise), files(rng, count, slowdown, noise)
    assert judge_benchmarks(before, after).exit is wanted


def test_a_benchmark_that_is_gone_was_not_measured() -> None:
    rng = np.random.default_rng(2)
    after: list[dict] = [{} for _ in range(10)]
    assert judge_benchmarks(files(rng, 10, 1.0, 0.01), after).exit is Exit.NOT_MEASURED


def test_benchmarks_by_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(2)
    for side, seconds in (("base", 1.0), ("head", 1.1)):
        for number, found in enumerate(files(rng, 10, seconds, 0.005)):
            ((name, median),) = found.items()
            one = {"fullname": name, "stats": {"median": median}}
            Path(f"{side}-{number}.json").write_text(json.dumps({"benchmarks": [one]}))
    heads, bases = ([f"{side}-{n}.json" for n in range(10)] for side in ("head", "base"))
    words = ["check", "--benchmark-json", *heads, "--benchmark-baseline", *bases]
    assert main(words) == 1
    assert "test_a" in capsys.readouterr().out
    assert main([*words[:-1]]) == 2
    assert "10 of the run: give as many" in capsys.readouterr().err
    Path("head-3.json").write_text("{}")
    assert main(words) == 2
    assert capsys.readouterr().err == "head-3.json: not JSON of pytest-benchmark\n"


# The example for CI ---------------------------------------------------------------------------


def test_the_workflow_is_yaml_and_calls_what_there_is() -> None:
    text = (ROOT / "docs" / "ci" / "github-actions.yml").read_text(encoding="utf-8")
    steps = yaml.safe_load(text)["jobs"]["gate"]["steps"]
    scripts = "\n".join(step.get("run", "") for step in steps).replace("\\\n", " ")
    calls = [line.strip() for line in scripts.splitlines() if "-m bench" in line]
    assert [call.split()[3] for call in calls] == ["run", "compare", "check"]
    from bench.cli import build_parser

    for call in calls:
        words = call.partition(" || ")[0].replace('"', "").split()[3:]
        build_parser().parse_args(words)
