"""A run with `tune:`: the choice, what comes of it, and what it must not see."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drivers import driver, finished, rows, wait_for
from safetensors.numpy import load_file

from bench.cli import main
from bench.store import parts

Tiny = Callable[..., Path]

PAIR = "blobs/linear/bu"
# A step so small that nothing is learned, one that is right, and another as good as that.
VALUES = "{lr: [1.0e-7, 0.05, 0.06]}"

ROBUSTNESS = "  - robustness: {attacks: [{name: gaussian_blur, epsilons: 20}], samples: 20}\n"
BOTH = (("seeds: [0]", "seeds: [0, 1]"), (ROBUSTNESS, ""))


def tuned(tiny: Tiny, values: str = VALUES, *changes: tuple[str, str], more: str = "") -> Path:
    """The tiny suite with a search; two trainings wait for the trials."""
    search = f"tune:\n  values: {values}\n{more}measures:"
    return tiny(("measures:", search), *BOTH, *changes)


def plain(tiny: Tiny, lr: str = "0.05", *changes: tuple[str, str]) -> Path:
    """The same without a search, its recipe given."""
    return tiny(*BOTH, ("lr: 0.05", f"lr: {lr}"), *changes, name="plain.yaml")


def run(suite: Path, *words: str) -> int:
    out = () if "--out" in words else ("--out", "run/it")
    return main(["run", str(suite), "--quiet", *out, *words])


def query(sql: str, folder: str = "run/it") -> list[tuple[object, ...]]:
    with sqlite3.connect(Path(folder) / "results.sqlite") as db:
        return db.execute(sql).fetchall()


def cells(folder: str = "run/it") -> dict[str, tuple[str, float]]:
    found = query(
        "SELECT p.name, status, started FROM planned p JOIN cells USING (identity)", folder
    )
    return {str(name): (str(status), float(str(started))) for name, status, started in found}


def weights(folder: str = "run/it") -> dict[str, dict[str, bytes]]:
    """The bytes of all trained tensors, by the name of the training."""
    found = query("SELECT name, file FROM cells WHERE file LIKE 'weights/%'", folder)
    return {
        str(name): {k: v.tobytes() for k, v in load_file(Path(folder) / str(file)).items()}
        for name, file in found
    }


def scores(folder: str = "run/it") -> dict[str, float]:
    """Validation accuracies of the trials."""
    found = query(
        "SELECT name, value FROM cells JOIN metrics USING (identity) WHERE name LIKE '%/tune/%' "
        "AND metric = 'validation_top1'",
        folder,
    )
    return {str(name).rpartition("/")[2]: float(str(value)) for name, value in found}


def measured(folder: str) -> list[tuple[object, ...]]:
    """All rows but those of trials, without times."""
    return query("SELECT * FROM tidy WHERE measure NOT LIKE 'tune/%'", folder)


def page(folder: str = "run/it") -> str:
    return (Path(folder) / "leaderboard.md").read_text(encoding="utf-8")


def test_the_choice_is_trained_as_if_the_suite_had_said_it(tiny: Tiny) -> None:
    assert run(tuned(tiny)) == 0
    found = scores()
    assert found["lr=1e-07"] < found["lr=0.05"] == found["lr=0.06"]  # a tie: the first one counts
    assert run(plain(tiny), "--out", "plain/it") == 0
    assert len(weights()) == 2  # trials keep none
    assert weights() == weights("plain/it")
    assert measured("run/it") == measured("plain/it")
    facts = query("SELECT facts FROM cells WHERE name LIKE '%/train'")
    assert [json.loads(str(text))["recipe"]["lr"] for (text,) in facts] == [0.05, 0.05]
    assert f"| blobs | linear | bu | {found['lr=0.05']:.1f} |" in page()
    assert "| 3 | 0 | lr=0.05 | – |" in page()


def test_the_other_order_makes_the_other_choice_and_is_at_the_edge(tiny: Tiny) -> None:
    assert run(tuned(tiny, "{lr: [0.06, 0.05, 1.0e-7]}")) == 0
    assert run(plain(tiny, "0.06"), "--out", "plain/it") == 0
    assert weights() == weights("plain/it")
    assert "| lr=0.06 | ⚠ lr (highest) |" in page()


def test_trials_may_be_shorter_and_have_a_seed_of_their_own(tiny: Tiny) -> None:
    assert run(tuned(tiny, more="  epochs: 1\n  seed: 7\n")) == 0
    epochs = query("SELECT seed, value FROM tidy WHERE metric = 'epochs' ORDER BY measure, seed")
    assert epochs == [(0, 2.0), (1, 2.0), (7, 1.0), (7, 1.0), (7, 1.0)]
    # The seed of trials is none of the networks'.
    assert "| linear | bu | 2 |" in page()
    assert "A trial trains for 1 epoch" in page()


@pytest.mark.slow
def test_two_workers_choose_and_train_the_same(tiny: Tiny) -> None:
    suite = tuned(tiny)
    assert run(suite) == 0
    assert run(suite, "--out", "two/it", "--workers", "2") == 0
    assert rows(Path("two/it")) == rows(Path("run/it"))
    assert weights("two/it") == weights("run/it")
    started = {name: start for name, (_, start) in cells("two/it").items()}
    last = max(start for name, start in started.items() if "/tune/" in name)
    assert all(start > last for name, start in started.items() if "/train" in name)


def test_a_diverging_trial_is_the_worst_and_no_failure(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tuned(tiny, "{lr: [1.0e+30, 0.05]}")
    assert run(suite) == 0
    assert "failed trials, which count as the worst: 1; tracebacks: " in capsys.readouterr().err
    assert cells()[f"{PAIR}/tune/lr=1e+30"][0] == "failed"
    assert "| 2 | 1 | lr=0.05 |" in page()
    assert "**blobs/linear/bu lr=1e+30**: diverged: " in page()
    assert "Failed and missing cells" not in page()


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_if_every_trial_fails_so_do_the_trainings(
    workers: str, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tuned(tiny, "{lr: [1.0e+30, 2.0e+30]}"), "--workers", workers) == 1
    assert {status for status, _ in cells().values()} == {"failed"}
    said = capsys.readouterr().err
    reason = "its tuning failed: none of its 2 trials succeeded (diverged: the training loss is"
    assert f"{PAIR}/seed0/train: {reason}" in said
    assert f"{PAIR}/seed1/accuracy: its training failed: {reason}" in said
    assert len(cells()) == 6


def test_only_the_trials_that_are_needed_are_done_and_kept(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tuned(tiny)
    assert run(suite, "--only", "*/tune/lr=0.05") == 0
    assert list(cells()) == [f"{PAIR}/tune/lr=0.05"]
    assert "| 1 of 3 | 0 | – | – |" in page().replace("\u00a0", " ")
    before = cells()
    assert run(suite, "--only", "*/seed1/accuracy") == 0
    assert len(cells()) == 5
    assert before.items() <= cells().items()
    assert main(["run", str(suite), "--out", "run/it", "--only", "*/seed1/accuracy"]) == 0
    assert "all 5 cells are there; nothing to do" in capsys.readouterr().out


def test_killed_while_it_searches_it_goes_on(tiny: Tiny) -> None:
    suite = tuned(tiny, VALUES, ("epochs: 2", "epochs: 20"))
    folder = suite.parent / "run/it"
    process = driver(suite, "--out", str(folder))
    wait_for(folder, 1, process)
    process.kill()
    process.communicate()
    before = finished(folder)
    assert 1 <= len(before) < 7
    assert run(suite) == 0
    after = finished(folder)
    assert len(after) == 7
    assert {name: after[name] for name in before} == before
    assert "| 3 | 0 | lr=0.05 | – |" in page()


def test_measures_of_a_later_session_see_the_network_of_the_choice(tiny: Tiny) -> None:
    suite = tuned(tiny, "{mean: [per_pixel, none], lr: [0.05]}")
    assert run(suite, "--only", "*/train") == 0
    assert run(suite) == 0
    assert run(suite, "--out", "other/it") == 0
    assert measured("run/it") == measured("other/it")


FLAKY = '''
import os

class flaky(nn.Module):
    """Its training fails once, where it is told to."""
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.net = linear(in_chans, num_classes)
    def forward(self, x):
        if self.training and len(x) > 2 and os.path.exists("fail"):  # not when it is tried
            os.remove("fail")
            raise RuntimeError("no luck")
        return self.net(x)
'''


def flaky(tiny: Tiny, values: str) -> Path:
    suite = tuned(tiny, values, ("tiny_nets:linear", "tiny_nets:flaky"))
    with (suite.parent / "tiny_nets.py").open("a", encoding="utf-8") as stream:
        stream.write(FLAKY)
    return suite


def test_a_trial_that_is_tried_again_may_change_the_choice(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = flaky(tiny, "{lr: [0.05, 1.0e-7]}")
    Path("fail").touch()
    assert run(suite) == 0
    assert "| 2 | 1 | lr=1e-07 |" in page()
    before = weights()
    # Half of a measure of the network that is given up.
    ((accuracy,),) = query("SELECT identity FROM cells WHERE name LIKE '%seed0/accuracy'")
    parts.keep(Path("run/it"), str(accuracy), "images 0 to 9", {"l2": np.zeros(10)})
    assert run(suite, "--retry", "failed", "--only", "*/train") == 0
    said = capsys.readouterr().err
    for seed in (0, 1):
        text = f"seed{seed}/train: its trials choose another recipe now; it is done again"
        assert text in said
    assert "| 2 | 0 | lr=0.05 |" in page()
    assert weights().keys() == before.keys()
    assert all(weights()[name] != before[name] for name in before)
    # What was measured of the other networks is not theirs.
    assert not parts.identities(Path("run/it"))
    assert set(cells()) == {name for name in cells() if "/accuracy" not in name}
    assert run(suite) == 0
    assert run(suite, "--out", "other/it") == 0
    assert rows(Path("run/it")) == rows(Path("other/it"))


def test_a_trial_that_succeeds_at_last_lets_the_trainings_begin(tiny: Tiny) -> None:
    """They had failed because all trials had; that is not true any more."""
    suite = flaky(tiny, "{lr: [0.05]}")
    Path("fail").touch()
    assert run(suite) == 1
    assert run(suite, "--retry", "failed", "--only", "*/tune/*") == 0
    assert "its tuning failed" not in page()
    assert run(suite) == 0
    assert "failed" not in page()


def test_what_is_taken_back_and_kept_from_by_only_is_not_said_to_be_done_again(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = flaky(tiny, "{lr: [0.05, 1.0e-7]}")
    assert run(suite) == 0
    Path("fail").touch()
    capsys.readouterr()
    assert run(suite, "--fresh", "--only", "*/tune/lr=0.05") == 0
    told = "train: its trials choose another recipe now; it is taken back, and done again by a run"
    assert capsys.readouterr().err.count(told) == 2
    assert run(suite) == 0
    assert "| 2 | 1 | lr=1e-07 |" in page()


def test_a_damaged_trial_is_done_again(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    suite = tuned(tiny)
    assert run(suite) == 0
    before = rows(Path("run/it"))
    with sqlite3.connect("run/it/results.sqlite") as db:
        db.execute(
            "UPDATE metrics SET value = 100 WHERE metric = 'validation_top1' AND identity IN "
            "(SELECT identity FROM cells WHERE name LIKE '%lr=1e-07')"
        )
    assert main(["doctor", "run/it"]) == 1
    assert run(suite) == 0
    assert "lr=1e-07: what is recorded of it was changed; it is done again" in (
        capsys.readouterr().err
    )
    assert rows(Path("run/it")) == before
    assert main(["doctor", "run/it"]) == 0


def test_other_candidates_leave_the_trials_that_stay(tiny: Tiny) -> None:
    assert run(tuned(tiny)) == 0
    before = cells()
    assert run(tuned(tiny, "{lr: [0.05, 0.06, 0.07]}")) == 0
    after = cells()
    same = {name for name in after if after[name] == before.get(name)}
    assert same == {f"{PAIR}/tune/lr=0.05", f"{PAIR}/tune/lr=0.06"}
    assert run(tuned(tiny, VALUES), "--fresh") == 0
    assert all(cells()[name] != before[name] for name in before)


GUARDED = '''
from dataclasses import replace

LOOKED = []

class Guarded(torch.Tensor):
    """Notes whoever reads its values; its shape and the like may be asked for."""
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func.__name__ != "__get__":
            LOOKED.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs or {})

def guarded(root, *, download=False):
    found = blobs(root)
    return replace(found, test=replace(found.test, images=found.test.images.as_subclass(Guarded)))
'''


def test_trials_never_read_test_images(tiny: Tiny) -> None:
    import importlib

    from bench.plan.check import read_suite
    from bench.plan.expand import expand
    from bench.run.place import Place, load_dataset
    from bench.run.unit import Unit, execute

    # The mean of the test images is theirs, too.
    normalised = "epochs: 2, mean: per_pixel, test_mean: own"
    suite = tuned(tiny, VALUES, ("blobs]", "guarded]"), ("epochs: 2", normalised))
    with (suite.parent / "tiny_sets.py").open("a", encoding="utf-8") as stream:
        stream.write(GUARDED)
    looked = importlib.import_module("tiny_sets").LOOKED
    train = [cell for cell in expand(read_suite(str(suite))).cells if cell.measure is None]
    place = Place(Path(), suite.parent, "cpu")
    load_dataset(train[0].training, place)
    assert looked  # loading looks at all there is
    looked.clear()
    ends: list[object] = []

    def note(event: object) -> None:
        ends.extend(filter(None, [getattr(event, "outcome", None)]))

    for cell in train:
        if cell.training.trial:
            execute(Unit(cell.training, cell, (), None), place, note)
    assert looked == []
    assert [end.error for end in ends] == [None] * 3  # type: ignore[attr-defined]
    last = train[-1].training
    execute(Unit(last.settled(last.recipes[1]), train[-1], (), None), place, note)
    assert looked  # an ordinary training asks for the logits of test images
