"""The search for recipes: its budget, what was chosen for each network, and how the trials went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from leaderboard.blocks import Block, Bullets, Cell, Grid, Heading, Text
from leaderboard.results import Results
from leaderboard.rounding import fixed
from leaderboard.searched import Searched, Trial
from leaderboard.text import one_line

_NONE = Cell("–", "missing")
_LISTED = 20  # failed trials that are named
_REASON = 300  # characters of an error


def tuning_blocks(results: Results) -> Iterator[Block]:
    """Heading, budget, table and what is to be said of it; nothing where nothing was searched."""
    searches = results.searches
    if not searches:
        return
    yield Heading(2, "Tuning")
    yield Text(_budget(searches))
    yield Text(_judged(searches))
    yield Grid(
        "Recipe values chosen by validation accuracy",
        ("Data set", "Backbone", "Variant"),
        ("Validation accuracy of the choice (%)", "Median", "Worst", "Trials", "Failed"),
        tuple(_line(one) for one in searches),
        ("Choice", "At the edge"),
    )
    if any(one.chosen is not None and one.trials[one.chosen].edges for one in searches):
        more = " or more draws" if searches[0].search == "random" else ""
        yield Text(
            "At the edge: the choice is the lowest or highest value that was tried, or lies in the "
            f"outer tenth of its range; a wider search{more} may find better."
        )
    tuned = {(one.dataset, one.backbone, one.variant) for one in searches}
    others = ["/".join(net) for net in results.nets if net not in tuned]
    if others:
        yield Text(f"Not tuned: {', '.join(others)}. Comparisons with them are not on equal terms.")
    yield from _failed(searches)


def _budget(searches: Sequence[Searched]) -> str:
    first = searches[0]
    counts = {len(one.trials) for one in searches}
    (count,) = counts if len(counts) == 1 else (max(counts),)
    kind = "Every combination" if first.search == "grid" else f"Random draws (seed {first.seed})"
    tried = "; ".join(f"{key}: {text}" for key, text in first.axes)
    trials = f"{count} trial{'' if count == 1 else 's'}"
    return (
        f"{kind} of {tried}. That is {trials} for each data set, backbone and variant, "
        f"{count * len(searches)} in all: each has the same candidates and the same budget."
    )


def _judged(searches: Sequence[Searched]) -> str:
    shares = sorted({one.validation for one in searches})
    share = " or ".join(f"{100 * share:g} %" for share in shares)
    text = (
        f"A trial trains {_epochs([one.epochs for one in searches])} without the held-out {share} "
        f"of the training images (the split of seed {searches[0].seed}, the same for all) and is "
        "judged by its accuracy on them after the last epoch; of equal ones the first is chosen. "
        "Test images take no part in it. The choice goes for all seeds of a network"
    )
    if any(one.epochs != one.own_epochs for one in searches):
        own = _epochs([one.own_epochs for one in searches])
        return f"{text}, which then train {own}."
    return f"{text}."


def _epochs(counts: Sequence[int | None]) -> str:
    known = sorted({count for count in counts if count is not None})
    if not known:
        return "for as many epochs as its candidate says"
    if len(known) > 1:
        return f"for {known[0]} to {known[-1]} epochs"
    return f"for {known[0]} epoch{'' if known[0] == 1 else 's'}"


def _line(one: Searched) -> tuple[Cell, ...]:
    scores = [trial.accuracy for trial in one.trials if trial.accuracy is not None]
    failed = sum(bool(trial.error) for trial in one.trials)
    over = len(scores) + failed
    total = len(one.trials)
    trials = str(total) if over == total else f"{over} of {total}"
    chosen = None if one.chosen is None else one.trials[one.chosen]
    net = (Cell(one.dataset), Cell(one.backbone), Cell(one.variant))
    if chosen is None or chosen.accuracy is None:
        state = Cell("failed", "failed") if failed == total else _NONE
        return (*net, state, _NONE, _NONE, Cell(trials), Cell(str(failed)), state, _NONE)
    numbers = (chosen.accuracy, median(scores), min(scores))
    return (
        *net,
        *(Cell(fixed(number, 1)) for number in numbers),
        Cell(trials),
        Cell(str(failed)),
        Cell(chosen.values),
        Cell(", ".join(chosen.edges), "flag") if chosen.edges else _NONE,
    )


def _failed(searches: Sequence[Searched]) -> Iterator[Block]:
    found = [(one, trial) for one in searches for trial in one.trials if trial.error]
    if not found:
        return
    yield Text(
        f"Failed trials ({len(found)}), which count as the worst, though median and worst accuracy "
        "above are of the others:"
    )
    entries = [_named(one, trial) for one, trial in found[:_LISTED]]
    if len(found) > _LISTED:
        entries.append(("", f"… and {len(found) - _LISTED} more"))
    yield Bullets(tuple(entries))


def _named(one: Searched, trial: Trial) -> tuple[str, str]:
    name = f"{one.dataset}/{one.backbone}/{one.variant} {trial.values}"
    return name, one_line(trial.error, _REASON)
