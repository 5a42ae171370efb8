"""What claims name and a run did not measure, where the rest of it has a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_results import missing

import leaderboard
from leaderboard import Claim, MetricInfo, Results, Row, Sample
from leaderboard.blocks import Bullets
from leaderboard.claims.judge import judge
from leaderboard.claims.page import claim_blocks

INFO = {("accuracy", "top1"): MetricInfo("Top-1", "%", "higher", 1, True)}
BETTER = Claim("Better", ("accuracy/top1",), "higher", nets=("*/td",))
ROBUST = Claim("Robust", ("robustness/*/area",), "higher", nets=("*/td",))
NETS = tuple(("d", backbone, variant) for backbone in "ab" for variant in ("bu", "td"))


def rows(*nets: str) -> tuple[Row, ...]:
    return tuple(
        Row("d", *net.split("/"), seed, "accuracy", "top1", 80.0 + seed, "%")
        for net in nets
        for seed in (0, 1)
    )


def attacked(attack: str, *nets: str) -> list[Sample]:
    random = np.random.default_rng(1)
    return [
        Sample("d", *net.split("/"), seed, attack, random.random(6))
        for net in nets
        for seed in (0, 1)
    ]


def absent(claim: Claim, found: Results) -> tuple[str, ...]:
    (one,) = judge(replace(found, claims=(claim,)))
    return one.absent


EVERY = Results("t", rows("a/bu", "a/td", "b/bu", "b/td"), INFO, nets=NETS)


@pytest.mark.parametrize(
    ("claim", "measured", "wanted"),
    [
        (BETTER, ("a/bu", "a/td", "b/bu", "b/td"), ()),
        (replace(BETTER, nets=("*",)), ("a/bu", "a/td", "b/bu", "b/td"), ()),
        (BETTER, ("a/bu", "a/td", "b/bu"), ("network d/b/td",)),
        (BETTER, ("a/bu", "a/td", "b/td"), ("network d/b/td",)),
        (replace(BETTER, nets=("*/td", "*/c/td")), ("a/bu", "a/td", "b/bu", "b/td"),
         ("network */c/td",)),
        (replace(BETTER, numbers=("accuracy/top1", "accuracy/top1[[]cat]")),
         ("a/bu", "a/td", "b/bu", "b/td"), ("number accuracy/top1[[]cat]",)),
        (replace(BETTER, nets=("*/a/td",), against=("bu", "b/bu", "b/td")),
         ("a/bu", "a/td", "b/bu"), ("to compare with d/b/td",)),
        (BETTER, ("a/bu", "b/bu"), ()),  # not tested, which says it all
    ],
)  # fmt: skip
def test_networks_numbers_and_rivals(
    claim: Claim, measured: Sequence[str], wanted: tuple[str, ...]
) -> None:
    assert absent(claim, replace(EVERY, rows=rows(*measured))) == wanted


def test_an_attack_that_some_networks_lack_is_named_with_them() -> None:
    everybody = ("a/bu", "a/td", "b/bu", "b/td")
    samples = (*attacked("blur", *everybody), *attacked("noise", "a/bu", "a/td", "b/bu"))
    found = Results("t", (), {}, nets=NETS, samples=samples)
    assert absent(ROBUST, found) == ("number robustness/noise/area of d/b/td against bu",)
    named = replace(ROBUST, numbers=("robustness/blur/area", "robustness/pgd/area"))
    assert absent(named, found) == ("number robustness/pgd/area",)
    gone = missing("robustness/pgd", dataset="d", backbone="a", variant="td")
    assert absent(replace(ROBUST, numbers=("robustness/[bp]*/area",)), found) == ()
    found = replace(found, missing=(gone, replace(gone, seed=1)))
    assert absent(replace(ROBUST, numbers=("robustness/[bp]*/area",)), found) == (
        "number robustness/pgd",
    )


def test_inputs_that_were_not_perturbed_are_named() -> None:
    perturbed = tuple(
        Row("d", "a", "td", seed, "robustness/blur", f"perturbed_top1[{name}]", 50.0 + seed, "%")
        for seed in (0, 1)
        for name in ("high", "low")
    )
    claim = Claim(
        "Weak", ("robustness/*/loss",), "weakest input", nets=("*",), inputs=("medium", "high")
    )
    found = Results("t", perturbed, {}, nets=NETS[:2])
    assert absent(claim, found) == ("input medium",)
    assert absent(replace(claim, inputs=("high",)), found) == ()


def test_the_page_has_a_line_for_claims_that_lack_the_same(tmp_path: Path) -> None:
    robust = replace(ROBUST, numbers=("robustness/blur/area",))
    data = replace(
        EVERY,
        rows=rows("a/bu", "a/td"),
        samples=tuple(attacked("blur", "a/bu", "a/td")),
        claims=(BETTER, robust, replace(BETTER, nets=("*/a/td",))),
    )
    (lines,) = [block for block in claim_blocks(data) if isinstance(block, Bullets)]
    assert lines.entries == (("Claims 1, 2", "network d/b/td"),)
    page = leaderboard.render_markdown(data, tmp_path).read_text("utf-8")
    assert "rest on only some of what their claims name" in page
    whole = replace(EVERY, claims=(BETTER,))
    assert not [block for block in claim_blocks(whole) if isinstance(block, Bullets)]


def test_long_lists_are_counted() -> None:
    nets = tuple(("d", f"n{number}", "td") for number in range(9))
    (text,) = absent(
        replace(BETTER, against=("a/bu",)),
        replace(EVERY, nets=(*NETS, *nets), rows=rows("a/bu", "a/td", "b/td")),
    )
    assert text.startswith("networks d/n0/td, ")
    assert text.endswith(" and 3 more")
