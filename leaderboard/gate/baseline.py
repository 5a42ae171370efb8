"""The baseline file: a run's numbers with their noise, to be committed and compared with.

JSON, one line for each value so that a diff shows what moved. The same run gives the same bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from leaderboard.gate.measured import Attacked, Machine, Measured, Number, Trained
from leaderboard.gate.noise import Noise, Spread
from leaderboard.gate.thresholds import Threshold, parse
from leaderboard.gate.timed import Timed
from leaderboard.numbers.summary import Key

FORMAT = "topdown-bench baseline"
VERSION = 2
# Before 2, every attack repeated which images it attacked.
READ = (1, VERSION)


class BaselineError(ValueError):
    """Not a baseline that can be read; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """What a run is held against.

    `noise` is how much its numbers vary by chance, `thresholds` are the file's own.
    """

    measured: Measured
    noise: Noise
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)


def dumps(baseline: Baseline) -> str:
    """The file's text."""
    run = baseline.measured
    subsets = _subsets(run)
    document = {
        "format": FORMAT,
        "version": VERSION,
        "suite": run.suite,
        "made": dict(run.made),
        "machine": asdict(run.machine),
        "thresholds": {
            name: {k: v for k, v in asdict(one).items() if v not in (None, False)}
            for name, one in baseline.thresholds.items()
        },
        "experiment": run.experiment,
        "backbones": run.backbones,
        "noise": {
            "seeds": [[*key, *spread] for key, spread in baseline.noise.seeds.items()],
            "paired": [[*key, *spread] for key, spread in baseline.noise.paired.items()],
            **_timed(baseline.noise),
        },
        "numbers": [_number(key, number) for key, number in run.numbers.items()],
        "limits": [[*key, value] for key, value in run.limits.items()],
        "subsets": list(subsets),
        "networks": [_network(run, net, subsets) for net in _nets(run)],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def loads(text: str, where: str) -> Baseline:
    """Read a file's text; `where` names it in errors.

    Raises:
        BaselineError: not a baseline, of another version, or damaged.
    """
    try:
        read = json.loads(text)
    except ValueError as error:
        raise BaselineError(f"{where}: not a baseline (not JSON: {error})") from None
    if not isinstance(read, dict) or read.get("format") != FORMAT:
        raise BaselineError(f"{where}: not a baseline; make one with `bench baseline RUN`")
    if read.get("version") not in READ:
        raise BaselineError(
            f"{where}: format version {read.get('version')!r}, this program reads up to {VERSION}; "
            "make it anew with `bench baseline RUN`"
        )
    try:
        thresholds = parse(read.get("thresholds", {}), f"{where}: thresholds")
    except ValueError as error:
        raise BaselineError(str(error)) from None
    try:
        return _baseline(read, thresholds)
    except (LookupError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        reason = f"{type(error).__name__}: {error}"
        raise BaselineError(f"{where}: damaged ({reason}); make it anew") from None


def _nets(run: Measured) -> Sequence[Trained]:
    attacked = (net for net, _ in run.attacked)
    return [*dict.fromkeys([*run.weights, *run.correct, *attacked])]


def _number(key: Key, number: Number) -> dict[str, Any]:
    values = _by_seed(number.values)
    finite = [value for value in number.values.values() if math.isfinite(value)]
    sd = float(np.std(finite, ddof=1)) if len(finite) == len(values) > 1 else None
    return {
        **key._asdict(),
        "unit": number.unit,
        "better": number.better,
        "mean": _strict(number.mean),
        "sd": sd,
        "n": len(values),
        "values": values,
    }


def _timed(noise: Noise) -> dict[str, Any]:
    """The timings of further runs; baselines without any stay as they were."""
    runs = [
        {
            "machine": asdict(one.machine),
            "values": [[*key, _by_seed(values)] for key, values in one.values.items()],
        }
        for one in noise.timed
    ]
    return {"timed": runs} if runs else {}


def _by_seed(values: Mapping[int, float]) -> dict[str, float | str]:
    return {str(seed): _strict(value) for seed, value in values.items()}


def _strict(value: float) -> float | str:
    return "inf" if math.isinf(value) else value


def _subsets(run: Measured) -> dict[str, int]:
    """The sets of images that were attacked, as text, and their number; most attacks share one."""
    found: dict[str, int] = {}
    for one in run.attacked.values():
        found.setdefault(_of_images(one), len(found))
    return found


def _of_images(one: Attacked) -> str:
    return _text(one.index.astype("<u4").tobytes())


def _network(run: Measured, net: Trained, subsets: Mapping[str, int]) -> dict[str, Any]:
    found: dict[str, Any] = net._asdict()
    if net in run.weights:
        found["weights"] = run.weights[net]
    if net in run.correct:
        bits = run.correct[net]
        found["images"], found["correct"] = len(bits), _text(np.packbits(bits).tobytes())
    found["attacked"] = {
        attack: {
            "l2": _text(one.l2.astype("<f2").tobytes()),
            "subset": subsets[_of_images(one)],
        }
        for (mine, attack), one in run.attacked.items()
        if mine == net
    }
    return found


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _baseline(read: Mapping[str, Any], thresholds: Mapping[str, Threshold]) -> Baseline:
    subsets = read.get("subsets", [])
    nets = [(Trained(*(one[name] for name in Trained._fields)), one) for one in read["networks"]]
    measured = Measured(
        suite=str(read["suite"]),
        experiment=dict(read["experiment"]),
        machine=Machine(**read["machine"]),
        numbers={Key(*(one[f] for f in Key._fields)): _read(one) for one in read["numbers"]},
        correct={net: _bits(one) for net, one in nets if "correct" in one},
        attacked={
            (net, attack): _attacked(raw, subsets)
            for net, one in nets
            for attack, raw in one["attacked"].items()
        },
        limits={(dataset, attack): float(end) for dataset, attack, end in read["limits"]},
        weights={net: one["weights"] for net, one in nets if "weights" in one},
        backbones={
            str(label): {"name": str(one["name"]), "options": dict(one["options"])}
            for label, one in read.get("backbones", {}).items()
        },
        made=dict(read["made"]),
    )
    seeds, paired = (_spreads(read["noise"][name]) for name in ("seeds", "paired"))
    further = tuple(_further(one) for one in read["noise"].get("timed", []))
    return Baseline(measured, Noise(seeds, paired, further), thresholds)


def _spreads(lines: Iterable[Sequence[Any]]) -> dict[Key, Spread]:
    return {Key(*line[:5]): Spread(float(line[5]), int(line[6])) for line in lines}


def _further(one: Mapping[str, Any]) -> Timed:
    values = {
        Key(*line[:5]): {int(seed): float(value) for seed, value in line[5].items()}
        for line in one["values"]
    }
    return Timed(Machine(**one["machine"]), values)


def _read(one: Mapping[str, Any]) -> Number:
    values = {int(seed): float(value) for seed, value in one["values"].items()}
    if not values or one["better"] not in ("higher", "lower", "neither"):
        raise ValueError(f"{one['measure']}/{one['metric']} has no values or no direction")
    return Number(one["unit"], one["better"], values)


def _bits(one: Mapping[str, Any]) -> Any:
    packed = np.frombuffer(base64.b64decode(one["correct"], validate=True), dtype=np.uint8)
    return np.unpackbits(packed, count=int(one["images"])).astype(bool)


def _attacked(raw: Mapping[str, Any], subsets: Sequence[str]) -> Attacked:
    images = raw["index"] if "index" in raw else subsets[raw["subset"]]
    l2 = np.frombuffer(base64.b64decode(raw["l2"], validate=True), dtype="<f2")
    index = np.frombuffer(base64.b64decode(images, validate=True), dtype="<u4")
    if l2.shape != index.shape or not l2.size or not bool((l2 >= 0).all()):
        raise ValueError("attacked images do not fit their numbers")
    return Attacked(l2.astype(np.float16), index.astype(np.int64))
