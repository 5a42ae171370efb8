"""Flags of the verbs about runs that exist: report, gate, export, care. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path


def report(parser: argparse.ArgumentParser) -> None:
    """Of `bench report`."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    formats = ["md", "csv", "derived", "json", "html"]
    parser.add_argument(
        "--format", choices=formats, default="md", help="derived: areas under attack and mCE as CSV"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help="a file; for md a folder (default: the run directory)",
    )
    parser.add_argument("--svg", action="store_true", help="of md: every figure as SVG too")


def baseline(parser: argparse.ArgumentParser) -> None:
    """Of `bench baseline`."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a finished run directory")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="JSON to be committed; thresholds written into an older one are kept",
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="take an unfinished run as well: numbers that it lacks hold nobody to anything",
    )
    parser.add_argument(
        "--noise-from",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="more runs of this suite, to know from how much seeds vary (those of other seeds) "
        "and timings do",
    )


def check(parser: argparse.ArgumentParser) -> None:
    """Of `bench check`."""
    parser.description = (
        "Exit code 0: pass. 1: regression. 2: bad usage or input, stale baseline. "
        "3: inconclusive, the last line says what is needed. 4: something was not measured."
    )
    parser.add_argument("run", type=Path, nargs="?", metavar="RUN", help="a run directory")
    parser.add_argument(
        "--baseline", type=Path, metavar="FILE", help="made by `bench baseline RUN --out FILE`"
    )
    for name, what in (("json", "JSON"), ("junit", "JUnit XML"), ("markdown", "Markdown")):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"also write {what}")
    for name, what in (("json", "of the run"), ("baseline", "of what it is held against")):
        parser.add_argument(
            f"--benchmark-{name}",
            type=Path,
            nargs="+",
            default=[],
            metavar="FILE",
            help=f"pytest-benchmark's JSON {what}, one for each process, made in turn",
        )


def compare(parser: argparse.ArgumentParser) -> None:
    """Of `bench compare`."""
    for name in ("before", "after"):
        parser.add_argument(
            name, type=Path, metavar=f"RUN_{'AB'[name == 'after']}", help="a run or a baseline file"
        )
    parser.add_argument("--format", choices=["md", "json"], default="md")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a file (default: the terminal)")


def export(parser: argparse.ArgumentParser) -> None:
    """Of `bench export`."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument("--to", choices=["tensorboard", "mlflow"], required=True)
    parser.add_argument(
        "--out",
        metavar="PLACE",
        help="a folder (default: RUN/tensorboard), or the address of MLflow's tracking server or "
        "file (default: sqlite:///RUN/mlflow.sqlite, which needs the full mlflow package)",
    )


def doctor(parser: argparse.ArgumentParser) -> None:
    """Of `bench doctor`."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="repair: damaged results are removed, and measured again by the next "
        "`bench run` (default: only report)",
    )


def pack(parser: argparse.ArgumentParser) -> None:
    """Of `bench pack`."""
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="a run directory, running or finished"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: RUN.tar.xz")
    parser.add_argument(
        "--no-weights",
        dest="weights",
        action="store_false",
        help="leave trained weights out: pages and checks need none, and what does trains again",
    )
    parser.add_argument(
        "--split",
        type=_mebibytes,
        metavar="MIB",
        help="where the file is larger than so many MiB, write it in parts of that size: "
        "FILE.001, FILE.002 and on, which `bench unpack FILE` finds",
    )


def unpack(parser: argparse.ArgumentParser) -> None:
    """Of `bench unpack`."""
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="made by `bench pack`, whole or in parts"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="default: runs/ and the name of the file"
    )


def merge(parser: argparse.ArgumentParser) -> None:
    """Of `bench merge`."""
    parser.description = (
        "The first run's suite and plan are those of the merged one; of the others come the cells "
        "that are planned there. Cells of one training are taken from runs with the same weights."
    )
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="two or more run directories, or files of `bench pack`; none is changed",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the run directory to make"
    )


def _mebibytes(text: str) -> int:
    """Bytes of so many MiB."""
    try:
        size = float(text) * 2**20
    except ValueError:
        size = 0.0
    if not 1 <= size < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is no size in MiB, such as 1.5")
    return int(size)
