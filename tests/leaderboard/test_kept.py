"""What is kept of a page: nothing changes but the time that it takes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_results import results

from leaderboard import Results, kept, render_html, render_markdown
from leaderboard.kept import Kept, fingerprint

SOME = results(variants=("bu", "td"), attacks=("gaussian_blur", "shifts"), images=60)


def page(found: Results, folder: Path, parts: Path | None) -> dict[str, bytes]:
    render_markdown(found, folder, parts)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def files(folder: Path) -> dict[str, int]:
    """Name and time of change of what is kept."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def with_changed(attack: str) -> Results:
    samples = [
        replace(one, l2=one.l2 * 1.1) if one.attack == attack else one for one in SOME.samples
    ]
    return replace(SOME, samples=tuple(samples))


def test_the_page_is_the_same_with_and_without(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    expected = page(SOME, tmp_path / "a", None)
    assert page(SOME, tmp_path / "b", parts) == expected
    before = files(parts)
    assert len(before) == 6, "three figures, a caption, a summary of each attack"
    assert page(SOME, tmp_path / "c", parts) == expected
    assert files(parts) == before
    render_html(SOME, tmp_path / "d.html", parts)
    render_html(SOME, tmp_path / "e.html")
    assert (tmp_path / "d.html").read_bytes() == (tmp_path / "e.html").read_bytes()
    assert files(parts) == before


def test_what_changed_is_made_again_and_the_rest_is_not(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    page(SOME, tmp_path / "a", parts)
    before = files(parts)
    (parts / "notes.txt").write_text("somebody else's")
    changed = with_changed("shifts")
    assert page(changed, tmp_path / "b", parts) == page(changed, tmp_path / "c", None)
    after = files(parts)
    assert after.pop("notes.txt")
    assert len(after) == 6, "what belongs to the past is gone"
    assert sum(after.get(name) == stamp for name, stamp in before.items()) == 3


def test_what_is_damaged_is_made_again(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    expected = page(SOME, tmp_path / "a", parts)
    for number, path in enumerate(sorted(parts.iterdir())):
        content = path.read_bytes()
        path.write_bytes([content[:-3], content[:40] + b"x" + content[41:], b"", b"{}"][number % 4])
    assert page(SOME, tmp_path / "b", parts) == expected


def test_a_folder_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert page(SOME, tmp_path / "a", tmp_path / "file" / "parts") == page(
        SOME, tmp_path / "b", None
    )


def test_another_version_of_the_code_makes_everything_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []

    def make() -> bytes:
        made.append(b"part")
        return made[-1]

    for code in ("old", "old", "new"):
        monkeypatch.setattr(kept, "_code", lambda code=code: code)
        assert Kept(tmp_path).part(("what",), make) == b"part"
    assert len(made) == 2


def test_dependencies_are_told_apart(tmp_path: Path) -> None:
    parts = Kept(tmp_path)
    several: list[tuple[object, ...]] = [("a", "b"), ("ab",), ("a", b"b"), ("a", "b", ""), ()]
    for number, depends in enumerate(several):
        assert parts.text(depends, lambda number=number: str(number)) == str(number)  # type: ignore[misc]


def test_a_fingerprint_is_of_everything_that_a_curve_is_made_of() -> None:
    one = SOME.samples[0]
    changes: list[Callable[[], object]] = [
        lambda: replace(one, seed=9),
        lambda: replace(one, backbone="other"),
        lambda: replace(one, variant="other"),
        lambda: replace(one, attack="other"),
        lambda: replace(one, dataset="other"),
        lambda: replace(one, l2=np.nextafter(one.l2, np.inf)),
        lambda: replace(one, index=np.arange(one.l2.size)),
        lambda: replace(one, index=np.arange(one.l2.size)[::-1].copy()),
    ]
    prints = {fingerprint([change()]) for change in changes}  # type: ignore[list-item]
    assert len(prints | {fingerprint([one])}) == len(changes) + 1
    assert fingerprint([one]) == fingerprint([replace(one)])


def test_code_in_folders_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics lie in a folder of their own: an edit there must make parts anew."""
    home = tmp_path / "leaderboard"
    shutil.copytree(Path(kept.__file__).parent, home, ignore=shutil.ignore_patterns("published"))
    monkeypatch.setattr(kept, "__file__", str(home / "kept.py"))
    made: list[bytes] = []

    def make() -> bytes:
        made.append(b"part")
        return made[-1]

    edited = home / "statistics" / "moderated.py"
    for ending in ("", "# edited\n"):
        edited.write_text(edited.read_text(encoding="utf-8") + ending, encoding="utf-8")
        kept._code.cache_clear()
        assert Kept(tmp_path / "kept").part(("what",), make) == b"part"
    kept._code.cache_clear()
    assert len(made) == 2
