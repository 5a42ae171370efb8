"""Identities of what is not ours: modules, packages and weights count by content."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import identity
from bench.plan.cell import Plan

Planned = Callable[[str], Plan]

SUITE = """\
name: foreign
seeds: [0]
datasets: [mnist]
backbones: [foreign_net:net]
measures: [accuracy]
"""
PRINT = """
from bench.plan.check import read_suite
from bench.plan.expand import expand
print(*[cell.identity for cell in expand(read_suite("suite.yaml")).cells])
"""
ROOT = Path(__file__).parents[2]


def in_a_fresh_process(folder: Path) -> list[str]:
    """Identities of the suite in `folder`, as a session started there finds them."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", PRINT],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_an_edited_module_is_another_network(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    module = tmp_path / "foreign_net.py"
    module.write_text("def net(c, n): return 1\n")
    before = in_a_fresh_process(tmp_path)
    assert in_a_fresh_process(tmp_path) == before
    module.write_text("def net(c, n): return 2\n")
    after = in_a_fresh_process(tmp_path)
    assert len(before) == len(after) == 2
    assert not set(before) & set(after)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's folder as the current one; modules made in it are forgotten afterwards."""
    known = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    identity.code_fingerprint.cache_clear()
    yield tmp_path
    identity.code_fingerprint.cache_clear()
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], "__file__", None) is None or str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


def fingerprint(target: str) -> str:
    identity.code_fingerprint.cache_clear()
    return identity.code_fingerprint(target)


def test_every_kind_of_plugin_counts_by_its_code(here: Path, planned: Planned) -> None:
    text = SUITE.replace("mnist", "foreign_kinds:data").replace("accuracy", "foreign_kinds:measure")
    text = text.replace("foreign_net:net", "foreign_kinds:net").replace(
        "measure]", "measure, {robustness: {attacks: ['foreign_kinds:attack']}}]"
    )
    module = here / "foreign_kinds.py"
    module.write_text("def data(root): ...\ndef net(c, n): ...\ndef measure(c): ...\n"
                      "def attack(p): ...\n")  # fmt: skip
    before = planned(text).cells
    assert [c.title for c in before] == ["train", "measure", "robustness/attack"]
    module.write_text(module.read_text() + "# edited\n")
    identity.code_fingerprint.cache_clear()
    after = planned(text).cells
    assert not {c.identity for c in before} & {c.identity for c in after}


def test_the_whole_package_counts_and_nothing_else(here: Path) -> None:
    package = here / "foreign_package"
    (package / "deep").mkdir(parents=True)
    for name in ("__init__.py", "nets.py", "deep/__init__.py", "deep/blocks.py"):
        (package / name).write_text("")
    first = fingerprint("foreign_package.nets:net")
    assert first.startswith("source:")
    (package / "notes.txt").write_text("not code")
    (here / "other.py").write_text("not of the package")
    assert fingerprint("foreign_package.nets:net") == first
    (package / "deep" / "blocks.py").write_text("edited = True")
    second = fingerprint("foreign_package.nets:net")
    assert second != first
    (package / "deep" / "blocks.py").rename(package / "deep" / "layers.py")
    assert fingerprint("foreign_package.nets:net") not in (first, second)


def test_modules_beside_it_count_as_far_as_they_are_imported(here: Path) -> None:
    """`nets.py` takes its blocks from `blocks.py`, and that from a folder of files."""
    (here / "foreign_nets.py").write_text("import os\ndef net(c, n): ...\n")
    alone = fingerprint("foreign_nets:net")
    (here / "foreign_layers").mkdir()
    (here / "foreign_layers" / "gates.py").write_text("from foreign_nets import net\n")
    (here / "foreign_blocks.py").write_text("import foreign_layers.gates as gates\n")
    assert fingerprint("foreign_nets:net") == alone
    (here / "foreign_nets.py").write_text(
        "def net(c, n):\n    from foreign_blocks import gates, block\n    import unknown_to_all\n"
    )
    found = [fingerprint("foreign_nets:net")]
    for edited in ("foreign_blocks.py", "foreign_layers/gates.py"):
        with (here / edited).open("a") as file:
            file.write("# edited\n")
        found.append(fingerprint("foreign_nets:net"))
    assert len({alone, *found}) == 4
    (here / "foreign_others.py").write_text("edited = True\n")
    assert fingerprint("foreign_nets:net") == found[-1]


def test_what_a_package_imports_from_beside_it_counts(here: Path) -> None:
    (here / "foreign_mine").mkdir()
    (here / "foreign_mine" / "__init__.py").write_text("from foreign_shared import block\n")
    (here / "foreign_shared.py").write_text("block = 1\n")
    first = fingerprint("foreign_mine:net")
    (here / "foreign_shared.py").write_text("block = 2\n")
    assert fingerprint("foreign_mine:net") != first


def install(
    site: Path, *, record: bool = True, url: str | None = None, version: str = "1.2"
) -> None:
    """A distribution `foreign-dist` with the module `foreign_dist`, as an installer leaves it."""
    info = site / "foreign_dist-1.dist-info"
    info.mkdir(exist_ok=True)
    (site / "foreign_dist.py").write_text("def net(c, n): ...\n")
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: foreign-dist\nVersion: {version}\n"
    )
    (info / "top_level.txt").write_text("foreign_dist\n")
    for name, content in (("RECORD", "foreign_dist.py,,\n" if record else None),
                          ("direct_url.json", url)):  # fmt: skip
        (info / name).unlink(missing_ok=True)
        if content is not None:
            (info / name).write_text(content)


def test_an_installed_release_counts_by_its_version(here: Path) -> None:
    sys.path.insert(0, str(here))
    install(here)
    assert fingerprint("foreign_dist:net") == "foreign-dist==1.2"
    install(here, version="1.3")
    assert fingerprint("foreign_dist:net") == "foreign-dist==1.3"


@pytest.mark.parametrize(
    "url",
    [
        '{"dir_info": {"editable": true}, "url": "file:///x"}',
        '{"dir_info": {}, "url": "file:///x"}',
        '{"vcs_info": {"vcs": "git", "commit_id": "abc"}, "url": "https://x"}',
    ],
)
def test_what_is_installed_from_a_folder_or_repository_counts_by_its_code(
    url: str, here: Path
) -> None:
    """Its version seldom moves when it is edited and installed again."""
    sys.path.insert(0, str(here))
    install(here, url=url)
    first = fingerprint("foreign_dist:net")
    assert first.startswith("source:")
    (here / "foreign_dist.py").write_text("edited = True\n")
    assert fingerprint("foreign_dist:net") != first


def test_a_development_link_counts_by_its_code(here: Path) -> None:
    sys.path.insert(0, str(here))
    install(here, record=False)
    assert fingerprint("foreign_dist:net").startswith("source:")


def test_a_module_that_hides_an_installed_one_counts_by_its_code(here: Path) -> None:
    """`models.py` of a researcher, while some distribution owns a module of that name."""
    site = here / "site"
    site.mkdir()
    install(site)
    sys.path[:0] = [str(here), str(site)]
    (here / "foreign_dist.py").write_text("def net(c, n): ...\n")
    assert fingerprint("foreign_dist:net").startswith("source:")


def test_weights_count_by_content_with_the_normalisation_only(here: Path, planned: Planned) -> None:
    text = SUITE.replace("foreign_net:net", "{name: lenet_fc, weights: net.pt}")
    text += "recipe: {epochs: 5}\n"

    def found(recipe: str, weights: bytes = b"weights", name: str = "net.pt") -> str:
        (here / name).write_bytes(weights)
        changed = text.replace("net.pt", name).replace("epochs: 5", recipe)
        return planned(changed).cells[0].identity

    first = found("epochs: 5")
    assert found("epochs: 6, lr: 0.3, augment: {flip: 0.5}") == first  # nothing is trained
    assert found("epochs: 5", name="copy.pt") == first
    assert found("epochs: 5", b"others") != first
    for key in ("mean: per_pixel", "std: per_channel", "mean: per_channel, test_mean: own"):
        assert found(key) != first
