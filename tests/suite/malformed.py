"""A good suite, ways to spoil it, and what `bench plan` then has to say."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from bench.cli import main

GOOD = """\
name: good
seeds: [0, 1]
datasets: [fashion-mnist-mini]
backbones: [lenet_fc]
variants: [bu, td]
recipe: {epochs: 6, batch_size: 128, lr: 0.1}
measures:
  - accuracy
  - robustness: {attacks: [additive_gaussian, gaussian_blur], samples: 200, repeats: 3}
  - efficiency
"""
ROBUSTNESS = "{attacks: [additive_gaussian, gaussian_blur], samples: 200, repeats: 3}"

Said = tuple[int, str, str]  # line, path ("" at the top), a part of the text


@dataclass(frozen=True)
class Case:
    """`old` in the good suite is replaced by `new`; then exactly `said` is reported."""

    name: str
    old: str
    new: str
    said: tuple[Said, ...]

    @property
    def text(self) -> str:
        assert self.old in GOOD, self.old
        return GOOD.replace(self.old, self.new, 1)


def case(name: str, old: str, new: str, *said: Said) -> Case:
    return Case(name, old, new, said)


def added(name: str, lines: str, *said: Said) -> Case:
    """A case that appends lines (the first is line 11) to the good suite."""
    tail = "  - efficiency\n"
    return Case(name, tail, tail + lines, said)


def check(file: Path, text: str | bytes, said: tuple[Said, ...]) -> None:
    """Write the file and see that `bench plan` says exactly that, a line each, sorted."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = complaints(file)
    assert len(found) == len(said), "\n".join(found)
    for line, (number, path, phrase) in zip(found, said, strict=True):
        start = f"{file}:{number}: " + (f"{path}: " if path else "")
        assert line.startswith(start), f"{line!r} does not start with {start!r}"
        assert phrase in line[len(start) :], f"{phrase!r} is not in {line!r}"


def complaints(file: Path) -> list[str]:
    """The lines on standard error of `bench plan FILE`, which exits with 2 and prints no more."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["plan", str(file), "--no-cost"])
    assert (code, out.getvalue()) == (2, "")
    text = err.getvalue()
    assert text.endswith("\n")
    assert "Traceback" not in text
    return text.splitlines()
