"""The picture of all corruptions, which people look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from corruption_parts import pictures
from PIL import Image

from bench.corruptions.base import corrupt
from bench.corruptions.gallery import MARGIN, TITLE, gallery, main


def test_a_row_a_corruption_and_a_column_a_severity() -> None:
    clean = pictures(1, 3, 100, 100)
    page = np.asarray(gallery(clean, 3, ["fog", "snow"], 9))
    assert page.shape == (2 * (100 + TITLE + MARGIN), 6 * (100 + MARGIN), 3)
    top, left = 100 + 2 * TITLE + MARGIN, 4 * (100 + MARGIN)
    shown = page[top : top + 100, left : left + 100]
    expected = corrupt(clean, "snow", 4, [3], 9)[0].mul(255).round().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(shown, expected)
    np.testing.assert_array_equal(page[top : top + 100, :100], page[TITLE : TITLE + 100, :100])


def test_from_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "page.png"
    arguments = ["fashion-mnist-mini", "--image", "2", "--only", "contrast", "--out", str(out)]
    assert main(arguments) == 0
    assert Image.open(out).size == (6 * (112 + MARGIN), 112 + TITLE + MARGIN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fashion-mnist-mni"], "did you mean 'fashion-mnist-mini'?"),
        (["fashion-mnist-mini", "--image", "1000"], "no test image 1000; there are 1000"),
        (["fashion-mnist-mini", "--only", "fogg"], "did you mean 'fog'?"),
        (["fashion-mnist-mini", "--only", "fog", "--out", "no/folder/x.png"], "no/folder/x.png"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "page.png")]
    assert main([*arguments, *out]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
