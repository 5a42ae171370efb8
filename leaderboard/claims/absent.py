"""What a claim names and a run did not measure, where the rest of it has a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from leaderboard.claims.gap import Gap
from leaderboard.claims.gaps import concerns, named, rivals
from leaderboard.numbers.scales import METRIC as PERTURBED
from leaderboard.numbers.summary import BASELINE, by_seed
from leaderboard.results import Claim, Failure, Missing, Results
from leaderboard.text import one_line

_LISTED = 6  # of one kind; more are counted

Net = tuple[str, str, str]


def absent(results: Results, claim: Claim, gaps: Sequence[Gap]) -> tuple[str, ...]:
    """A phrase for each kind of thing that no comparison of the claim rests on: numbers, networks,
    those to compare with, inputs. Nothing where all were measured, or none: it is not tested then.
    """
    if not gaps:
        return ()
    kinds = {
        "number": _numbers(results, claim, gaps),
        "network": _networks(results, claim, gaps),
        "to compare with": [] if claim.inputs else _rivals(claim, gaps),
        "input": _inputs(results, claim, gaps),
    }
    return tuple(_phrase(kind, [*dict.fromkeys(found)]) for kind, found in kinds.items() if found)


def _phrase(kind: str, found: Sequence[str]) -> str:
    plural = "s" if len(found) > 1 and not kind.startswith("to ") else ""
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return f"{kind}{plural} {', '.join(one_line(name, 100) for name in found[:_LISTED])}{more}"


def _numbers(results: Results, claim: Claim, gaps: Sequence[Gap]) -> list[str]:
    """Those that no comparison has, and those that some have and others of the data set lack."""
    has: dict[tuple[Net, str], set[str]] = {}
    for gap in gaps:
        has.setdefault((gap.net, "" if claim.inputs else gap.rival), set()).update(gap.numbers)
    known = {name: None for names in has.values() for name in sorted(names)}
    found = [entry for entry in claim.numbers if not any(_fits(claim, n, entry) for n in known)]
    found += _planned(results, claim, {name.rpartition("/")[0] for name in known}, found)
    for name in known:
        datasets = {net[0] for (net, _), names in has.items() if name in names}
        for (net, rival), names in has.items():
            if name not in names and net[0] in datasets:
                against = f" against {rival}" if rival else ""
                found.append(f"{name} of {'/'.join(net)}{against}")
    return found


def _planned(results: Results, claim: Claim, known: set[str], unfit: Sequence[str]) -> list[str]:
    """Measures that a claim's globs mean, and of which nothing came."""
    found = []
    cells: tuple[Failure | Missing, ...] = (*results.failures, *results.missing)
    for cell in cells:
        meant = [p for p in claim.numbers if fnmatchcase(cell.measure, p.rpartition("/")[0])]
        about = concerns(claim, cell.dataset, cell.backbone, cell.variant)
        told = any(pattern in unfit for pattern in meant)
        if meant and about and not told and cell.measure not in known:
            found.append(cell.measure)
    return found


def _fits(claim: Claim, name: str, pattern: str) -> bool:
    if claim.inputs:  # whichever number of an attack is named, it is the attack that counts
        name, pattern = (text.rpartition("/")[0] for text in (name, pattern))
    return fnmatchcase(name, pattern)


def _networks(results: Results, claim: Claim, gaps: Sequence[Gap]) -> list[str]:
    planned: dict[Net, None] = dict.fromkeys(results.nets)
    planned |= {key[:3]: None for key in by_seed(results.rows)}
    names = {net: "/".join(net) for net in planned}
    found = [p for p in claim.nets if not any(fnmatchcase(name, p) for name in names.values())]
    judged = {gap.net for gap in gaps}
    for net, name in names.items():
        # A network of one input has none that could be the weakest.
        comparable = net[2] != BASELINE if claim.inputs else bool(rivals(claim, *net[1:]))
        if comparable and net not in judged and concerns(claim, *net):
            found.append(name)
    return found


def _rivals(claim: Claim, gaps: Sequence[Gap]) -> list[str]:
    """The networks that some network of the claim should have been compared with."""
    done = {(gap.net, gap.rival) for gap in gaps}
    return [
        "/".join((net[0], *rival))
        for net in dict.fromkeys(gap.net for gap in gaps)
        for rival in rivals(claim, *net[1:])
        if (net, named(rival, net[1])) not in done
    ]


def _inputs(results: Results, claim: Claim, gaps: Sequence[Gap]) -> list[str]:
    if not claim.inputs:
        return []
    has: dict[Net, set[str]] = {gap.net: set() for gap in gaps}
    for key in by_seed(results.rows):
        if key.metric.startswith(PERTURBED) and key[:3] in has:
            has[key[:3]].add(key.metric[len(PERTURBED) : -1])
    anywhere = set().union(*has.values())
    found = [name for name in claim.inputs if name not in anywhere]
    for net, names in has.items():
        lacking = [name for name in claim.inputs if name in anywhere and name not in names]
        found += [f"{name} of {'/'.join(net)}" for name in lacking]
    return found
