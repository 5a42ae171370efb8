import math
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from synthetic_results import ATTACKS, failure, missing, results

from leaderboard import MetricInfo, Results, Row
from leaderboard.numbers.board import Cell, Section, sections

TOP1 = MetricInfo("accuracy", "%", "higher", 1, headline=True)


def board(
    values: Mapping[str, list[float]],
    info: MetricInfo = TOP1,
    measure: str = "accuracy",
    **extra: object,
) -> Section:
    """A section of one column with a line for each variant."""
    rows = [
        Row("d", "net", variant, seed, measure, "top1", value, "%")
        for variant, seeds in values.items()
        for seed, value in enumerate(seeds)
    ]
    (section,) = sections(Results("t", tuple(rows), {(measure, "top1"): info}, **extra))
    return section


def column(section: Section, index: int = 0) -> list[Cell]:
    return [line.cells[index] for line in section.tables[0].lines]


def best(section: Section) -> list[bool]:
    return [cell.best for cell in column(section)]


def headings(section: Section) -> list[str]:
    return [column.heading for table in section.tables for column in table.columns]


def test_best_follows_the_direction() -> None:
    values = {"bu": [90.0, 90.01], "td": [91.0, 91.01]}
    assert best(board(values)) == [False, True]
    assert best(board(values, replace(TOP1, better="lower"))) == [True, False]
    assert best(board(values, replace(TOP1, better="neither"))) == [False, False]


def test_ties_as_displayed_are_all_best() -> None:
    values = {"a": [90.04, 90.041], "b": [89.96, 89.961], "c": [89.9, 89.901]}
    assert best(board(values)) == [True, True, False]


def test_seeds_that_are_equal_by_chance_are_not_best() -> None:
    """As 50 images often have it: nobody knows how far other seeds would lie from these."""
    values = {"a": [92.0, 92.0], "b": [90.0, 90.1]}
    assert best(board(values)) == [False, False]
    assert best(board({**values, "a": [88.0, 88.0]})) == [False, True]


def test_equal_medians_decide_nothing_and_equal_costs_do() -> None:
    """A median on a grid of strengths is often the same for two seeds; a count always is."""
    values = {"a": [2.0, 2.0], "b": [1.0, 1.5]}
    info = replace(TOP1, unit="")
    assert best(board(values, info, "robustness/fgsm")) == [False, False]
    assert best(board({**values, "a": [0.5, 0.5]}, info, "robustness/fgsm")) == [False, True]
    assert best(board({"a": [2.0, 2.0], "b": [1.0, 1.0]}, info, "efficiency")) == [True, False]


def test_infinite_is_best_where_higher_is_and_every_seed_has_it() -> None:
    values = {"a": [math.inf, math.inf], "b": [3.0, 4.0]}
    assert [cell.text for cell in column(board(values))] == ["∞", "3.5 ± 0.7"]
    assert best(board(values)) == [True, False]


def test_infinite_for_some_seeds_says_for_how_many_and_decides_nothing() -> None:
    values = {"a": [2.0, math.inf, 2.5], "b": [3.0, 4.0, 3.5]}
    section = board(values)
    assert [cell.text for cell in column(section)] == ["∞ for 1 of 3", "3.5 ± 0.5"]
    assert best(section) == [False, False]
    for order in ("abc", "cba"):
        more = {**values, "c": [math.inf] * 3}
        assert best(board({name: more[name] for name in order})) == [name == "c" for name in order]


def test_nothing_is_best_where_the_best_has_a_single_seed() -> None:
    values = {"a": [91.0], "b": [90.0, 90.1], "c": [90.05]}
    assert best(board(values)) == [False, False, False]
    assert best(board({**values, "a": [89.0]})) == [False, True, False], "what has no interval"
    assert best(board({"a": [89.0, 89.1], "b": [90.0, 90.01], "c": [90.0]})) == [False, True, False]


def test_costs_have_a_best_with_a_single_seed() -> None:
    """No weight changes them, so that they are measured once."""
    rows = [
        Row("d", "net", variant, 0, "efficiency", "memory", value, "bytes")
        for variant, value in (("bu", 1.0), ("td", 3.0))
    ]
    info = MetricInfo("memory", "bytes", "lower", headline=True)
    (section,) = sections(Results("t", tuple(rows), {("efficiency", "memory"): info}))
    assert best(section) == [True, False]


def test_nothing_is_best_alone() -> None:
    assert best(board({"a": [90.0]})) == [False]
    base = results()
    lone = replace(base, rows=base.rows[:1], failures=(failure(base, "accuracy", "boom"),))
    assert [(cell.state, cell.best) for cell in column(sections(lone)[0])] == [
        ("value", False),
        ("failed", False),
    ]


@given(st.lists(st.floats(0, 100), min_size=2, max_size=8))
def test_best_are_exactly_the_cells_with_the_greatest_text(values: list[float]) -> None:
    variants = {str(index): [value] * 2 for index, value in enumerate(values)}
    cells = column(board(variants, measure="efficiency"))  # counted: without any interval
    shown = [float(cell.text.partition(" ")[0]) for cell in cells]
    assert [cell.best for cell in cells] == [value == max(shown) for value in shown]


def test_columns_come_in_reading_order_with_direction_and_unit() -> None:
    base = results(attacks=("gaussian_blur", "spatial"))
    shuffled = dict(reversed(base.metrics.items()))
    (section,) = sections(replace(base, metrics=shuffled))
    assert headings(section) == [
        "Top-1 ↑ (%)",
        "Spatial: median L2 ↑",
        "Gaussian blur: median L2 ↑",
        "Memory ↓",
        "Speed ↑ (images/s)",
        "FLOPs ↓",
        "Parameters ↓",
    ]


def test_a_single_attack_is_named_too() -> None:
    (section,) = sections(results(attacks=("spatial",)))
    assert "Spatial: median L2 ↑" in headings(section)


def test_too_many_attacks_move_into_tables_of_their_own() -> None:
    base = results(attacks=ATTACKS)
    (section,) = sections(base)
    titles = [table.title for table in section.tables]
    assert titles == ["Overview", "Robustness (1 of 2)", "Robustness (2 of 2)"]
    assert [len(table.columns) for table in section.tables] == [5, 5, 5]
    shown = [(c.measure, c.metric) for table in section.tables for c in table.columns]
    assert sorted(shown) == sorted(key for key, info in base.metrics.items() if info.headline)


def test_failed_missing_and_partial_cells() -> None:
    base = results()
    gone = {("td", 0, "robustness/single_pixel"), ("td", 0, "accuracy"), ("td", 1, "accuracy")}
    (section,) = sections(
        replace(
            base,
            rows=tuple(r for r in base.rows if (r.variant, r.seed, r.measure) not in gone),
            failures=(
                failure(base, "accuracy", "boom"),
                failure(base, "accuracy", "boom", seed=1),
                failure(base, "robustness/single_pixel", "boom"),
            ),
            missing=(missing("accuracy", variant="td_uni"),),
        )
    )
    (table,) = section.tables
    bu, td, uni = table.lines
    assert td.cells[0] == Cell("failed", "failed")
    assert td.cells[1].text == "∞ (n = 1)"
    assert "(n" not in bu.cells[1].text
    assert {cell.state for cell in uni.cells} == {"missing"}
    assert [line.seeds for line in table.lines] == ["2", "2", "0 of 1"]
    assert section.has_gaps


def test_a_failed_training_fails_whatever_was_planned_for_it() -> None:
    base = results()
    rows = tuple(row for row in base.rows if row.variant == "bu")
    measures = {row.measure for row in rows} - {"efficiency"}
    (section,) = sections(
        replace(
            base,
            rows=rows,
            failures=(failure(base, "train", "NaN"),),
            missing=tuple(missing(measure, variant="td") for measure in measures),
        )
    )
    table = section.tables[0]
    of = {
        c.measure: cell.state for c, cell in zip(table.columns, table.lines[1].cells, strict=True)
    }
    assert of.pop("efficiency") == "missing", "it was never planned"
    assert set(of.values()) == {"failed"}


def test_a_measure_that_never_gave_a_number_still_has_a_column() -> None:
    base = results()
    (section,) = sections(
        replace(
            base,
            failures=(failure(base, "robustness/gaussian_blur", "boom"),),
            missing=(missing("localization"),),
        )
    )
    titles = headings(section)
    assert titles.index("Gaussian blur") < titles.index("Localization") < titles.index("FLOPs ↓")
    assert column(section, titles.index("Gaussian blur"))[1].text == "failed"


def test_data_sets_and_nets_keep_the_order_of_the_rows() -> None:
    found = sections(results(datasets=("zebra", "ant"), variants=("td", "bu")))
    assert [section.dataset for section in found] == ["zebra", "ant"]
    assert [line.net.variant for line in found[0].tables[0].lines] == ["td", "bu"]


def test_slashes_in_names_are_understood_in_missing_cells() -> None:
    gone = missing("accuracy", 3, "imagefolder:a/b", "timm/resnet18", "td")
    first, second = sections(replace(results(), missing=(gone,)))
    assert first.dataset == "fashion-mnist-mini"
    assert second.tables[0].lines[0].net == ("imagefolder:a/b", "timm/resnet18", "td")
    assert [cell.state for cell in column(second)] == ["missing"]


def test_lines_follow_the_suite_even_where_nothing_was_measured() -> None:
    base = results()
    gone = missing("accuracy", variant="td_uni")
    order = tuple(("fashion-mnist-mini", "lenet_fc", v) for v in ("td_uni", "td", "bu"))
    (section,) = sections(replace(base, missing=(gone,), nets=order))
    assert [line.net.variant for line in section.tables[0].lines] == ["td_uni", "td", "bu"]


def test_a_number_that_its_measure_did_not_give_for_a_seed_says_of_how_many_it_is() -> None:
    """A measure of one's own may return other numbers for other seeds."""
    numbers = [(0, "often", 5.0), (1, "often", 6.0), (0, "seldom", 7.0)]
    rows = [Row("d", "net", "bu", seed, "mine", name, value, "") for seed, name, value in numbers]
    infos = {("mine", name): MetricInfo(name, headline=True) for name in ("often", "seldom")}
    (section,) = sections(Results("t", tuple(rows), infos))
    assert section.tables[0].lines[0].seeds == "2"
    assert [cell.text for cell in section.tables[0].lines[0].cells] == [
        "5.50 ± 0.71",
        "7.00 (n = 1)",
    ]
