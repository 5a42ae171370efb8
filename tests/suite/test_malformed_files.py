"""Suites that are no YAML, no text or no file, and files that a suite names in vain."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path

import pytest
from malformed import GOOD, Said, check, complaints

from bench.cli import main

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
LONG_NUMBER = "seeds: [" + "9" * 5000 + "]"

YAML: dict[str, tuple[str | bytes, Said]] = {
    "tab": ("name: x\nseeds:\n\t- 0\n", (3, "", "not indented with tabs, use spaces")),
    "unclosed bracket": ("name: x\nseeds: [0, 1\ndatasets: [mnist]\n",
                         (3, "", "a flow sequence that begins on line 2")),
    "unclosed quote": ("name: 'x\nseeds: [0]\n", (3, "", "a quoted scalar that begins on line 1")),
    "indentation": ("name: x\n  seeds: [0]\n", (2, "", "mapping values are not allowed")),
    "two colons": ("name: x: y\n", (1, "", "mapping values are not allowed")),
    "undefined alias": ("name: x\nseeds: *all\n", (2, "", "found undefined alias")),
    "two documents": ("name: x\n---\nname: y\n", (2, "", "found another document")),
    "unknown directive": ("%YAML 3.0\n---\nname: x\n", (1, "", "incompatible YAML document")),
    "empty": ("", (1, "", "is empty")),
    "only a comment": ("# nothing yet\n", (1, "", "is empty")),
    "a scalar": ("quickstart\n", (1, "", "must be a mapping (name:, seeds:, ...)")),
    "a list": ("- name: x\n", (1, "", "must be a mapping")),
    "a control character": ("name: x\nseeds: [\x07]\n", (2, "", "contains the character '\\x07'")),
    "binary": (b"\x89PNG\r\n\x1a\n\x00\xff", (1, "", "not UTF-8 text (byte 0x89)")),
    "Latin-1": ("name: x\ndescription: Schön\n".encode("latin-1"), (2, "", "byte 0xf6")),
    "UTF-16": (GOOD.encode("utf-16"), (1, "", "not UTF-8 text (byte 0xff)")),
    "billion laughs": (LAUGHS, (1, "", "too large: more than 200,000 values")),
    "deep": ("name: " + "[" * 5000 + "]" * 5000, (1, "", "nested too deeply")),
    "rather deep": ("name: " + "[" * 40 + "]" * 40, (1, "", "nested too deeply: more than 32")),
}  # fmt: skip

# In the place of a line of the good suite; the rest stays, so nothing else may be reported.
VALUES: dict[str, tuple[str, str, Said]] = {
    "python tag": ("seeds: [0, 1]", "seeds: !!python/object/apply:os.system [ls]",
                   (2, "seeds", "tag '!!python/object/apply:os.system' is not allowed")),
    "python name": ("name: good", "name: !!python/name:os.system ''", (1, "name", "not allowed")),
    "own tag": ("lr: 0.1", "lr: !foo 0.1", (6, "recipe.lr", "the tag '!foo' is not allowed")),
    "tag on a mapping": ("recipe: {", "recipe: !bar {", (6, "recipe", "tag '!bar' is not allowed")),
    "set": ("[0, 1]", "!!set {0, 1}", (2, "seeds", "the tag '!!set' is not allowed")),
    "forced boolean": ("lr: 0.1", "nesterov: !!bool perhaps",
                       (6, "recipe.nesterov", "'perhaps' is not true or false")),
    "forced number": ("epochs: 6", "epochs: !!int six",
                      (6, "recipe.epochs", "'six' is not a whole number")),
    "no such day": ("name: good", "name: 2024-02-31", (1, "name", "'2024-02-31' is not a date")),
    "endless number": ("seeds: [0, 1]", LONG_NUMBER, (2, "seeds[0]", "is not a whole number that")),
    "duplicate key": ("variants: [bu, td]", "variants: [bu]\nseeds: [2]",
                      (6, "seeds", "duplicate key (first on line 2)")),
    "duplicate key inside": ("lr: 0.1}", "lr: 0.1, lr: 0.2}",
                             (6, "recipe.lr", "duplicate key (first on line 6)")),
    "list as key": ("lr: 0.1", "? [a, b]\n  : 1", (6, "recipe", "a key must be plain text")),
    "loop": ("[0, 1]", "&all [0, *all]", (2, "seeds[1]", "an alias that contains itself")),
    "merge of a list": ("recipe: {", "recipe: {<<: [3], ",
                        (6, "recipe", "expected a mapping for merging")),
    "line break in a name": ("lenet_fc", '"lenet\\nfc"', (4, "backbones[0]", "'lenet\\nfc'")),
    "terminal codes": ("lenet_fc", '"\\e[31mlenet"', (4, "backbones[0]", "'\\x1b[31mlenet'")),
}  # fmt: skip


@pytest.mark.parametrize("name", YAML)
def test_what_is_no_yaml(name: str, tmp_path: Path) -> None:
    text, said = YAML[name]
    check(tmp_path / "suite.yaml", text, (said,))


@pytest.mark.parametrize("name", VALUES)
def test_what_yaml_can_say_but_a_suite_cannot(name: str, tmp_path: Path) -> None:
    old, new, said = VALUES[name]
    assert old in GOOD
    check(tmp_path / "suite.yaml", GOOD.replace(old, new, 1), (said,))


def test_lines_are_counted_with_any_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = "\ufeff" + GOOD.replace("epochs: 6", "epochs: 0")
    for ends in ("\n", "\r\n", "\r"):
        said = (6, "recipe.epochs", "must be at least 1")
        check(tmp_path / "suite.yaml", text.replace("\n", ends).encode(), (said,))


def test_a_merged_key_is_found_where_the_last_word_on_it_stands(tmp_path: Path) -> None:
    text = GOOD.replace("recipe: {epochs: 6, ", "recipe: &base {") + (
        "overrides:\n  - match: '*/td'\n    recipe:\n      <<: *base\n      lr: 0\n"
    )
    check(tmp_path / "suite.yaml", text, ((15, "overrides[0].recipe.lr", "must be above 0"),))


def refused(name: str) -> str:
    """The one line that `bench plan NAME` prints, exiting with 2."""
    err = io.StringIO()
    with redirect_stderr(err):
        assert main(["plan", name]) == 2
    (line,) = err.getvalue().splitlines()
    return line


def test_a_suite_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused("quickstrat").endswith("no such suite file; did you mean 'quickstart'?")
    assert "no such suite file" in refused(str(tmp_path / "my.yaml"))
    assert "no such suite file" in refused("x" * 5000)
    assert refused(str(tmp_path)).endswith("is a folder; name a suite file (YAML)")
    (tmp_path / "link.yaml").symlink_to(tmp_path / "gone.yaml")
    assert "cannot be read: No such file" in refused(str(tmp_path / "link.yaml"))
    (tmp_path / "large.yaml").write_bytes(b"#" * 1_000_001)
    assert "larger than 1,000,000 bytes" in refused(str(tmp_path / "large.yaml"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").mkdir()
    assert main(["plan", "quickstart", "--no-cost"]) == 0  # the shipped suite, not the folder


def test_folders_of_own_data_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    names = [
        "imagefolder:gone",
        "parquet:/no/such",
        "imagefolder:file",
        "'parquet:'",
        "'imagefolder:~no_such_user/x'",
    ]
    text = GOOD.replace("[fashion-mnist-mini]", "".join(f"\n  - {name}" for name in names))
    check(
        tmp_path / "suite.yaml",
        text,
        (
            (4, "datasets[0]", f"no folder {tmp_path / 'gone'} (nor "),
            (5, "datasets[1]", "no folder /no/such; correct the path, or put the data there"),
            (6, "datasets[2]", f"{tmp_path / 'file'} is not a folder"),
            (7, "datasets[3]", "a folder must follow 'parquet:'"),
            (8, "datasets[4]", "; give --data DIR, the folder that '~no_such_user/x' lies in, or"),
        ),
    )


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "there.safetensors").touch()
    for weights, *said in (
        ("gone.pt", (4, "backbones[0].weights", f"no weights file {tmp_path / 'gone.pt'}")),
        ("~no_such_user/x.pt", (4, "backbones[0].weights", "no weights file")),
        (".", (4, "backbones[0].weights", "is a folder, not a file")),
        ("[]", (4, "backbones[0].weights", "is empty")),
        ("5", (4, "backbones[0].weights", "must be a list, not 5")),
        ("[there.safetensors, 7]", (4, "backbones[0].weights[1]", "must be text, not 7")),
        ("[there.safetensors, a.pt]", (4, "backbones[0].weights[1]", "no weights file")),
        (
            "[there.safetensors, there.safetensors, there.safetensors]",
            (4, "backbones[0].weights", "3 files for 2 seeds; give one, or one a seed"),
        ),
    ):
        text = GOOD.replace("[lenet_fc]", f"[{{name: lenet_fc, weights: {weights}}}]")
        check(tmp_path / "suite.yaml", text.replace("[bu, td]", "[bu]"), tuple(said))


def test_weights_fit_one_variant(tmp_path: Path) -> None:
    (tmp_path / "there.pt").touch()
    text = GOOD.replace("[lenet_fc]", "[{name: lenet_fc, weights: there.pt}]")
    check(tmp_path / "suite.yaml", text, ((4, "backbones[0].weights", "fit one variant"),))


def test_no_mistake_hides_another_file_kind(tmp_path: Path) -> None:
    """A value that YAML cannot read is reported once, and so is what is wrong beside it."""
    (tmp_path / "suite.yaml").write_text(GOOD.replace("6", "!x 6").replace("bu,", "bo,"))
    first, second = complaints(tmp_path / "suite.yaml")
    assert ":5: variants[0]: 'bo' is not one of" in first
    assert ":6: recipe.epochs: the tag '!x' is not allowed" in second
