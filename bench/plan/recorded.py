"""The suite that a run keeps, which a later version of this harness may refuse in part."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bench.plan.check import CheckedSuite, read_text, read_tree
from bench.suite.yaml_tree import SuiteError, Tree

_MEASURE = re.compile(r"measures\[(\d+)\](?:\.\w+\.attacks\[(\d+)\])?")
_OF_NUMBERS = ("claims", "gate")
_SECTION = re.compile(rf"(?:{'|'.join(_OF_NUMBERS)})\b")
# A suite needs a measure; this one has no options that could be refused.
_PLAINEST = "accuracy"


def read_recorded(text: str, where: str, base: Path) -> CheckedSuite:
    """As `read_text`, without those measures, attacks, claims and thresholds that are refused now:
    what they were has been measured, and the networks are the same.

    Raises:
        SuiteError: with all mistakes in the rest.
    """
    try:
        return read_text(text, where, base)
    except SuiteError as error:
        tree = Tree(where, text)
        refused = [problem.path for problem in error.problems]
        if not isinstance(tree.data, dict) or not _leave_out(tree.data, refused):
            raise
    return read_tree(tree, base)


def _leave_out(data: dict[str, Any], refused: list[str]) -> bool:
    """Take from a suite what stands at these places, as far as it is none of the networks; say
    whether that was anything."""
    sections = any(map(_SECTION.match, refused))
    places = {(found[1], found[2]) for found in map(_MEASURE.match, refused) if found}
    if not sections and not places:
        return False
    for key in _OF_NUMBERS:  # a claim may be about a measure that goes
        data.pop(key, None)
    listed = data.get("measures")
    if isinstance(listed, list):
        kept = [_kept(item, number, places) for number, item in enumerate(listed)]
        data["measures"] = [item for item in kept if item is not None] or [_PLAINEST]
    return True


def _kept(item: Any, number: int, places: set[tuple[str, str | None]]) -> Any:
    """A measure without what is refused of its attacks; None if nothing is left."""
    attacks = {int(attack) for of, attack in places if of == str(number) and attack}
    if (str(number), None) in places:
        return None
    if not attacks:
        return item
    ((name, options),) = item.items()
    # A new mapping: with an alias another measure may have the same one.
    left = [attack for place, attack in enumerate(options["attacks"]) if place not in attacks]
    return {name: {**options, "attacks": left}} if left else None
