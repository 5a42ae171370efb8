"""Pictures of heatmaps: what they say, that it can be read, and that colours mean one thing."""

from __future__ import annotations

import io
from itertools import combinations

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from leaderboard.figures.heat_colors import FOUND, dimmed, found_map, overlay
from leaderboard.figures.looks import WIDTH, blank, png, styled
from leaderboard.figures.overlays import (
    Cut,
    Map,
    Seen,
    Shown,
    last_figure,
    layers_figure,
    localization_figure,
)
from leaderboard.figures.sheet import fitted
from leaderboard.text import one_line

LUMA = np.array([0.2126, 0.7152, 0.0722])
TITLE, NOTE = "fashion-mnist · nin_light · seed 0", "Grad-CAM of the predicted class's logit"


def seen(
    variant: str, layers: int = 3, side: int = 12, *, flat: bool = False, **more: object
) -> Seen:
    rows = np.linspace(0, 1, side, dtype=np.float32)
    maps = tuple(
        Map(f"act_{number + 1}", (2**number, 2**number), np.outer(rows, rows), undefined=flat)
        for number in range(layers)
    )
    known = {"predicted": "Ankle boot", "probability": 0.731, "correct": True, "maps": maps}
    return Seen(variant, **{**known, **more})  # type: ignore[arg-type]


def shown(number: int, *variants: Seen, title: str = "Ankle boot", side: int = 12) -> Shown:
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    mask = np.zeros((side, side), dtype=bool)
    mask[side // 3 :] = True
    cuts = tuple(
        Cut(mask, one.maps[-1].heat > 0.2, 0.512, np.nan if number == 1 else 0.25)
        for one in variants
    )
    return Shown(pixels, number, title, variants, cuts)


def some(count: int, *variants: Seen, **more: object) -> list[Shown]:
    return [shown(number, *variants, **more) for number in range(count)]  # type: ignore[arg-type]


BOTH = seen("bu"), seen("td")


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def panels(figure: Figure) -> list[np.ndarray]:  # type: ignore[type-arg]
    """Images from above, without the scale."""
    found = [axes for axes in figure.axes if axes.images and not axes.get_xticks().size]
    return [np.asarray(axes.images[0].get_array()) for axes in found]


def check_legible(figure: Figure) -> None:
    """As wide as a page, no letters under 8 points, nothing cut off, no text on other text or on
    a panel that it does not belong to."""
    assert figure.get_size_inches()[0] == WIDTH
    with styled():
        renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
        for legend in figure.legends:
            legend.draw(renderer)  # which puts its texts into their places
        texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        boxes = [text.get_window_extent(renderer) for text in texts]
    for text, box in zip(texts, boxes, strict=True):
        assert text.get_fontsize() >= 8
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1, text
    for (one, a), (other, b) in combinations(zip(texts, boxes, strict=True), 2):
        assert not a.overlaps(b), f"{one} lies on {other}"
    frames = [axes.get_window_extent(renderer) for axes in figure.axes if axes.images]
    for text, box in zip(texts, boxes, strict=True):
        if "no map" not in text.get_text():
            assert not any(box.overlaps(frame) for frame in frames), text
    for a, b in combinations(frames, 2):
        assert not a.overlaps(b)


def test_a_block_for_each_image_has_the_image_and_every_layer_of_every_variant() -> None:
    figure = layers_figure(TITLE, NOTE, some(2, *BOTH))
    assert len(panels(figure)) == 2 * (1 + 2 * 3)
    said = words(figure)
    assert {TITLE, "image 0", "image 1", "bu", "td", "act_2, 2 × 2"} <= {*said}
    assert said.count("Ankle boot\n73.1 %") == 4
    # The same layers in both rows are named once an image.
    assert said.count("act_2, 2 × 2") == 2
    assert any(NOTE in one for one in said)


def test_layers_that_differ_are_named_above_each_row() -> None:
    other = seen("td", layers=2)
    figure = layers_figure(TITLE, NOTE, some(1, seen("bu"), other))
    assert words(figure).count("act_2, 2 × 2") == 2
    check_legible(figure)


def test_of_the_path_of_a_module_the_end_is_shown() -> None:
    paths = [f"model.blocks.{number}.norm1" for number in range(8)]
    maps = tuple(Map(path, (14, 14), np.eye(12)) for path in paths)
    figure = layers_figure(TITLE, NOTE, some(1, seen("bu", maps=maps)))
    assert {f"…{number}.norm1\n14 × 14" for number in range(8)} <= {*words(figure)}


def test_the_last_map_stands_below_its_image() -> None:
    figure = last_figure(TITLE, NOTE, some(3, *BOTH))
    found = panels(figure)
    assert len(found) == 3 * 3
    image = shown(0, *BOTH)
    assert np.array_equal(found[0], image.pixels)
    assert np.allclose(found[1], overlay(image.pixels, BOTH[0].maps[-1].heat))
    assert words(figure).count("73 %") == 6


def test_a_wrong_prediction_is_named() -> None:
    wrong = seen("td", predicted="Sneaker", correct=False)
    images = some(1, seen("bu"), wrong)
    assert "Sneaker\n73.1 %\n(wrong)" in words(layers_figure(TITLE, NOTE, images))
    assert "Sneaker 73 %" in words(last_figure(TITLE, NOTE, images))


def test_objects_found_are_told_by_colour_and_number() -> None:
    images = some(2, *BOTH)
    figure = localization_figure(TITLE, NOTE, images, 0.2)
    found, said = panels(figure), words(figure)
    assert len(found) == 2 * (2 + 2 * 2)
    mask = images[0].cuts[0].mask
    assert np.array_equal(found[1][..., 0] > 0, mask)
    parts = found_map(images[0].pixels, mask, images[0].cuts[0].predicted)
    assert np.allclose(found[3], parts)
    assert {*FOUND, "neither", "object", "heat > 0.2", "P 51 %, R 25 %", "P 51 %, R 0/0"} <= {*said}


def test_a_map_that_is_0_by_0_says_so_and_shows_no_heat() -> None:
    figure = last_figure(TITLE, NOTE, some(1, seen("bu"), seen("td", flat=True)))
    assert words(figure).count("0/0:\nno map") == 1
    assert np.allclose(panels(figure)[2], dimmed(shown(0, *BOTH).pixels))


@pytest.mark.parametrize("draw", [layers_figure, last_figure])
def test_the_same_picture_has_the_same_bytes(draw: object) -> None:
    images = some(1, seen("bu", 2))
    first, second = (png(draw(TITLE, NOTE, images)) for _ in range(2))  # type: ignore[operator]
    assert first == second
    assert imread(io.BytesIO(first)).shape[1] == WIDTH * 180


LONG = "Great Smoky Mountains salamander (juvenile, $5)"


@settings(max_examples=3, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@example(9, 1, 2, LONG, "last")
@example(1, 8, 3, LONG, "layers")
@example(2, 2, 1, "W" * 40, "localization")
@given(
    count=st.integers(1, 4),
    layers=st.integers(1, 8),
    variants=st.integers(1, 3),
    names=st.sampled_from(["7", "Ankle boot", LONG, "W" * 40]),
    kind=st.sampled_from(["layers", "last", "localization"]),
)
def test_everything_can_be_read(
    count: int, layers: int, variants: int, names: str, kind: str
) -> None:
    wrong = {"predicted": names, "correct": False}
    every = [seen(names[:12] + str(n), layers, flat=n == 1, **wrong) for n in range(variants)]
    images = some(count, *every, title=names)
    if kind == "layers":
        figure = layers_figure(TITLE, NOTE, images)
    elif kind == "last":
        figure = last_figure(TITLE, NOTE, images)
    else:
        figure = localization_figure(TITLE, NOTE, images, 0.25)
    check_legible(figure)


def test_pixels_of_small_images_stay_pixels() -> None:
    for side, how in ((28, "nearest"), (112, "hanning")):
        figure = last_figure(TITLE, NOTE, some(1, seen("bu", side=side), side=side))
        used = {axes.images[0].get_interpolation() for axes in figure.axes[:-1]}
        assert used == {how}


@given(st.integers(0, 255), st.floats(0, 1), st.floats(0, 1))
def test_more_heat_is_lighter_whatever_is_below(grey: int, one: float, other: float) -> None:
    pixels = np.full((1, 2, 3), grey, dtype=np.uint8)
    low, high = sorted((one, other))
    colors = overlay(pixels, np.array([[low, high]]))
    assert colors.min() >= 0
    assert colors.max() <= 1
    dark, light = colors[0] @ LUMA
    assert dark <= light + 1e-3


@given(st.integers(0, 255))
def test_no_heat_leaves_a_grey_image(grey: int) -> None:
    colors = overlay(np.full((1, 1, 3), grey, dtype=np.uint8), np.zeros((1, 1)))
    assert np.ptp(colors) < 0.01


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_colours_count_what_is_found(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask, predicted = random.integers(0, 2, (2, 5, 5)).astype(bool)
    pixels = random.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    drawn = found_map(pixels, mask, predicted)
    counts = [(np.abs(drawn - color).max(-1) < 1e-9).sum() for color in FOUND.values()]
    assert counts == [
        (mask & predicted).sum(),
        (predicted & ~mask).sum(),
        (mask & ~predicted).sum(),
    ]
    neither = ~(mask | predicted)
    assert np.allclose(drawn[neither], dimmed(pixels)[neither])


def test_colours_of_what_is_found_differ_in_lightness() -> None:
    light = sorted(float(LUMA @ np.array(color)) for color in FOUND.values())
    assert min(np.diff(light)) > 0.1


@settings(max_examples=50)
@given(st.text("iW aé_$", min_size=1, max_size=60), st.floats(0.3, 3), st.integers(1, 3))
def test_text_is_fitted_into_lines(text: str, width: float, lines: int) -> None:
    found = fitted(text, width, lines, bold=True).split("\n")
    assert len(found) <= lines
    with styled():
        figure = blank(WIDTH, 1)
        renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
        for line in found:
            drawn = figure.text(0, 0, line, fontsize=9, fontweight="bold")
            # At few dots per inch each letter is rounded to whole ones.
            assert drawn.get_window_extent(renderer).width / figure.dpi <= 1.1 * width + 0.02
    if len(found) == 1 and found[0] != one_line(text):
        assert "…" in found[0]
