"""The command line: verbs, their flags, and what errors look like. Imports nothing heavy."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from bench import __version__, cli_runs
from bench.data.root import DATA
from bench.stopping import Terminated, stoppable

METHODS = ("paper", "grad-cam", "grad-cam++", "hires-cam", "layer-cam")
LISTS = ("backbones", "variants", "datasets", "attacks", "measures", "suites")


class Parser(argparse.ArgumentParser):
    """Wrong usage is one line, as other bad input is; flags are written out, for the beginning of
    one may mean another in a later version."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is; exit code 2."""
        from bench.errors import visible

        text = visible(message).replace("\n", "\\n")
        self.exit(2, f"{self.prog}: error: {text}; see `{self.prog} --help`\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit code: 0 done, 1 cells failed, 2 bad usage or input.

    `check` has more (see its --help)."""
    args, unknown = build_parser().parse_known_args(argv)
    if unknown:
        Parser(prog=f"bench {args.verb}").error(f"unrecognized arguments: {' '.join(unknown)}")
    from bench.errors import BenchError, visible

    _write_what_can_be_written()
    code = None
    try:
        with stoppable(ends=argv is None), _data_root(getattr(args, "data", None)):
            code = int(importlib.import_module(f"bench.commands.{args.verb}").main(args))
        sys.stdout.flush()
        return code
    except BenchError as error:
        print(visible(str(error)), file=sys.stderr)
        return 2
    except BrokenPipeError:
        # `bench list ... | head`: nobody reads any more, and Python flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if code is None and args.verb == "run":
            text = "interrupted, for nobody reads the output any more (--quiet prints none)"
            print(f"{text}; run the same command again to go on", file=sys.stderr)
            return 128 + signal.SIGPIPE
        return code or 0
    except KeyboardInterrupt as end:
        print("interrupted; run the same command again to go on", file=sys.stderr, flush=True)
        if argv is None:  # whoever cannot wait for Python to end
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if not isinstance(end, Terminated):  # else Ctrl-C may not be ours
                signal.signal(signal.SIGINT, signal.SIG_DFL)
        return 143 if isinstance(end, Terminated) else 130


@contextmanager
def _data_root(folder: Path | None) -> Iterator[None]:
    """Within it, the folder of data sets is this one, if one is given: also for own data sets named
    in the suite, and for worker processes."""
    before = os.environ.get(DATA)
    if folder:
        os.environ[DATA] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(DATA, None)
        if before is not None:
            os.environ[DATA] = before


def _write_what_can_be_written() -> None:
    """A terminal of another encoding than UTF-8 shows `?` for what it has not, as ✓ or ↑, and a
    path is printed as it is, text or not: neither is a reason to fail."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
        sys.stdout.reconfigure(errors="surrogateescape" if utf8 else "replace")


def build_parser() -> argparse.ArgumentParser:
    """All verbs and flags."""
    parser = Parser(
        prog="bench",
        description="From architecture to leaderboard in one reproducible run.",
        epilog="bench VERB --help tells more.",
    )
    parser.add_argument("--version", action="version", version=f"topdown-bench {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _run(verbs.add_parser("run", help="train, measure and rank what a suite declares"))
    _plan(verbs.add_parser("plan", help="the cells a suite comes to, what is done, the cost"))
    _list(verbs.add_parser("list", help=", ".join(LISTS)))
    cli_runs.report(verbs.add_parser("report", help="render a run as Markdown, CSV, JSON or HTML"))
    cli_runs.export(verbs.add_parser("export", help="a run's curves for TensorBoard or MLflow"))
    cli_runs.doctor(
        verbs.add_parser("doctor", help="is a run directory whole? finds and mends damage")
    )
    cli_runs.pack(verbs.add_parser("pack", help="a run as one file, to hand on or to keep"))
    cli_runs.unpack(verbs.add_parser("unpack", help="a run directory of such a file"))
    cli_runs.merge(verbs.add_parser("merge", help="runs of several machines as one run"))
    _explain(verbs.add_parser("explain", help="pictures of where a run's networks look"))
    _describe(verbs.add_parser("describe", help="a network by depth: sizes, cost, receptive field"))
    cli_runs.baseline(
        verbs.add_parser("baseline", help="write a run as the baseline of later ones")
    )
    cli_runs.check(
        verbs.add_parser("check", help="compare a run with a baseline, fail on a regression")
    )
    cli_runs.compare(
        verbs.add_parser("compare", help="what changed between two runs, and what is beyond noise")
    )
    return parser


def _suite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", metavar="SUITE", help="a YAML file, or a shipped suite's name")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="run directory (default: runs/<suite name>)"
    )
    parser.add_argument(
        "--only",
        metavar="GLOB",
        action="append",
        default=[],
        help="only cells whose name fits, like '*/td/*'; several: those that fit any",
    )
    _data(parser)


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="where data sets are (default: $BENCH_DATA, else the user's cache folder)",
    )


def _run(parser: argparse.ArgumentParser) -> None:
    _suite(parser)
    parser.add_argument(
        "--device",
        default="auto",
        help="auto (default), cpu, cuda, cuda:N; several GPUs: cuda:N,N or cuda:all",
    )
    parser.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help="processes side by side, or auto: as many as cores and memory allow "
        "(default: 1, of several GPUs one on each)",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="run on a dask cluster: tcp://HOST:PORT or tls://HOST:PORT (docs/cluster.md)",
    )
    for what, file in (("ca", "authority"), ("cert", "certificate"), ("key", "private key")):
        text = f"of a tls:// scheduler: PEM file of the {file} (default: dask's configuration)"
        parser.add_argument(f"--tls-{what}", type=Path, metavar="FILE", help=text)
    parser.add_argument("--download", action="store_true", help="fetch missing data sets")
    parser.add_argument("--retry", choices=["failed"], help="try failed cells again")
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="discard what the run has so far; with --only, of the cells that fit",
    )
    told = parser.add_mutually_exclusive_group()
    told.add_argument("--quiet", action="store_true", help="show failures only")
    told.add_argument(
        "--verbose", action="store_true", help="a line for every start, epoch, part and warning"
    )


def _workers(text: str) -> int | str:
    """A number of workers, or `auto`."""
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is neither a whole number nor auto") from None


def _plan(parser: argparse.ArgumentParser) -> None:
    _suite(parser)
    parser.add_argument(
        "--no-cost", action="store_true", help="leave out the estimate (it times each network)"
    )


def _list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=LISTS)
    parser.add_argument(
        "--like",
        metavar="GLOB",
        help="backbones (with the variants that they run in) or attacks that fit: 'timm/resnet*'",
    )
    parser.add_argument("--variant", metavar="NAME", help="of backbones: one variant, with reasons")
    parser.add_argument("--json", action="store_true", help="of backbones or attacks: all as JSON")


def _explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the pictures (default: RUN/explain)"
    )
    _data(parser)
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    parser.add_argument(
        "--images", metavar="N,N,...", help="numbers in the test set, like 3,17,256"
    )
    parser.add_argument(
        "--count", type=int, default=4, metavar="N", help="else draw so many (default: 4)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of the draw, of images that all variants get right (default: 0)",
    )
    parser.add_argument(
        "--of-seed", type=int, metavar="N", help="the training's seed (default: the first)"
    )
    parser.add_argument(
        "--only", metavar="GLOB", default="*", help="only what fits dataset/backbone, like '*/nin'"
    )
    parser.add_argument(
        "--method", choices=METHODS, help="default: as the suite measures, or paper"
    )
    parser.add_argument(
        "--score",
        choices=["logit", "probability"],
        help="what is differentiated (default: as the suite measures; of another --method "
        "probability for paper, else logit)",
    )
    parser.add_argument(
        "--layers",
        metavar="NAMES",
        default="all",
        help="all (default), last, or names like act_2,act_4",
    )


def _describe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("backbone", metavar="BACKBONE[@VARIANT]")
    parser.add_argument(
        "--suite",
        metavar="SUITE",
        help="BACKBONE is a label of this suite, with its options and its first data set's images",
    )
    parser.add_argument("--image-size", type=int, metavar="N", help="default: 32")
    parser.add_argument("--in-chans", type=int, metavar="N", help="default: 3")
    parser.add_argument("--num-classes", type=int, metavar="N", help="default: 10")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the backbone, as in a suite, like merge=add or stages=FILE; may be repeated",
    )
    parser.add_argument(
        "--stages",
        action="store_true",
        help="print how a model that is not the paper's is cut into stages, to edit and give back",
    )
    parser.add_argument(
        "--no-fields", action="store_true", help="leave out receptive fields that are measured"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
