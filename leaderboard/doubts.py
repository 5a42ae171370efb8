"""Which numbers have a flag: such a number is not shown as the best, and verdicts on it say so."""

from __future__ import annotations

from collections.abc import Iterable

from leaderboard.flags import BADGES, Flag, flags
from leaderboard.results import AttackInfo, Results
from leaderboard.summary import Key
from leaderboard.timing import BUSY_MACHINE, TIMED, busy_nets


def doubts(results: Results, key: Key) -> tuple[str, ...]:
    """The names of the flags that a network's number has, minor ones left out.

    Args:
        results: all of the board; what flags there are is told from them.
        key: of the number; for attacks any metric, or what is derived from their samples.
    """
    family, _, attack = key.measure.partition("/")
    net = (key.backbone, key.variant)
    if family == "efficiency":
        busy = key.metric in TIMED and (key.dataset, *net) in busy_nets(results)
        return (BUSY_MACHINE,) if busy else ()
    if family != "robustness":
        return ()
    raised = {
        flag.badge
        for flag in flags(results, key.dataset)
        if (flag.backbone, flag.variant) == net
        and not flag.minor
        and _touches(flag, attack, results)
    }
    return tuple(badge.name for name, badge in BADGES.items() if name in raised)


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
