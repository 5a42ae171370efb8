"""What the gate compares: read from a run directory, or from a baseline file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.store import files
from bench.store.connect import is_packed, unpacking
from bench.store.database import NAME, Store
from bench.store.outcome import network_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.suite.schema import Suite
    from leaderboard.gate.baseline import Baseline
    from leaderboard.gate.measured import Measured, Trained
    from leaderboard.gate.thresholds import Threshold
    from leaderboard.results import Results

MADE = ("date", "commit", "hardware", "versions")
CELLS = """SELECT p.dataset, p.backbone, p.variant, p.seed, p.identity, c.file, c.sha256, c.facts
    FROM planned p JOIN cells c USING (identity)
    WHERE c.status = 'done' AND p.measure = ? ORDER BY p.position"""

TRAININGS = "SELECT * FROM planned WHERE measure = 'train' ORDER BY position"


def read_run(folder: Path) -> Measured:
    """A run directory as the gate sees it; one in which nothing was measured has no numbers.

    Raises:
        BenchError: no run, or damaged.
    """
    from leaderboard.gate.measured import Machine, Measured

    store = Store.open(folder)
    try:
        suite, facts = _suite(store), store.facts()
        if not store.rows("SELECT 1 FROM sessions LIMIT 1"):
            return Measured(facts.get("suite", "?"), {}, Machine(), {})
        return _measured(store, suite, facts)
    finally:
        store.close()


def read_baseline(path: Path) -> Baseline:
    """A baseline file.

    Raises:
        BenchError: no such file, or not a baseline.
    """
    from leaderboard.gate.baseline import BaselineError, loads

    if path.is_dir():
        hint = "; that is a run: `bench baseline` makes one of it" if (path / NAME).exists() else ""
        raise BenchError(f"{path}: is a folder, not a baseline file{hint}")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        if is_packed(path):
            raise BenchError(f"{path}: is a packed run; {unpacking(path)}") from None
        raise BenchError(f"{path}: not a baseline: it is not UTF-8 text") from None
    try:
        return loads(text, str(path))
    except BaselineError as error:
        raise BenchError(str(error)) from None


def read_either(path: Path) -> Baseline:
    """A run directory or a baseline file, with the noise that is known there."""
    from leaderboard.gate.baseline import Baseline
    from leaderboard.gate.noise import noise

    if path.is_file():
        return read_baseline(path)
    run = read_run(path)
    return Baseline(run, noise([run]))


def suite_thresholds(folder: Path) -> dict[str, Threshold]:
    """The thresholds in the suite of a run (its key `gate`)."""
    from leaderboard.gate.thresholds import Threshold

    store = Store.open(folder)
    try:
        suite = _suite(store)
    finally:
        store.close()
    gate = suite.gate if suite is not None else {}
    return {name: Threshold(**one.model_dump()) for name, one in gate.items()}


def _suite(store: Store) -> Suite | None:
    """The suite of a run; its shape only, for its plugins need not be here."""
    from bench.suite.load import validated
    from bench.suite.yaml_tree import SuiteError, Tree

    text = store.facts().get("suite_text")
    if text is None:
        return None
    _, suite, problems = validated(Tree(f"suite of {store.folder}", text))
    if suite is None:
        raise SuiteError(problems)
    return suite


def _measured(store: Store, suite: Suite | None, facts: Mapping[str, str]) -> Measured:
    from bench.store.read import read
    from leaderboard.gate import measured as gate

    reading = read(store)
    accuracy, wrong = _accuracy(store)
    damaged = _damaged(store, reading.damaged | wrong)
    found = _without(reading.results, damaged)
    provenance = _last_session(store)
    attacked = _attacked(found)
    limits = _limits(found)
    return gate.Measured(
        suite=facts.get("suite", found.title),
        experiment=_experiment(suite, accuracy),
        machine=gate.Machine(
            _hardware(found, provenance),
            facts.get("device", ""),
            provenance.get("versions", {}).get("torch", ""),
        ),
        numbers={**gate.numbers(found), **gate.areas(attacked, limits)},
        gaps=_gaps(found) | damaged,
        correct={net: a["prediction"] == a["label"] for net, a in accuracy.items()},
        attacked=attacked,
        limits=limits,
        weights=_weights(store),
        trainings={_net(row): row["identity"] for row in store.rows(TRAININGS)},
        backbones=_backbones(suite),
        made={key: found.provenance.get(key, "") for key in MADE},
    )


def _last_session(store: Store) -> dict[str, Any]:
    """The record of the last session; none if that is damaged: then nobody knows the machine."""
    (last, *_) = store.rows("SELECT id, provenance FROM sessions ORDER BY id DESC")
    if last["id"] in store.broken().sessions:
        return {}
    found: dict[str, Any] = json.loads(last["provenance"])
    return found


def _hardware(found: Results, last: Mapping[str, Any]) -> str:
    """What speeds were measured on; where nothing was timed, what the last session ran on."""
    names = dict.fromkeys(name for some in found.timed_on.values() for name in some)
    return " and ".join(sorted(names)) or str(last.get("hardware", ""))


def _net(row: Any) -> Trained:
    from leaderboard.gate.measured import Trained

    return Trained(row["dataset"], row["backbone"], row["variant"], row["seed"])


def _net_of(one: Any) -> Trained:
    from leaderboard.gate.measured import Trained

    return Trained(one.dataset, one.backbone, one.variant, one.seed)


def _accuracy(store: Store) -> tuple[dict[Trained, dict[str, NDArray[Any]]], dict[str, str]]:
    """What each network predicts; and, by the cell's identity, what is wrong with its file."""
    arrays, damaged = {}, {}
    for row in store.rows(CELLS, "accuracy"):
        try:
            arrays[_net(row)] = files.read_arrays(store.folder / row["file"], row["sha256"])
        except BenchError as error:
            damaged[row["identity"]] = str(error)
    return arrays, damaged


def _damaged(store: Store, found: Mapping[str, str]) -> dict[tuple[Trained, str], str]:
    """What is wrong with damaged cells, by network and measure."""
    return {
        (_net(row), row["measure"]): found[row["identity"]]
        for row in store.rows("SELECT * FROM planned")
        if row["identity"] in found
    }


def _without(found: Results, damaged: Mapping[tuple[Trained, str], str]) -> Results:
    """The results without the numbers of damaged cells, which the next run does again."""
    kept = (row for row in found.rows if (_net_of(row), row.measure) not in damaged)
    return replace(found, rows=tuple(kept)) if damaged else found


def _attacked(found: Results) -> dict[Any, Any]:
    import numpy as np

    from leaderboard.gate.measured import Attacked, half_precision

    return {
        (_net_of(s), s.attack): Attacked(
            half_precision(s.l2), np.arange(s.l2.size) if s.index is None else s.index
        )
        for s in found.samples
    }


def _limits(found: Results) -> dict[tuple[str, str], float]:
    from leaderboard.numbers.curves import by_attack, limit

    datasets = dict.fromkeys(sample.dataset for sample in found.samples)
    return {
        (dataset, attack): limit(some, found.attacks.get(attack))
        for dataset in datasets
        for attack, some in by_attack(found.samples, dataset).items()
    }


def _gaps(found: Results) -> dict[tuple[Trained, str], str]:
    missing = {(_net_of(gone), gone.measure): gone.reason for gone in found.missing}
    failed = {(_net_of(bad), bad.measure): f"failed: {bad.error}" for bad in found.failures}
    return missing | failed


def _weights(store: Store) -> dict[Trained, str]:
    """What tells two networks apart: a hash over trained weights (runs of earlier versions have one
    of their file only); of weights from a file, the identity of a cell, which holds that file's."""
    loaded = {_net(row): f"cell {row['identity']}" for row in store.rows(CELLS, "accuracy")}
    trained = {
        _net(row): network_of(row["facts"]) or row["sha256"] for row in store.rows(CELLS, "train")
    }
    return loaded | trained


def _experiment(
    suite: Suite | None, accuracy: Mapping[Trained, Mapping[str, NDArray[np.generic]]]
) -> dict[str, Any]:
    """What was done, without the networks it was done to, as JSON reads it back."""
    if suite is None:
        return {}
    images = {
        net.dataset: {
            "test_images": len(arrays["label"]),
            "test_labels": hashlib.sha256(arrays["label"].astype("<i8").tobytes()).hexdigest()[:20],
        }
        for net, arrays in accuracy.items()
    }
    made = {
        "seeds": sorted(suite.seeds),
        "datasets": {
            ref.label: {
                "name": _name(ref.name),
                "options": ref.options,
                **images.get(ref.label, {}),
            }
            for ref in suite.datasets
        },
        "recipe": suite.recipe.model_dump(mode="json"),
        "overrides": [
            {"match": one.match, "recipe": one.recipe.model_dump(mode="json", exclude_unset=True)}
            for one in suite.overrides
        ],
        "measures": dict(_measures(suite)),
    }
    if suite.tune is not None:
        made["tune"] = suite.tune.model_dump(mode="json")
    return json.loads(json.dumps(made, default=str))  # type: ignore[no-any-return]


def _backbones(suite: Suite | None) -> dict[str, dict[str, Any]]:
    """What each label stands for, as JSON reads it back."""
    refs = suite.backbones if suite is not None else ()
    found = {ref.label: {"name": ref.name, "options": ref.options} for ref in refs}
    return json.loads(json.dumps(found, default=str))  # type: ignore[no-any-return]


def _name(name: str) -> str:
    """A data set's name without the folder that it lies in here."""
    scheme, colon, rest = name.partition(":")
    return f"{scheme}:{Path(rest).name}" if colon and scheme in ("imagefolder", "parquet") else name


def _measures(suite: Suite) -> Iterator[tuple[str, Any]]:
    """Every measure with its options, defaults included where it is known here."""
    from pydantic import ValidationError

    from bench.measures import base
    from bench.plan.attacks import LIMITS

    for ref in suite.measures:
        try:
            measure = base.load(ref.name)
            options = measure.options.model_validate(ref.options).model_dump(mode="json")
            # How results are shown, not how they are made: baselines have limits of their own.
            options.pop(LIMITS, None)
            yield ref.name, {"version": measure.version, **options}
        except (BenchError, ValidationError):  # a plugin that is not installed here
            yield ref.name, ref.options
