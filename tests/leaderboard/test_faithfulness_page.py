"""Faithfulness: areas under deletion and insertion curves, paired by seed and image; the page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import leaderboard
from leaderboard import Removed, Results
from leaderboard.blocks import Bullets, Figure, Grid
from leaderboard.figures.faithfulness import curve_figure
from leaderboard.figures.looks import png
from leaderboard.kept import Kept
from leaderboard.numbers.faithfulness import compare
from leaderboard.sections.faithfulness import faithfulness_blocks

STEPS = 10


def removed(variant: str = "bu", seed: int = 0, fall: float = 2.0, **changes: Any) -> Removed:
    """Curves that fall and rise as powers, from clean probabilities that differ by image."""
    images = 40
    random = np.random.default_rng([seed, *map(ord, variant)])
    clean = 0.6 + 0.4 * np.random.default_rng(5).random(images)
    shares = np.linspace(0, 1, STEPS + 1)
    powers = fall * np.exp(random.normal(0, 0.1, (images, 1)))
    given = {
        "index": np.arange(images),
        "clean": clean,
        "deletion": clean[:, None] * (1 - shares) ** powers,
        "insertion": clean[:, None] * shares ** (1 / powers),
    }
    return Removed("d", "net", variant, seed, **(given | changes))


def of(*cells: Removed) -> Results:
    return Results("t", (), {}, removed=cells)


def test_areas_by_hand() -> None:
    """A straight line has half the square below it, whatever the clean probability."""
    shares = np.linspace(0, 1, 5)
    clean = np.array([0.5, 1.0])
    cell = Removed(
        "d", "net", "bu", 0, np.array([3, 8]), clean,
        clean[:, None] * (1 - shares), clean[:, None] * np.array([0.2, 0.4, 0.6, 0.8, 1.0]),
    )  # fmt: skip
    (one,) = compare(of(cell), "d")
    (network,) = one.networks
    assert network.figures["deletion_auc"].summary.mean == pytest.approx(50)
    assert network.figures["insertion_auc"].summary.mean == pytest.approx(60)
    assert network.figures["deletion_auc"].against is None
    np.testing.assert_allclose(network.deletion.mean, [100, 75, 50, 25, 0])
    np.testing.assert_allclose(one.shares, [0, 25, 50, 75, 100])


def test_steps_that_do_not_divide_the_pixels_are_as_wide_as_they_are() -> None:
    """Of 6 pixels 4 steps take 1, 2, 1 and 2: after half of them half of the pixels are gone."""
    fall, rise = [1.0, 0.8, 0.2, 0.1, 0.0], [0.0, 0.0, 0.3, 0.9, 1.0]
    for pixels, shares in ((6, [0, 1 / 6, 1 / 2, 2 / 3, 1]), (None, [0, 0.25, 0.5, 0.75, 1])):
        cell = Removed(
            "d", "net", "bu", 0, np.array([3]), np.array([1.0]), np.array([fall]),
            np.array([rise]), pixels=pixels,
        )  # fmt: skip
        (one,) = compare(of(cell), "d")
        np.testing.assert_allclose(one.shares, 100 * np.array(shares))
        for name, curve in (("deletion_auc", fall), ("insertion_auc", rise)):
            heights = (np.array(curve)[1:] + np.array(curve)[:-1]) / 2
            expected = 100 * float(np.diff(shares) @ heights)
            assert one.networks[0].figures[name].summary.mean == pytest.approx(expected)


def test_variants_are_paired_on_the_images_that_all_have() -> None:
    bu = [removed("bu", seed, 2.0) for seed in (0, 1, 2)]
    td = [removed("td", seed, 4.0) for seed in (0, 1, 2)]
    whole = compare(of(*bu, *td), "d")[0]
    assert (whole.images, whole.seeds) == (40, (0, 1, 2))
    order = np.random.default_rng(0).permutation(40)[:25]
    names = ("index", "clean", "deletion", "insertion")
    fewer = [replace(cell, **{k: getattr(cell, k)[order] for k in names}) for cell in td]
    (part,) = compare(of(*bu, *fewer), "d")
    same = [replace(cell, **{k: getattr(cell, k)[order] for k in names}) for cell in bu]
    (alike,) = compare(of(*same, *fewer), "d")
    assert part.images == 25
    for mine, other in zip(part.networks, alike.networks, strict=True):
        for name, estimate in mine.figures.items():
            assert estimate.summary.mean == pytest.approx(other.figures[name].summary.mean)
    gap = whole.networks[1].figures["deletion_auc"].against
    assert gap is not None
    assert gap.high < 0  # falls faster


def test_names_beside_the_panels_are_whole_and_apart() -> None:
    nets = (("timm/mobilenetv3_small_050", "integrated_gradients"), ("nin_light", ""))
    cells = [replace(removed(), backbone=backbone, item=item) for backbone, item in nets]
    figure = curve_figure("d", compare(of(*cells), "d"))
    png(figure)  # lays it out
    boxes = [axes.yaxis.label.get_window_extent() for axes in figure.axes[::2]]
    heights = [axes.get_window_extent().height for axes in figure.axes[::2]]
    assert all(box.height < 1.1 * height for box, height in zip(boxes, heights, strict=True))
    assert boxes[0].y1 < figure.bbox.height
    assert boxes[0].y0 > boxes[1].y1


def test_networks_with_other_steps_or_seeds_stand_alone() -> None:
    coarse = removed("td", 0)
    coarse = replace(coarse, deletion=coarse.deletion[:, ::2], insertion=coarse.insertion[:, ::2])
    assert [len(one.networks) for one in compare(of(removed("bu"), coarse), "d")] == [1, 1]
    apart = compare(of(removed("bu", 0), removed("td", 1)), "d")
    assert [one.networks[0].variant for one in apart] == ["bu", "td"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"index": np.zeros(40, np.int64)}, "each once"),
        ({"clean": np.full(40, 1.5)}, r"\[0, 1\]"),
        ({"clean": np.ones(3)}, "for each image"),
        ({"deletion": np.ones((40, 1)), "insertion": np.ones((40, 1))}, "at least 1"),
        ({"insertion": np.ones((40, 4))}, "at least 1"),
    ],
)
def test_arrays_that_cannot_be_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        removed(**change)


def test_a_seed_that_comes_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="comes twice"):
        compare(of(removed(), removed()), "d")


def test_the_page() -> None:
    cells = [removed(v, s, f) for v, f in (("bu", 2.0), ("td", 5.0)) for s in (0, 1, 2)]
    blocks = list(faithfulness_blocks(of(*cells), "d", set(), Kept()))
    (bullets,) = (block for block in blocks if isinstance(block, Bullets))
    ((name, said),) = bullets.entries
    assert name == "net td against bu"
    assert said.startswith("deletion AUC lower (better)")
    assert "insertion AUC higher (better)" in said
    (grid,) = (block for block in blocks if isinstance(block, Grid))
    assert [cell.text for cell in grid.lines[0][:4]] == ["net", "bu", "3", "40"]
    assert grid.lines[0][5].text == "–"
    assert any(isinstance(block, Figure) for block in blocks)
    assert not list(faithfulness_blocks(of(*cells), "other", set(), Kept()))


def test_one_seed_says_so() -> None:
    blocks = faithfulness_blocks(of(removed("bu"), removed("td", 0, 5.0)), "d", set(), Kept())
    (bullets,) = (block for block in blocks if isinstance(block, Bullets))
    assert bullets.entries[0][1].endswith("(one seed: nothing is known of others)")


def test_it_is_on_the_page_of_results(tmp_path: Any) -> None:
    cells = [removed(v, s, f) for v, f in (("bu", 2.0), ("td", 5.0)) for s in (0, 1)]
    rows = tuple(
        leaderboard.Row(
            "d", "net", cell.variant, cell.seed, "faithfulness", "deletion_auc", 30.0, "%"
        )
        for cell in cells
    )
    results = replace(of(*cells), rows=rows)
    page = leaderboard.render_markdown(results, tmp_path).read_text("utf-8")
    assert "### Faithfulness" in page
    assert (tmp_path / "figures/d-faithfulness.png").is_file()
