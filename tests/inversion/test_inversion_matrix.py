"""The support matrix is written row by row, goes on where it was, and survives slow models."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import arches
from arches.inversion import attempt, matrix

CENSUS = (
    "name\tmodule\tkind\tparams_m\nbig\tfoo\tconv\t9\nsmall\tfoo\tconv\t1\nvit\tfoo\tisotropic\t0\n"
)


def test_entries_come_smallest_first_and_the_hopeless_last(tmp_path: Path) -> None:
    census = tmp_path / "census.tsv"
    census.write_text(CENSUS, encoding="utf-8")
    found = matrix.entries(census, "timm/*")
    assert [entry.name for entry in found] == ["timm/small", "timm/big", "timm/vit"]
    kinds = {entry.name: entry.kind for entry in matrix.entries(census, "torchvision/*")}
    assert kinds["torchvision/vit_b_16"] == "isotropic"
    assert kinds["torchvision/resnet18"] == "conv"


def test_rows_of_a_model() -> None:
    plain, turned = attempt.attempt("torchvision/squeezenet1_1", "squeezenet", "conv", ["bu", "td"])
    assert plain.status == turned.status == attempt.OK
    assert (plain.parameters, plain.flops) == ("1", "1")
    assert float(turned.flops) > 1
    assert turned.image_size == 64
    [refused] = attempt.attempt("torchvision/vit_b_16", "vision_transformer", "isotropic", ["td"])
    assert refused.status == attempt.UNSUPPORTED
    assert refused.reason.startswith("isotropic: one resolution only")


def test_the_table_goes_on_where_it_was(tmp_path: Path) -> None:
    out = tmp_path / "support.csv"
    given = ["--out", str(out), "--names", "torchvision/squeezenet1_1", "--seconds", "120"]
    census = tmp_path / "census.tsv"
    census.write_text(CENSUS, encoding="utf-8")
    given += ["--census", str(census)]
    assert matrix.main([*given, "--variants", "td"]) == 0
    assert matrix.main([*given, "--variants", "bu", "td"]) == 0
    with out.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["variant"] for row in rows] == ["td", "bu"]
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert tuple(rows[0]) == attempt.COLUMNS


@pytest.mark.slow
def test_what_takes_too_long_is_a_row(tmp_path: Path) -> None:
    entry = matrix.Entry("torchvision/vgg19", "vgg", "conv", 1.0)
    matrix.run(tmp_path / "t.csv", [(entry, ["td"])], seconds=0.01)
    assert "time: not done" in (tmp_path / "t.csv").read_text(encoding="utf-8")


def test_variants_are_those_of_the_package() -> None:
    assert set(arches.VARIANTS) == {"bu", "td", "td_uni", "td_rev"}
