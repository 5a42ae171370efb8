"""Whether a run did the same experiment as its baseline: only then do numbers mean the same.

Networks may differ, for that is what the gate is about; data sets, test images, seeds, recipe and
measures may not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from leaderboard.gate.measured import Measured

_LONGEST = 80
_LEARNT = ("test_images", "test_labels")  # from results: not known where nothing was measured


def differences(baseline: Measured, run: Measured) -> list[str]:
    """What is not the same, like `recipe.lr is 0.1 in the baseline, 0.05 in the run`."""
    known = {"/".join(key[:3]) for key in baseline.numbers}
    before, after = (_concerning(known, one.experiment) for one in (baseline, run))
    found = [*_differences(before, after, "")]
    if baseline.suite != run.suite:
        found.insert(0, _said("suite", baseline.suite, run.suite))
    for (net, attack), one in baseline.attacked.items():
        other = run.attacked.get((net, attack))
        if other is not None and (
            one.index.shape != other.index.shape or (one.index != other.index).any()
        ):
            found.append(f"{attack} attacked other images of {net.dataset} in the run")
    return list(dict.fromkeys(found))


def _concerning(nets: Collection[str], experiment: Mapping[str, Any]) -> dict[str, Any]:
    """Without the overrides of other networks: a baseline does not know those that came later."""
    found = dict(experiment)
    if "overrides" in found:
        found["overrides"] = [
            one
            for one in found["overrides"]
            if any(fnmatchcase(net, one.get("match", "*")) for net in nets)
        ]
    return found


def _differences(one: Any, other: Any, path: str) -> Iterator[str]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys([*one, *other]):
            place = f"{path}.{key}" if path else str(key)
            if key not in one or key not in other:
                if key not in _LEARNT:
                    yield f"{place} is in the {'baseline' if key in one else 'run'} only"
            else:
                yield from _differences(one[key], other[key], place)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from _differences(*pair, f"{path}[{number}]")
    elif one != other:
        yield _said(path, one, other)


def _said(place: str, one: Any, other: Any) -> str:
    return f"{place} is {_short(one)} in the baseline, {_short(other)} in the run"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
