from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from synthetic_results import ATTACKS, results

from leaderboard import AttackInfo, Results, Sample
from leaderboard.figures.loss_curves import grid_figure, loss_figure, png
from leaderboard.numbers.curves import caption, loss_curve, panels, upper_bound

distance = st.one_of(st.just(0.0), st.just(np.inf), st.floats(0.001, 50))
VARIANTS = ("bu", "td", "td_uni", "td_rev")


def by_definition(l2: np.ndarray, bound: float) -> float:
    """100 * #{correct samples fooled with L2 <= bound} / N, counted one by one."""
    return 100 * sum(1 for value in l2 if value != 0 and value <= bound) / len(l2)


def draw(given_results: Results, dataset: str = "fashion-mnist-mini") -> Figure:
    return loss_figure(dataset, panels(given_results.samples, dataset))


def sample(l2: list[float], seed: int = 0, variant: str = "bu", attack: str = "spatial") -> Sample:
    return Sample("d", "net", variant, seed, attack, np.array(l2, dtype=np.float64))


@given(arrays(np.float64, st.integers(1, 40), elements=distance), st.lists(st.floats(0, 60)))
def test_loss_curve_is_the_definition(l2: np.ndarray, bounds: list[float]) -> None:
    got = loss_curve(l2, np.array(bounds, dtype=np.float64))
    assert got == pytest.approx([by_definition(l2, bound) for bound in bounds])


def test_loss_counts_ties_and_leaves_out_wrong_and_unfooled() -> None:
    curve = loss_curve(np.array([0.0, 0.0, 1.0, 1.0, 2.0, np.inf]), np.array([0, 0.5, 1, 2, 1e9]))
    assert curve == pytest.approx([0, 0, 200 / 6, 50, 50])


def test_lines_in_the_figure_are_means_over_seeds_by_definition() -> None:
    data = results(seeds=(0, 1, 2), images=60)
    figure = draw(data)
    assert [axes.get_title() for axes in figure.axes] == ["Single pixel", "Salt and pepper"]
    for axes, attack in zip(figure.axes, ATTACKS, strict=False):
        for line, variant in zip(axes.get_lines(), ("bu", "td"), strict=True):
            seeds = [s.l2 for s in data.samples if (s.attack, s.variant) == (attack, variant)]
            x, y = line.get_data()
            wanted = [np.mean([by_definition(l2, bound) for l2 in seeds]) for bound in x]
            assert y == pytest.approx(wanted)


def test_bands_span_the_lowest_to_the_highest_seed() -> None:
    (panel,) = panels([sample([1, 1]), sample([1, np.inf], 1), sample([0, 0], 2)], "d")
    (curve,) = panel.curves
    assert (curve.low[-1], curve.mean[-1], curve.high[-1]) == (0, 50, 100)
    assert len(loss_figure("d", [panel]).axes[0].collections) == 1
    (alone,) = panels([sample([1, 2])], "d")
    assert not loss_figure("d", [alone]).axes[0].collections


def test_axes_and_labels() -> None:
    data = results(attacks=ATTACKS)
    figure = draw(data)
    assert len(figure.axes) == 10
    for axes, panel in zip(figure.axes, panels(data.samples, "fashion-mnist-mini"), strict=True):
        assert axes.get_xlim() == (0, panel.bounds[-1])
        assert axes.get_ylim() == (0, 100)
    assert figure.axes[0].get_ylabel() == "Accuracy loss (points)"
    assert figure.axes[-1].get_xlabel() == "L₂ distance"
    assert figure.get_suptitle() == "fashion-mnist-mini"
    assert len(figure.legends) == 1


def test_nets_are_told_apart_without_colour_and_bottom_up_is_red() -> None:
    figure = draw(results(variants=VARIANTS, backbones=("lenet_fc", "nin_light"), seeds=(0,)))
    lines = figure.axes[0].get_lines()
    assert len(lines) == len({to_hex(line.get_color()) for line in lines}) == 8
    assert len({(str(line._dash_pattern), line.get_marker()) for line in lines}) == 8
    labels = [text.get_text().strip() for text in figure.legends[0].get_texts()]
    assert labels[:2] == ["lenet_fc · bu", "lenet_fc · td"]
    assert labels[4] == "nin_light · bu"
    for line, dominant in ((lines[0], 0), (lines[1], 1), (lines[4], 0), (lines[5], 1)):
        assert int(np.argmax(line.get_color())) == dominant


def test_unknown_variants_get_looks_of_their_own() -> None:
    figure = draw(results(variants=("bu", "mine", "yours"), seeds=(0,)))
    lines = figure.axes[0].get_lines()
    assert len({to_hex(line.get_color()) for line in lines}) == 3
    assert len({str(line._dash_pattern) for line in lines}) == 3


def test_axis_holds_95_percent_of_each_net_and_ignores_far_outliers() -> None:
    near = [np.linspace(0.01, 1.0, 100)]
    assert upper_bound([near]) == 1.0
    assert upper_bound([near, [np.full(100, 7.0)]]) == 8.0
    hardly = [np.array([300.0] * 4 + [np.inf] * 96)]
    assert upper_bound([near, hardly]) == upper_bound([near])
    assert upper_bound([hardly]) == 300.0
    assert upper_bound([[np.array([0.0, np.inf])]]) == 1.0


@given(st.floats(1e-6, 1e6))
def test_axis_never_cuts_a_constant_attack_off(distance: float) -> None:
    bound = upper_bound([[np.full(9, distance)]])
    assert distance * (1 - 1e-9) <= bound <= distance * 1.51


def test_png_has_the_same_bytes_whatever_the_user_configured() -> None:
    import matplotlib as mpl

    data = results(images=50)
    first = png(draw(data))
    with mpl.rc_context({"lines.linewidth": 9, "axes.grid": False, "font.size": 20}):
        assert png(draw(data)) == first
    assert first.startswith(b"\x89PNG")
    assert b"Software" not in first


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 13.0}):
        png(draw(results(images=20, seeds=(0,))))
        assert mpl.rcParams["font.size"] == 13.0


@pytest.mark.filterwarnings("error")
def test_hostile_names_are_drawn_as_they_are() -> None:
    names = ("_hidden", "$x^", "\\frac{", "日本😀" * 20, "a\nb")
    data = results(datasets=("$d_$",), backbones=names, attacks=("$", "_" * 90), images=20)
    figure = draw(data, "$d_$")
    assert png(figure)
    assert len(figure.legends[0].get_texts()) == 10
    assert figure.axes[0].get_title() == "$"


@pytest.mark.parametrize(
    ("l2", "words"), [([[1.0, 2.0]], "One seed"), ([[1.0, 2.0], [1.0]], "means over 2 seeds")]
)
def test_caption_says_what_was_measured(l2: list[list[float]], words: str) -> None:
    text = caption(panels([sample(row, seed) for seed, row in enumerate(l2)], "d"))
    assert words in text
    assert ("all 2 images" if len(l2) == 1 else "all 1 or 2 images") in text


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("index", np.array([4, 4])),
        ("index", np.array([4])),
        ("linf", np.array([0.5, np.nan])),
        ("l0", np.array([[1.0, 2.0]])),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name: str, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match=f"d/net/bu/seed0/spatial: {name}"):
        replace(sample([1.0, 2.0]), **{name: array})


@pytest.mark.parametrize("l2", [[], [-1.0], [np.nan]])
def test_samples_that_are_none_are_refused(l2: list[float]) -> None:
    with pytest.raises(ValueError, match="d/net/bu/seed0/spatial"):
        sample(l2)


def test_axis_of_an_attack_with_epsilons_in_l2_ends_at_the_strongest() -> None:
    samples = [sample([0.25000002, 1.0000001, np.inf, 0.0])]
    known = {"spatial": AttackInfo("gradient", "L2", "iterative", (0.25, 1.0))}
    (panel,) = panels(samples, "d", known)
    assert panel.bounds[-1] == 1.0
    # What float32 adds to an epsilon does not put the image beyond it.
    assert panel.curves[0].mean[-1] == 50.0
    other = {"spatial": AttackInfo("gradient", "Linf", "iterative", (0.1,))}
    assert panels(samples, "d", other)[0].bounds[-1] == 1.0


def test_axes_end_at_round_numbers() -> None:
    ends = [upper_bound([[np.full(9, d)]]) for d in (0.011, 0.2, 0.21, 1.2, 3.5, 7.0, 9.0, 99.0)]
    assert ends == [0.015, 0.2, 0.3, 1.5, 4.0, 8.0, 10.0, 100.0]


def grid(datasets: tuple[str, ...], given_results: Results) -> Figure:
    return grid_figure({name: panels(given_results.samples, name) for name in datasets})


def test_grid_has_a_column_for_each_data_set_and_a_row_for_each_attack() -> None:
    names = ("mnist", "fashion-mnist", "cifar10")
    data = results(datasets=names, attacks=ATTACKS, images=30)
    figure = grid(names, data)
    assert len(figure.axes) == 30
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == list(names)
    rows = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert [row.replace("\n", " ") for row in rows[:3]] == [
        "Single pixel", "Salt and pepper", "Pointwise",
    ]  # fmt: skip
    assert len(rows) == 10


def test_grid_leaves_a_place_empty_and_still_names_its_row() -> None:
    data = results(datasets=("a", "b"), images=30)
    fewer = tuple(s for s in data.samples if (s.dataset, s.attack) != ("a", "single_pixel"))
    figure = grid(("a", "b"), replace(data, samples=fewer))
    drawn = [axes for axes in figure.axes if axes.get_lines()]
    assert len(drawn) == 3
    labels = {axes.get_ylabel() for axes in figure.axes} - {""}
    assert labels == {"Single pixel", "Salt and\npepper"}
    assert {axes.get_title() for axes in drawn} == {"a", "b", ""}


def test_every_row_of_a_grid_has_numbers_beside_it() -> None:
    """Of two data sets without an attack in common, the second's row begins in its own column."""
    data = results(datasets=("a", "b"), images=30)
    attack = {"a": "single_pixel", "b": "salt_and_pepper"}
    fewer = tuple(s for s in data.samples if s.attack == attack[s.dataset])
    for samples, wanted in ((fewer, [True, True]), (data.samples, [True, True, False, False])):
        figure = grid(("a", "b"), replace(data, samples=samples))
        figure.draw_without_rendering()
        drawn = [axes for axes in figure.axes if axes.get_lines()]
        told = [any(text.get_visible() for text in axes.get_yticklabels()) for axes in drawn]
        assert told == wanted
    assert png(figure)
