"""`parquet:PATH`: the Hugging Face image schema, whole and broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_sets import colour, encoded, grey, parquet_table, write_parquet

from bench.data import catalog
from bench.data.dataset import Dataset
from bench.data.sources import find
from bench.errors import DataError

LABELS = [0, 1, 0, 1]
PICTURES = colour(4, side=8)
IMAGES = [encoded(each) for each in PICTURES]


def load(path: Path, **options: Any) -> Dataset:
    return catalog.load(f"parquet:{path}", root=path, **options)


def message(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as raised:
        load(path, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def write(path: Path, table: pa.Table) -> str:
    pq.write_table(table, path)
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_parquet(tmp_path / "pets", list(PICTURES), LABELS)


def test_colour(folder: Path) -> None:
    dataset = load(folder)
    assert (dataset.name, dataset.classes) == ("parquet:pets", ("cat", "dog"))
    assert np.array_equal(dataset.train.images, PICTURES.transpose(0, 3, 1, 2))
    assert dataset.train.labels is not None
    assert dataset.train.labels.tolist() == LABELS
    assert dataset.mean == pytest.approx(PICTURES.mean(axis=(0, 1, 2)) / 255)
    assert load(folder, image_size=6).train.images.shape == (4, 3, 6, 6)


def test_training_images_may_be_larger_to_be_cropped(folder: Path) -> None:
    dataset = load(folder, image_size=5, train_size=7)
    assert dataset.train.images.shape[2:] == (7, 7)
    assert dataset.test.images.shape[2:] == (5, 5)
    for options, sides in (
        ({"image_size": 5, "train_size": 7}, (7, 5)),
        ({"image_size": 5}, (5, 5)),
        ({"train_size": 7}, (7, 8)),
    ):
        info = catalog.info(f"parquet:{folder}", options)
        assert info is not None
        assert (info.train_side, info.image_size) == sides


def test_grey_and_mixed(tmp_path: Path) -> None:
    root = write_parquet(tmp_path, list(grey(4, side=8)), LABELS)
    assert load(root).train.images.shape == (4, 1, 8, 8)
    write(root / "test.parquet", parquet_table(IMAGES, LABELS, ("cat", "dog")))
    assert load(root).train.images.shape == (4, 3, 8, 8)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "test-00000-of-00001"])
def test_names_of_the_test_split(tmp_path: Path, name: str) -> None:
    assert len(load(write_parquet(tmp_path, list(PICTURES), LABELS, test=name)).test) == 4


def test_several_files_are_one_split(folder: Path) -> None:
    (folder / "train.parquet").unlink()
    for part in (1, 0):
        rows = slice(part * 2, part * 2 + 2)
        table = parquet_table(IMAGES[rows], LABELS[rows], ("cat", "dog"))
        write(folder / f"train-0000{part}-of-00002.parquet", table)
    write(folder / "training-notes.parquet", pa.table({"x": [1]}))
    assert np.array_equal(load(folder).train.images, PICTURES.transpose(0, 3, 1, 2))


def test_without_class_names(tmp_path: Path) -> None:
    root = write_parquet(tmp_path, list(PICTURES), [0, 2, 0, 2], names=None)
    assert load(root).classes == ("0", "1", "2")
    facts = catalog.info(f"parquet:{root}")
    assert facts is not None
    assert facts.num_classes == 3


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"info": 3}', '{"info": {"features": [1]}}', "\ud83d"]
)
def test_odd_metadata_are_ignored(folder: Path, text: str) -> None:
    table = parquet_table(IMAGES, LABELS).replace_schema_metadata(
        {"huggingface": text.encode("utf-8", "surrogatepass")}
    )
    for split in ("train", "test"):
        write(folder / f"{split}.parquet", table)
    assert load(folder).classes == ("0", "1")


def test_columns_found_by_metadata_or_option(folder: Path) -> None:
    named = parquet_table(IMAGES, LABELS, ("cat", "dog"), columns=("img", "fine"))
    for split in ("train", "test"):
        write(folder / f"{split}.parquet", named)
    assert load(folder).classes == ("cat", "dog")
    for split in ("train", "test"):
        write(folder / f"{split}.parquet", named.replace_schema_metadata(None))
    text = message(folder)
    assert "train.parquet: no column 'image' (it has img, fine); set image_column" in text
    assert "set label_column" in message(folder, image_column="img")
    assert load(folder, image_column="img", label_column="fine").classes == ("0", "1")


def test_plain_binary_images(folder: Path) -> None:
    for split in ("train", "test"):
        for kind in (pa.binary(), pa.large_binary()):
            table = pa.table(
                {"image": pa.array(IMAGES, kind), "label": pa.array(LABELS, pa.int8())}
            )
            write(folder / f"{split}.parquet", table)
    assert np.array_equal(load(folder).train.images, PICTURES.transpose(0, 3, 1, 2))


def test_hidden_test_labels(folder: Path) -> None:
    write(folder / "test.parquet", parquet_table(IMAGES, [-1] * 4, ("cat", "dog")))
    assert load(folder).test.labels is None
    facts = catalog.info(f"parquet:{folder}")
    assert facts is not None
    assert not facts.test_labels


def replaced(**columns: pa.Array) -> pa.Table:
    table = parquet_table(IMAGES, LABELS, ("cat", "dog"))
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, values)
    return table


BROKEN = [
    (parquet_table(IMAGES, [0, 1, 2, 1], ("cat", "dog")), ", row 2: label 2 is not in 0..1"),
    (parquet_table(IMAGES, [0, 1, 0, -1], ("cat", "dog")), ", row 3: label -1 is not in 0..1"),
    (parquet_table(IMAGES, [0, None, 0, 1], ("cat", "dog")), ", row 1: no label in 'label'"),
    (parquet_table(IMAGES, [0] * 4, ("cat", "dog")), ": the {} split has only one class"),
    (parquet_table([], [], ("cat", "dog")), ": the {} split is empty"),
    (parquet_table([*IMAGES[:3], None], LABELS, ("cat", "dog")), ", row 3: no image bytes"),
    (
        parquet_table([*IMAGES[:2], b"x", b"y"], LABELS, ("cat", "dog")),
        ", row 2: cannot be decoded",
    ),
    (parquet_table([*IMAGES[:3], encoded(colour(1)[0])], LABELS), ", row 3: 32 x 32 pixels, but"),
    (replaced(label=pa.array(list("abab"))), ": column 'label' is string, not integer"),
    (replaced(image=pa.array(list("abab"))), ": column 'image' is string, not a struct"),
    (parquet_table(IMAGES, LABELS).drop_columns("label"), ": no column 'label' (it has image)"),
    (parquet_table(IMAGES, LABELS).drop_columns("image"), ": no column 'image' (it has label)"),
]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("table", "expected"), BROKEN, ids=[text for _, text in BROKEN])
def test_what_is_wrong_is_named(folder: Path, split: str, table: pa.Table, expected: str) -> None:
    file = write(folder / f"{split}.parquet", table)
    part = "training" if split == "train" else "test"
    assert message(folder).startswith(file + expected.format(part))


def test_a_label_beyond_all_reason_without_names(tmp_path: Path) -> None:
    root = write_parquet(tmp_path, list(PICTURES), [0, 10**12, 0, 1], names=None)
    assert f"{root / 'train.parquet'}, row 1: label 1000000000000" in message(root)


def test_class_names_that_differ(folder: Path) -> None:
    file = write(folder / "test.parquet", parquet_table(IMAGES, LABELS, ("dog", "cat")))
    assert message(folder).startswith(f"{file}: other class names than in")
    (folder / "test.parquet").unlink()
    for part, names in enumerate((("cat", "dog"), ("cat", "eel"))):
        file = write(folder / f"test-{part}.parquet", parquet_table(IMAGES, LABELS, names))
    assert message(folder).startswith(f"{file}: other columns or class names than")


def test_missing_files(folder: Path) -> None:
    (folder / "test.parquet").unlink()
    assert message(folder).startswith(f"{folder}: no test split (one of test*.parquet, val*")
    (folder / "train.parquet").unlink()
    assert message(folder) == f"{folder}: no train.parquet or train-*.parquet"


def test_files_of_another_name_and_in_a_folder_below_are_pointed_at(folder: Path) -> None:
    (folder / "train.parquet").rename(folder / "training.parquet")
    none = f"{folder}: no train.parquet or train-*.parquet"
    assert message(folder) == f"{none}, but test.parquet, training.parquet"
    (folder / "data").mkdir()
    (folder / "training.parquet").rename(folder / "data" / "train-0.parquet")
    assert message(folder) == f"{none}; they are in its folder 'data': write parquet:{folder}/data"


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_of_which_files_are_missing_is_no_split(folder: Path, split: str) -> None:
    (folder / f"{split}.parquet").unlink()
    table = parquet_table(IMAGES, LABELS, ("cat", "dog"))
    for part in (0, 2):
        write(folder / f"{split}-0000{part}-of-00004.parquet", table)
    assert message(folder) == (
        f"{folder}: {split}-00001-of-00004.parquet is missing and 1 more of the 4 files of that "
        "split; fetch them, or rename those that are there to use them alone"
    )
    for part in (1, 3):
        write(folder / f"{split}-0000{part}-of-00004.parquet", table)
    assert len(load(folder).train if split == "train" else load(folder).test) == 16


WHOLE = pa.BufferOutputStream()
pq.write_table(parquet_table(IMAGES, LABELS, ("cat", "dog")), WHOLE)
WHOLE = WHOLE.getvalue().to_pybytes()


@pytest.mark.parametrize("length", [0, 3, 100, len(WHOLE) // 2, len(WHOLE) - 1])
def test_a_truncated_file_is_named(folder: Path, length: int) -> None:
    file = folder / "train.parquet"
    file.write_bytes(WHOLE[:length])
    assert message(folder).startswith(f"{file}: cannot be read (")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.integers(0, len(WHOLE)),
    st.dictionaries(st.integers(0, len(WHOLE) - 1), st.integers(0, 255), max_size=6),
)
def test_any_damage_is_read_or_named(folder: Path, length: int, changes: dict[int, int]) -> None:
    data = bytearray(WHOLE)
    for position, value in changes.items():
        data[position] = value
    (folder / "train.parquet").write_bytes(data[: length if length % 2 else None])
    try:
        assert len(load(folder).train) == len(LABELS)
        return
    except DataError as error:
        text = str(error)
    assert str(folder / "train.parquet") in text
    assert "\n" not in text


def test_the_table_builder_writes_the_real_schema() -> None:
    """The builder's schema is that of Hugging Face's own files."""
    schema = parquet_table(IMAGES, LABELS, ("cat", "dog")).schema
    assert str(schema.field("image").type) == "struct<bytes: binary, path: string>"
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["label"]["names"] == ["cat", "dog"]


def test_a_relative_path_is_also_looked_for_where_data_sets_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data/mine").mkdir(parents=True)
    (tmp_path / "suites").mkdir()
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    source = find("parquet:mine", tmp_path / "suites")
    assert source.where == str(tmp_path / "data/mine")
    (tmp_path / "suites/mine").mkdir()
    assert source.where == str(tmp_path / "suites/mine"), "beside the suite comes first"
    missing = find("parquet:other", tmp_path / "suites").problem({})
    assert missing == (
        f"no folder {tmp_path / 'suites/other'} (nor {tmp_path / 'data/other'}); "
        "give --data DIR, the folder that 'other' lies in, or put it beside the suite"
    )
