"""The table of models that can be inverted: what is in it, that it is true, and how it is shown."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import arches
from arches import support
from arches.analysis.cost import READS_VALUES
from arches.inversion import matrix
from arches.inversion.attempt import attempt
from arches.inversion.sources import load
from arches.support import Row
from bench.cli import main

ROOT = Path(__file__).parents[1]
ALLOWED = 0.3
WIDTH = 100

Out = pytest.CaptureFixture[str]

# Small models of all kinds; each takes a second or two.
SMALL = [
    ("lenet_fc", "td_uni"),
    ("timm/test_vit", "td"),
    ("timm/test_efficientnet", "td_rev"),
    ("timm/edgenext_xx_small", "td_uni"),
    ("timm/test_maxvit", "td_rev"),
    ("timm/test_maxvit", "bu"),
    ("timm/pit_ti_224", "td_uni"),
    ("timm/mobilevit_xxs", "td_rev"),
    ("torchvision/squeezenet1_1", "td"),
]


def texts() -> st.SearchStrategy[str]:
    return st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)


def numbers() -> st.SearchStrategy[float | None]:
    return st.none() | st.floats(0.01, 1e5).map(lambda value: float(f"{value:.3g}"))


def rows() -> st.SearchStrategy[Row]:
    return st.builds(
        Row,
        name=texts(),
        family=texts(),
        kind=texts(),
        variant=st.sampled_from(list(arches.VARIANTS)),
        status=st.sampled_from(support.STATUSES),
        reason=texts(),
        image_size=st.integers(0, 1024),
        parameters=numbers(),
        flops=numbers(),
    )


@settings(deadline=None, max_examples=40)
@given(written=st.lists(st.lists(rows(), max_size=3), max_size=4), half=st.booleans())
def test_what_is_appended_is_read_back_and_sorted(
    written: list[list[Row]], half: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("table") / "t.csv"
    for some in written:
        support.append(path, some)
    if half:
        with path.open("a", encoding="utf-8") as stream:
            stream.write("timm/half,a,")
        support.mend(path)
    last = {(row.name, row.variant): row for some in written for row in some}
    found = support.read(path) if path.exists() else ()
    assert {(row.name, row.variant): row for row in found} == last
    if path.exists():
        support.tidy(path)
        found = support.read(path)
        assert set(found) == set(last.values())
        order = list(arches.VARIANTS)
        keys = [(row.family, row.name, order.index(row.variant)) for row in found]
        assert keys == sorted(keys)
        assert [entry.name for entry in path.parent.iterdir()] == ["t.csv"]


def test_a_line_that_is_no_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    support.append(path, [Row("a", "b", "c", "td", "ok", "", 64, 1.0, 1.0)])
    path.write_text(path.read_text().replace(",64,", ",big,"))
    with pytest.raises(ValueError, match=r"t\.csv:2: not a row of name,family,.*'big'"):
        support.read(path)


def test_the_table_is_sorted_and_consistent() -> None:
    """Names may lack variants, which nobody had the time to try yet; `td` is there for all."""
    found = support.read()
    order = list(arches.VARIANTS)
    keys = [(row.family, row.name, order.index(row.variant)) for row in found]
    assert keys == sorted(set(keys))
    for name, by_variant in support.table().items():
        assert list(by_variant) == [variant for variant in order if variant in by_variant], name
        assert "td" in by_variant, name
        assert len({(row.family, row.kind) for row in by_variant.values()}) == 1, name
    for row in found:
        place = f"{row.name} {row.variant}"
        assert row.status in support.STATUSES, place
        assert (row.reason == "") == (row.status == support.OK), place
        assert (row.image_size > 0) == row.runs, place
        assert (row.status == support.NOT_MEASURED) == (row.short_reason in ("time", "memory")), (
            place
        )
        assert (row.parameters is None) == (row.flops is None), place
        if row.variant == "bu":
            assert row.parameters in (None, 1.0), place
            assert row.flops in (None, 1.0), place


@pytest.mark.parametrize(("name", "variant"), SMALL)
def test_the_table_is_true_of_small_models(name: str, variant: str) -> None:
    check(support.find(name)[variant])


def check(row: Row) -> None:
    [again] = attempt(row.name, row.family, row.kind, [row.variant])
    assert (again.status, again.image_size) == (row.status, row.image_size), again.reason
    for ours, theirs in ((again.parameters, row.parameters), (again.flops, row.flops)):
        assert ours == (theirs if theirs is None else pytest.approx(theirs, rel=0.01))


# A network with a recurrent layer along each row of a map.
ROWS = """\
from torch import nn


class Rows(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.LSTM(width, width, batch_first=True)

    def forward(self, maps):
        tokens = maps.permute(0, 2, 3, 1)
        mixed, _ = self.layer(tokens.flatten(0, 1))
        return mixed.view_as(tokens).permute(0, 3, 1, 2)


def rows_net(in_chans, num_classes):
    return nn.Sequential(
        nn.Conv2d(in_chans, 8, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1),
        nn.ReLU(),
        Rows(16),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, num_classes),
    )
"""


def test_ratios_are_of_all_products(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel for a whole recurrent layer hides its products."""
    (tmp_path / "rows_net.py").write_text(ROWS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    name = "rows_net:rows_net"
    plain, turned = (
        arches.estimate(arches.invert(name, v, image_size=64), 64) for v in ("bu", "td")
    )
    [_, row] = attempt(name, "own", "conv", ["bu", "td"])
    assert row.flops == pytest.approx(turned.flops / plain.flops)


def made(row: Row) -> nn.Module:
    """The model itself."""
    return arches.create(row.name) if row.family == "paper" else load(row.name, 3, 10).model


def sample(count: int) -> Iterator[Row]:
    """Rows of every library, kind, variant and status, one after the other, drawn with a seed;
    none of a model that takes minutes."""
    import torch

    strata: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in support.read():
        if row.status != support.NOT_MEASURED:
            key = (support.home(row.name), row.kind, row.variant, row.status)
            strata.setdefault(key, []).append(row)
    draw = random.Random(0)
    groups = [draw.sample(group, len(group)) for _, group in sorted(strata.items())]
    while count and any(groups):
        for group in draw.sample(groups, len(groups)):
            while group and count:
                row = group.pop()
                try:
                    with torch.device("meta"):
                        model = made(row)
                except READS_VALUES:  # some read widths off a tensor
                    model = made(row)
                if sum(parameter.numel() for parameter in model.parameters()) < 30e6:
                    count -= 1
                    yield row
                    break


@pytest.mark.slow
def test_the_table_is_true_of_a_sample() -> None:
    wrong = []
    for row in sample(40):
        try:
            check(row)
        except AssertionError as error:
            wrong.append(f"{row.name} {row.variant}: {error}")
    assert not wrong, "\n".join(wrong)


def test_queries() -> None:
    assert set(support.find("timm/test_vit")) == set(arches.VARIANTS)
    assert support.find("timm/test_vit.r160_in1k") == support.find("timm/test_vit")
    assert support.find("timm/no_such_model") == {}
    fits = support.matching("torchvision/squeezenet*")
    assert set(fits) == {"torchvision/squeezenet1_0", "torchvision/squeezenet1_1"}
    shares = {share[:3]: share for share in support.summary(support.read())}
    paper = shares["paper", "conv", "td"]
    assert (paper.names, paper.running, paper.counts["ok"]) == (5, 5, 5)
    more = support.summary(support.read(), [("lenet_fc", "conv"), ("new", "conv")])
    assert {(share.names, share.running) for share in more if share.variant == "td"} == {(2, 5)}


def shown(capsys: Out, *words: str) -> list[str]:
    assert main(["list", "backbones", *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def test_list_marks_every_variant(capsys: Out) -> None:
    head, *lines = shown(capsys, "--like", "timm/test_*")
    assert head.split() == list(arches.VARIANTS)
    names = {line.split()[0]: line for line in lines if line.startswith("timm/")}
    assert set(names) == set(support.matching("timm/test_*"))
    marks = {name: " ".join(line.split()[1:]) for name, line in names.items()}
    assert marks["timm/test_vit"] == "ok" + 3 * " no: isotropic"
    net = support.find("timm/test_efficientnet")["td"]
    said = f"ok ok {net.parameters:.2f}/{net.flops:.2f} ok "
    assert marks["timm/test_efficientnet"].startswith(said)
    assert lines[-1].endswith(f"of {len(names)}")


@pytest.mark.parametrize("variant", [None, *arches.VARIANTS])
def test_list_is_legible_in_a_hundred_columns(variant: str | None, capsys: Out) -> None:
    words = ["--like", "*"] + (["--variant", variant] if variant else [])
    lines = shown(capsys, *words)
    assert max(map(len, lines)) <= WIDTH
    assert sum(line.startswith(("timm/", "torchvision/")) for line in lines) > 100


def test_list_gives_the_reasons_of_a_variant(capsys: Out) -> None:
    (line, *_) = shown(capsys, "--like", "timm/test_vit", "--variant", "td")
    said = "timm/test_vit no isotropic: one resolution only, nothing to invert."
    assert " ".join(line.split()) == said


def test_list_as_json(capsys: Out) -> None:
    found = json.loads("\n".join(shown(capsys, "--like", "lenet*", "--json")))
    assert [entry["variant"] for entry in found] == list(arches.VARIANTS)
    assert found[1] == support.find("lenet_fc")["td"]._asdict()


def test_plain_list_tells_where_to_look_for_the_others(capsys: Out) -> None:
    lines = shown(capsys)
    assert [line.split()[0] for line in lines[:-1]] == sorted(arches.names())
    assert "--like 'timm/resnet*'" in lines[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("backbones", "--like", "squeezenet1_1"), "did you mean '*/squeezenet1_1*'?"),
        (("backbones", "--like", "timm/test_vitt*"), "did you mean 'timm/test_vit"),
        (("backbones", "--like", "qqq*"), "no backbone fits 'qqq*'; try 'timm/*'"),
        (("backbones", "--variant", "up"), "unknown variant 'up'"),
        (
            ("datasets", "--like", "*"),
            "list datasets: --like and --json are for backbones and attacks, --variant is for",
        ),
    ],
)
def test_list_says_what_is_wrong(words: tuple[str, ...], said: str, capsys: Out) -> None:
    assert main(["list", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1


LIST = ["-m", "bench", "list", "backbones", "--like", "timm/*"]


def test_list_starts_at_once() -> None:
    def seconds() -> float:
        silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        process = os.posix_spawn(
            sys.executable, [sys.executable, *LIST], os.environ, file_actions=silent
        )
        _, status, usage = os.wait4(process, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        return usage.ru_utime + usage.ru_stime

    spent = min(seconds() for _ in range(5))
    assert spent <= ALLOWED, f"{spent:.3f} s of CPU time; at most {ALLOWED} s allowed"


def test_list_imports_neither_timm_nor_torch() -> None:
    code = (
        "import sys; from bench.cli import main; main(sys.argv[1:]); "
        "print({'timm', 'torch', 'torchvision', 'numpy'} & set(sys.modules))"
    )
    words = [sys.executable, "-c", code, *LIST[2:]]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "set()"


def test_the_documentation_shows_the_table(capsys: Out) -> None:
    """With the versions that it was measured with; others have other models."""
    page = (ROOT / "docs" / "how-to" / "timm.md").read_text(encoding="utf-8")
    for library, version in re.findall(r"(timm|torchvision)\s(\d+\.\d+(?:\.\d+)?)", page):
        if not metadata.version(library).startswith(version):
            pytest.skip(f"measured with {library} {version}")
    listed = shown(capsys, "--like", "timm/mobilenetv3_small*")
    assert "\n".join(line.rstrip() for line in listed) in page
    assert matrix.main(["--out", str(support.TABLE), "--summary"]) == 0
    counts, _, _ = capsys.readouterr().out.partition("\n\n")
    assert counts in page, counts
