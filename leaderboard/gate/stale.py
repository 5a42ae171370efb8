"""Whether a run did the same experiment as its baseline: only then do numbers mean the same.

Networks may differ, for that is what the gate is about; data sets, test images, seeds, recipe and
measures may not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from leaderboard.gate.measured import SIDES, Measured, Sides

_LONGEST = 80
_REFERENCE = {"name", "label", "options"}  # keys of an attack, as it is recorded
_LEARNT = ("test_images", "test_labels")  # from results: not known where nothing was measured


def differences(baseline: Measured, run: Measured, sides: Sides = SIDES) -> list[str]:
    """What is not the same, like `recipe.lr is 0.1 in the baseline, 0.05 in the run`; `sides`
    says where the two are."""
    known = {"/".join(key[:3]) for key in baseline.numbers}
    before, after = (_concerning(known, one.experiment) for one in (baseline, run))
    found = [*_differences(before, after, "", sides)]
    if baseline.suite != run.suite:
        found.insert(0, _said("suite", baseline.suite, run.suite, sides))
    for (net, attack), one in baseline.attacked.items():
        other = run.attacked.get((net, attack))
        if other is not None and (
            one.index.shape != other.index.shape or (one.index != other.index).any()
        ):
            found.append(f"{attack} attacked other images of {net.dataset} {sides[1]}")
    return list(dict.fromkeys(found))


def backbone(one: Mapping[str, Any]) -> str:
    """A backbone's name and options, as the author of a suite writes them."""
    return _short({"label": one["name"], **one})


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


def _differences(one: Any, other: Any, path: str, sides: Sides) -> Iterator[str]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys([*one, *other]):
            place = f"{path}.{key}" if path else str(key)
            if key not in one or key not in other:
                if key not in _LEARNT:
                    yield f"{place} is {sides[key not in one]} only"
            else:
                yield from _differences(one[key], other[key], place, sides)
    elif isinstance(one, list) and isinstance(other, list) and one != other:
        if len(one) == len(other):
            for number, (mine, its) in enumerate(zip(one, other, strict=True)):
                yield from _differences(mine, its, f"{path}[{number}]", sides)
        else:
            yield from _of_lists(one, other, path, sides)
    elif one != other:
        yield _said(path, one, other, sides)


def _of_lists(one: list[Any], other: list[Any], path: str, sides: Sides) -> Iterator[str]:
    """What only one of two lists has, rather than both lists at length."""
    apart = [
        f"{path} has {_short(item)} {side} only"
        for mine, its, side in ((one, other, sides[0]), (other, one, sides[1]))
        for item in mine
        if item not in its
    ]
    yield from apart or [_said(path, one, other, sides)]


def _said(place: str, one: Any, other: Any, sides: Sides) -> str:
    return f"{place} is {_short(one)} {sides[0]}, {_short(other)} {sides[1]}"


def _short(value: Any) -> str:
    text = _written(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _written(value: Any) -> str:
    """A value as the author of a suite writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    if not isinstance(value, Mapping):
        return str(value)
    if {*value} == _REFERENCE:
        named = {"name": value["name"], "label": value["label"]}
        if value["name"] == value["label"]:
            named.pop("label")
        if not value["options"] and len(named) == 1:
            return str(value["name"])
        value = {**named, **value["options"]}
    return f"{{{', '.join(f'{key}: {_written(one)}' for key, one in value.items())}}}"
