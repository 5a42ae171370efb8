"""Which numbers have a flag: such a number is not shown as the best, and verdicts on it say so."""

from __future__ import annotations

from collections.abc import Iterable

from leaderboard.numbers.batches import OTHER_BATCH, batch_of, is_of_another_batch
from leaderboard.numbers.flags import BADGES, Flag, flags
from leaderboard.numbers.summary import Key
from leaderboard.numbers.timing import (
    BUSY_MACHINE,
    ON_HARDWARE,
    OTHER_HARDWARE,
    TIMED,
    busy_nets,
    mixed_hardware,
)
from leaderboard.results import AttackInfo, Results


def doubts(results: Results, key: Key) -> tuple[str, ...]:
    """The names of the flags that a network's number has, minor ones left out.

    Args:
        results: all of the board; what flags there are is told from them.
        key: of the number; for attacks any metric, or what is derived from their samples.
    """
    family, _, attack = key.measure.partition("/")
    net = (key.backbone, key.variant)
    if family == "efficiency":
        metric = key.metric.partition("[")[0]
        busy = key.metric in TIMED and (key.dataset, *net) in busy_nets(results)
        mixed = metric in ON_HARDWARE and key.dataset in mixed_hardware(results)
        of_other = is_of_another_batch(results, key)
        raised = {BUSY_MACHINE: busy, OTHER_HARDWARE: mixed, OTHER_BATCH: of_other}
        return tuple(name for name, is_raised in raised.items() if is_raised)
    if family != "robustness":
        return ()
    badges = {
        flag.badge
        for flag in flags(results, key.dataset)
        if (flag.backbone, flag.variant) == net
        and not flag.minor
        and _touches(flag, attack, results)
    }
    return tuple(badge.name for name, badge in BADGES.items() if name in badges)


def doubts_between(results: Results, keys: Iterable[Key]) -> tuple[str, ...]:
    """The names of the flags of numbers that are compared with each other: what was timed on the
    same hardware, or of the same batch, compares, whatever the rest of the board was."""
    keys = [*keys]
    found = dict.fromkeys(name for key in keys for name in doubts(results, key))
    places = {results.timed_on.get(key[:3], ()) for key in keys}
    if len(places) == 1 and len(places.pop()) == 1:
        found.pop(OTHER_HARDWARE, None)
    if len({batch_of(results, key) for key in keys}) == 1:
        found.pop(OTHER_BATCH, None)
    return tuple(found)


def _touches(flag: Flag, attack: str, results: Results) -> bool:
    """Whether a network's flag speaks against its number under that attack."""
    info = results.attacks.get(attack)
    if not flag.attack:
        return flag.badge == "randomised" or _by_gradients(info)
    if flag.badge == "square":  # it is the others that do worse than they might
        found = results.attacks[flag.attack]
        return _by_gradients(info) and (info is None or info.norm == found.norm)
    return flag.attack == attack


def _by_gradients(info: AttackInfo | None) -> bool:
    """Where nothing is known of an attack, what speaks against gradients speaks against it."""
    return info is None or info.access == "gradient"


def flagged(verdict: str, found: Iterable[str]) -> tuple[str, bool]:
    """A verdict with the flags of the numbers that it rests on, and whether there are any."""
    names = ", ".join(dict.fromkeys(found))
    return (f"{verdict}; flagged: {names}", True) if names else (verdict, False)
