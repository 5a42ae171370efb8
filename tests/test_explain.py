"""`bench explain`, through the command line: a run is trained once, then drawn in many ways."""

from __future__ import annotations

import importlib
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench import cli, identity
from bench.cli import main
from bench.data.dataset import Dataset, Split
from bench.explain import gallery
from bench.explain.cam import METHODS
from bench.models.network import Network, Normalization
from bench.store import seals

SETS = '''
"""A bright square in one of four corners, on noise; once with the rule that finds it."""
import torch
from bench.data.dataset import Dataset, Split

def _split(count, seed):
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    images = torch.randint(0, 60, (count, 1, 16, 16), generator=random, dtype=torch.uint8)
    for image, label in zip(images, labels):
        y, x = 8 * (label // 2), 8 * (label % 2)
        image[0, y:y + 8, x:x + 8] += 120
    return Split(images, labels.long())

def corners(root, *, download=False):
    names = ("upper left", "upper right", "lower left", "lower right")
    return Dataset("corners", _split(80, 1), _split(40, 2), names, (0.2,), (0.2,), foreground=0.4)
'''

NETS = '''
"""Small networks: with maps, without, and with logits that saturate when it is tested."""
from torch import nn

def plain(in_chans, num_classes):
    return nn.Sequential(
        nn.Conv2d(in_chans, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, num_classes),
    )

def flat(in_chans, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(256 * in_chans, num_classes))

class Loud(nn.Module):
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.net = plain(in_chans, num_classes)
    def forward(self, x):
        return self.net(x) * (1 if self.training else 1e5)
'''

SUITE = """\
name: corners
seeds: [0, 1]
datasets: ["explain_sets:corners"]
backbones:
  - {name: "explain_nets:plain", variants: [bu, td]}
  - {name: "explain_nets:flat", label: flat, variants: [bu]}
recipe: {epochs: 2, batch_size: 20, lr: 0.05, schedule: one-cycle, bn_momentum: 0.5}
measures: [localization: {threshold: 0.3}]
"""

# Coloured images in files beside the suite, of which it is not known where the objects are; of the
# variants only one is trained.
OTHER = """\
name: files
seeds: [0]
datasets: [{name: "imagefolder:pictures", label: mine}]
backbones:
  - {name: "explain_nets:plain", variants: [bu, td]}
  - {name: "explain_nets:Loud", label: loud, variants: [bu]}
recipe: {epochs: 1, batch_size: 8, lr: 0.05, schedule: constant, bn_momentum: 0.5}
measures: [accuracy]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two runs, `runs/corners` and `runs/files`, in the current folder."""
    place = tmp_path_factory.mktemp("explained")
    (place / "explain_sets.py").write_text(SETS, encoding="utf-8")
    (place / "explain_nets.py").write_text(NETS, encoding="utf-8")
    (place / "corners.yaml").write_text(SUITE, encoding="utf-8")
    (place / "files.yaml").write_text(OTHER, encoding="utf-8")
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        for name, color in (("red", 0), ("blue", 2)):
            (place / "pictures" / part / name).mkdir(parents=True)
            for number in range(8):
                pixels = random.integers(0, 80, (16, 16, 3), dtype=np.uint8)
                pixels[4:12, 4:12, color] += 150
                file = place / "pictures" / part / name / f"{number}.png"
                Image.fromarray(pixels).save(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.syspath_prepend(str(place))
        identity.code_fingerprint.cache_clear()
        # Where there is no map, localization fails, as it should.
        assert main(["run", "corners.yaml", "--quiet"]) == 1
        assert main(["run", "files.yaml", "--quiet", "--only", "*/bu/*"]) == 0
        yield place
    for module in ("explain_sets", "explain_nets"):
        sys.modules.pop(module, None)


@pytest.fixture
def explain(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[object]:
    """Run the verb in the folder; return its exit code, the files it names, notes, and errors."""
    monkeypatch.chdir(folder)

    def run(*words: str) -> tuple[int, list[str], list[str], list[str]]:
        capsys.readouterr()
        code = main(["explain", *words])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        lines = said.out.splitlines()
        notes = [line.removeprefix("note: ") for line in lines if line.startswith("note: ")]
        files = [line for line in lines if not line.startswith("note: ")]
        for file in files:
            assert Path(file).read_bytes().startswith(b"\x89PNG")
        return code, [Path(file).name for file in files], notes, said.err.splitlines()

    yield run
    shutil.rmtree(folder / "pics", ignore_errors=True)


ALL = [
    "corners-plain-layers.png",
    "corners-plain-last.png",
    "corners-plain-localization.png",
    "corners-precision-recall.png",
]


def test_every_backbone_with_maps_is_drawn_and_the_others_are_told(explain, folder) -> None:  # type: ignore[no-untyped-def]
    code, files, notes, errors = explain("runs/corners", "--count", "1")
    assert (code, files, errors) == (0, ALL, [])
    assert {path.name for path in (folder / "runs/corners/explain").iterdir()} == set(ALL)
    (note,) = notes
    assert "corners/flat" in note
    assert "no spatial feature map" in note


def test_the_same_run_and_options_give_the_same_bytes(explain, folder) -> None:  # type: ignore[no-untyped-def]
    words = ("runs/corners", "--only", "corners/plain", "--images", "5", "--layers", "last")
    for out in ("pics/a", "pics/b"):
        assert explain(*words, "--out", out)[1] == ALL
    assert explain(*words, "--out", "pics/c", "--of-seed", "1")[1] == ALL
    for name in ALL:
        first, again, other = ((folder / "pics" / out / name).read_bytes() for out in "abc")
        assert first == again
        assert (first == other) == (name == "corners-precision-recall.png")


def test_the_seed_draws_other_images(explain, folder) -> None:  # type: ignore[no-untyped-def]
    words = ("runs/files", "--only", "*/plain", "--count", "1", "--layers", "last")
    drawn = set()
    for seed in "0123":
        assert explain(*words, "--out", "pics", "--seed", seed)[0] == 0
        drawn.add((folder / "pics/mine-plain-last.png").read_bytes())
    assert len(drawn) > 1


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_known_to_the_command_line(explain, method: str) -> None:  # type: ignore[no-untyped-def]
    assert tuple(METHODS) == cli.METHODS
    words = ("--only", "*/plain", "--images", "3", "--layers", "last", "--out", "pics")
    code, files, *_ = explain("runs/files", *words, "--method", method)
    assert (code, len(files)) == (0, 2)


def last_maps(explain: Callable[..., Any], folder: Path, run: str, *more: str) -> bytes:
    """The picture that `bench explain` draws of the last maps of one image."""
    words = ("--only", "*/plain", "--images", "3", "--layers", "last", "--out", "pics", *more)
    shutil.rmtree(folder / "pics", ignore_errors=True)
    assert explain(run, *words)[0] == 0
    (picture,) = (folder / "pics").glob("*-plain-last.png")
    return bytes(picture.read_bytes())


def test_the_method_is_the_measures_unless_another_is_asked_for(explain, folder) -> None:  # type: ignore[no-untyped-def]
    shutil.copytree(folder / "runs/corners", folder / "runs/layered")
    with sqlite3.connect(folder / "runs/layered/results.sqlite") as database:
        database.execute(
            "UPDATE facts SET value = replace(value, 'threshold: 0.3', "
            "'threshold: 0.3, method: layer-cam') WHERE key = 'suite_text'"
        )
        seals.seal_table(database, "facts")
    database.close()

    def drawn(run: str, *more: str) -> bytes:
        return last_maps(explain, folder, f"runs/{run}", *more)

    own, paper = drawn("layered"), drawn("corners")
    assert own == drawn("layered", "--method", "layer-cam")
    assert paper == drawn("layered", "--method", "paper") != own


def test_the_method_is_that_of_faithfulness_where_nothing_else_is_measured(  # type: ignore[no-untyped-def]
    explain, folder: Path, copied: Path
) -> None:
    with sqlite3.connect(copied / "results.sqlite") as database:
        database.execute(
            "UPDATE facts SET value = replace(value, 'measures: [accuracy]', "
            "'measures: [accuracy, faithfulness: {method: layer-cam, score: probability}]') "
            "WHERE key = 'suite_text'"
        )
        seals.seal_table(database, "facts")
    database.close()

    def drawn(run: str, *more: str) -> bytes:
        return last_maps(explain, folder, run, *more)

    own = drawn("copy")
    assert own == drawn("copy", "--method", "layer-cam", "--score", "probability")
    assert own != drawn("runs/files")


@pytest.mark.parametrize(
    "more",
    [
        ("--method", "grad-cam"),
        pytest.param(("--score", "logit"), marks=pytest.mark.slow),
        pytest.param(("--layers", "7"), marks=pytest.mark.slow),
    ],
)
def test_bars_of_other_heatmaps_than_those_drawn_are_told(explain, more: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    words = ("runs/corners", "--only", "*/plain", "--images", "3", "--out", "pics")
    told = "bars of precision and recall are of the heatmaps that the suite measured"
    _, files, notes, _ = explain(*words, *more)
    assert "corners-precision-recall.png" in files
    assert told in notes
    for same in ((), ("--method", "paper", "--layers", "all"), ("--layers", "last")):
        assert told not in explain(*words, *same)[2]


REFUSED_NOW = {
    "the only attack": "measures: [robustness: {attacks: [{name: fgsm, epsilons: 8}]}]",
    "one of the attacks": """measures:
  - localization
  - robustness: {attacks: [{name: "torchattacks:FGSM", epsilons: 8}, shifts]}
""",
    "the only measure": "measures: [gone_by_now]",
    "a claim": """measures: [accuracy]
claims: [{claim: td is better, numbers: gone/by/now, nets: "*/td", against: "*/bu"}]
""",
    "a threshold": "measures: [accuracy]\ngate: {gone/by/now: {dleta: 1}}",
}


@pytest.mark.parametrize("refused", REFUSED_NOW.values(), ids=REFUSED_NOW)
def test_a_recorded_run_is_drawn_though_what_it_measured_is_refused_now(  # type: ignore[no-untyped-def]
    explain, folder: Path, copied: Path, refused: str, capsys
) -> None:
    text = OTHER.replace("measures: [accuracy]\n", refused)
    (folder / "refused.yaml").write_text(text, encoding="utf-8")
    assert main(["plan", "refused.yaml"]) == 2  # as a suite to run
    with sqlite3.connect(copied / "results.sqlite") as database:
        database.execute("UPDATE facts SET value = ? WHERE key = 'suite_text'", (text,))
        seals.seal_table(database, "facts")
    database.close()
    words = ("--only", "*/plain", "--images", "3", "--layers", "last", "--out", "pics")
    code, files, _, errors = explain("copy", *words)
    assert (code, len(files), errors) == (0, 2, [])


def test_data_beside_the_suite_are_found_from_anywhere(  # type: ignore[no-untyped-def]
    explain, folder, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, out = str(folder / "runs/files"), str(tmp_path / "new" / "pics")
    code, files, notes, _ = explain(run, "--only", "mine/plain", "--out", out, "--count", "1")
    assert code == 0
    assert files == ["mine-plain-layers.png", "mine-plain-last.png"]
    assert notes[0] == "mine/plain: td: it is not trained yet"
    assert notes[1].startswith("mine/plain: no picture of localization: ")
    assert "no masks" in notes[1]


def test_a_saturated_probability_is_told(explain) -> None:  # type: ignore[no-untyped-def]
    words = ("runs/files", "--only", "*/loud", "--out", "pics", "--images", "0,9")
    _, files, notes, _ = explain(*words)
    assert "mine-loud-last.png" in files
    told = [note for note in notes if "0/0 for image 0, 9" in note]
    assert told
    assert all("--score logit" in note for note in told)
    assert not any("0/0" in note for note in explain(*words, "--score", "logit")[2])


def test_more_layers_than_fit_are_thinned_out_and_told(explain) -> None:  # type: ignore[no-untyped-def]
    words = ("runs/files", "--only", "*/plain", "--out", "pics", "--images", "1")
    paths = ",".join(str(number) for number in range(10))
    _, files, notes, _ = explain(*words, "--layers", paths)
    assert "mine-plain-layers.png" in files
    assert any("8 of 10 layers are drawn" in note for note in notes)


def test_a_layer_that_one_variant_lacks_is_told(explain) -> None:  # type: ignore[no-untyped-def]
    words = ("runs/corners", "--only", "*/plain", "--out", "pics", "--images", "1")
    code, files, notes, _ = explain(*words, "--layers", "7,last")
    assert (code, files) == (0, ALL)
    assert [note for note in notes if "plain: td: unknown layer '7'; there are " in note]


WRONG = {
    "pictures": "pictures: no run there",
    "runs/corners --images 3,40": r"corners has no test image 40; its numbers are 0 to 39",
    "runs/corners --images 3,-1": r"no test image -1",
    "runs/corners --images 3;4": r"--images 3;4: give numbers",
    "runs/corners --count 0": r"--count 0: give a number from 1 to 24",
    "runs/corners --count 25": r"--count 25",
    "runs/corners --seed -1": r"--seed -1",
    "runs/corners --of-seed 7": r"--of-seed 7: the run's seeds are 0, 1",
    "runs/corners --only */nin": r"fits none of corners/plain, corners/flat",
    "runs/corners --layers act_9": r"unknown layer 'act_9'; there are act_1, ",
    "runs/corners --layers act_1,act_9": r"unknown layer 'act_9'",
    "runs/corners --layers 0 --only */flat": r"corners/flat: bu: layer '0' gives 1 x 256 for 1 im",
    "runs/corners --only */flat": r"nothing can be drawn: corners/flat: .*no spatial feature map",
    "runs/corners --out corners.yaml": r"is a file",
    "runs/corners --device tpu": r"--device tpu",
    "runs/files --only mine/plain --of-seed 1": r"seeds are 0$",
}


@pytest.mark.parametrize("words", WRONG)
def test_bad_input_is_one_clear_line(explain, words: str) -> None:  # type: ignore[no-untyped-def]
    code, files, _, errors = explain(
        *words.split(), *(() if "--out" in words else ("--out", "pics"))
    )
    assert (code, files) == (2, [])
    assert len(errors) == 1
    assert re.search(WRONG[words], errors[0]), errors[0]


def test_an_unknown_method_is_refused(folder, capsys) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SystemExit) as stopped:
        main(["explain", str(folder / "runs/corners"), "--method", "eigen-cam"])
    assert stopped.value.code == 2
    assert "hires-cam" in capsys.readouterr().err


@pytest.fixture
def copied(folder: Path) -> Iterator[Path]:
    copy = folder / "copy"
    shutil.copytree(folder / "runs/files", copy)
    yield copy
    shutil.rmtree(copy)


def test_damaged_and_lost_weights_are_told(explain, copied: Path) -> None:  # type: ignore[no-untyped-def]
    for file in (copied / "weights").iterdir():
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    code, files, _, (error,) = explain("copy")
    assert (code, files) == (2, [])
    assert re.match(r"mine/plain/bu/seed0: copy/weights/\w+\.safetensors: damaged", error)
    shutil.rmtree(copied / "weights")
    code, _, _, (error,) = explain("copy")
    assert code == 2
    assert "cannot be read: No such file" in error


def test_missing_data_are_told(explain, folder: Path) -> None:  # type: ignore[no-untyped-def]
    (folder / "pictures").rename(folder / "elsewhere")
    try:
        code, files, _, errors = explain("runs/files", "--out", "pics")
    finally:
        (folder / "elsewhere").rename(folder / "pictures")
    assert (code, files) == (2, [])
    assert "pictures" in errors[0]


def test_memory_that_runs_out_is_told(explain, folder: Path) -> None:  # type: ignore[no-untyped-def]
    greedy = "self.net(x) + x.new_zeros(1 << 50).sum()"
    file = folder / "explain_nets.py"
    file.write_text(NETS.replace("self.net(x)", greedy), encoding="utf-8")
    identity.code_fingerprint.cache_clear()
    importlib.reload(sys.modules["explain_nets"])
    try:
        code, files, _, errors = explain("runs/files", "--only", "*/loud", "--out", "pics")
    finally:
        file.write_text(NETS, encoding="utf-8")
        identity.code_fingerprint.cache_clear()
        importlib.reload(sys.modules["explain_nets"])
    assert (code, files, len(errors)) == (2, [], 1)
    assert errors[0].startswith("mine/loud: does not fit into the memory of cpu; try --device")


def test_code_that_has_changed_since_is_told(explain, folder: Path) -> None:  # type: ignore[no-untyped-def]
    file = folder / "explain_nets.py"
    file.write_text(NETS + "# as before, in effect\n", encoding="utf-8")
    identity.code_fingerprint.cache_clear()
    importlib.reload(sys.modules["explain_nets"])
    try:
        words = ("runs/files", "--only", "*/plain", "--out", "pics", "--images", "1")
        code, _, notes, _ = explain(*words)
    finally:
        file.write_text(NETS, encoding="utf-8")
        identity.code_fingerprint.cache_clear()
        importlib.reload(sys.modules["explain_nets"])
    assert code == 0
    assert "mine/plain: bu: code or data have changed since it was trained" in notes


def test_a_run_without_a_trained_network_is_told(explain, folder: Path) -> None:  # type: ignore[no-untyped-def]
    text = (folder / "files.yaml").read_text(encoding="utf-8").replace("name: files", "name: bad")
    (folder / "bad.yaml").write_text(text.replace("lr: 0.05", "lr: 1.0e+30"), encoding="utf-8")
    assert main(["run", "bad.yaml", "--quiet", "--only", "*/plain/bu/*/train"]) == 1
    code, _, _, (error,) = explain("runs/bad")
    assert code == 2
    assert "no network is trained there (mine/plain/bu/seed0: its training failed: " in error


def striped(labels: torch.Tensor | None, count: int = 24) -> Dataset:
    """Images whose brightness is their class, of three; the test labels as given."""
    true = torch.arange(count) % 3
    images = (true * 100).to(torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4).contiguous()
    test = Split(images, labels)
    return Dataset("striped", Split(images, true), test, ("a", "b", "c"), (0.4,), (0.3,))


class Brightness(torch.nn.Module):
    """Tells the class of a striped image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x.mean((1, 2, 3))[:, None] * 255
        return -(bright - torch.tensor([0.0, 100.0, 200.0])).abs()


def reader() -> Network:
    same = Normalization(torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
    return Network(Brightness(), same, same).eval()


@settings(max_examples=20)
@given(st.integers(1, 24), st.integers(0, 9))
def test_images_are_balanced_and_classified_correctly_where_there_are_such(
    count: int, seed: int
) -> None:
    labels = torch.arange(24) % 3
    wrong = labels.clone()
    wrong[:6] = (labels[:6] + 1) % 3  # labels that no network will tell
    chosen = gallery.choose([reader()], striped(wrong), torch.device("cpu"), count, seed)
    assert len({*chosen.index.tolist()}) == count
    assert sorted(chosen.index) == list(chosen.index)
    right = chosen.index >= 6
    assert chosen.correct == right.sum() == min(count, 18)
    sizes = np.bincount(wrong.numpy()[chosen.index[right]], minlength=3)
    assert np.ptp(sizes) <= 1


def test_images_without_labels_are_just_drawn() -> None:
    chosen = gallery.choose([reader()], striped(None), torch.device("cpu"), 5, 0)
    assert (len(chosen.index), chosen.correct) == (5, None)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=40), st.integers(2, 8))
def test_layers_are_spread_over_the_ends_of_resolutions(sizes: list[int], most: int) -> None:
    shown = gallery.spread(sizes, most)
    count = len(sizes)
    assert shown == sorted({*shown})
    assert len(shown) == min(count, most)
    assert count - 1 in shown
    ends = {i for i in range(count) if i + 1 == count or sizes[i] != sizes[i + 1]}
    assert {*shown} <= ends or ends <= {*shown}


def test_layers_of_one_resolution_are_shown_at_equal_distances() -> None:
    assert gallery.spread([14] * 15, 8) == [0, 2, 4, 6, 9, 11, 13, 14]
    assert gallery.spread([8, 8, 8, 4, 4, 4, 2, 2], 4) == [0, 2, 5, 7]


def test_own_weights_that_are_others_now_are_told(explain, folder: Path) -> None:  # type: ignore[no-untyped-def]
    with sqlite3.connect(folder / "runs/corners/results.sqlite") as db:
        query = (
            "SELECT file FROM cells WHERE name LIKE 'corners/plain/bu/seed_/train' ORDER BY name"
        )
        first, second = (folder / "runs/corners" / file for (file,) in db.execute(query))
    shutil.copy(first, folder / "given.safetensors")
    text = SUITE.replace("name: corners", "name: given").replace("seeds: [0, 1]", "seeds: [0]")
    text = text.replace("variants: [bu, td]}", "variants: [bu], weights: given.safetensors}")
    flat = '  - {name: "explain_nets:flat", label: flat, variants: [bu]}\n'
    assert flat in text
    (folder / "given.yaml").write_text(text.replace(flat, ""), encoding="utf-8")
    assert main(["run", "given.yaml", "--quiet"]) == 0
    told = "corners/plain: bu: code, data or weights have changed since it was measured"
    words = ("runs/given", "--out", "pics", "--images", "1")
    code, _, notes, _ = explain(*words)
    assert (code, told in notes) == (0, False)
    shutil.copy(second, folder / "given.safetensors")
    code, _, notes, _ = explain(*words)
    assert (code, told in notes) == (0, True)
