"""How figures look: one style, one look for each network, the same bytes for the same figure."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from leaderboard.numbers.summary import BASELINE
from leaderboard.text import one_line

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from numpy.typing import ArrayLike

Dash = Literal["-"] | tuple[float, tuple[float, ...]]
NetName = tuple[str, str]

WIDTH = 9.0  # inches for the width of a page
_DPI = 180
_STYLE: dict[Any, Any] = {
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.06,
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 9.0,
    "axes.edgecolor": "#8a8f98",
    "axes.labelcolor": "#333842",
    "axes.titlecolor": "#16191f",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8ec",
    "grid.linewidth": 0.7,
    "xtick.color": "#8a8f98",
    "ytick.color": "#8a8f98",
    "xtick.labelcolor": "#333842",
    "ytick.labelcolor": "#333842",
    "legend.frameon": False,
    "legend.labelcolor": "#333842",
    "legend.handlelength": 3.2,
    # Names are strangers' text: a "$" in one is a dollar, not a formula.
    "text.parse_math": False,
    "hatch.linewidth": 0.6,
    # Words can be searched and read aloud, and identifiers are the same each time.
    "svg.fonttype": "none",
    "svg.hashsalt": "topdown-bench",
}

# As in the paper, bottom-up is red and top-down green. Lightness and dashes differ as well, for
# readers (and printers) who see red and green alike.
_VARIANTS: dict[str, tuple[str, Dash, str]] = {
    "bu": ("#c4161c", "-", ""),
    "td": ("#35b04a", (0, (5, 1.6)), "////"),
    "td_uni": ("#0b6e75", (0, (5, 1.4, 1.2, 1.4)), "...."),
    "td_rev": ("#9aa80c", (0, (1.4, 1.2)), "||||"),
}
# For variants of plugins: hues that stay apart for all kinds of sight.
_HUES = ("#0072b2", "#e69f00", "#7b4fa3", "#56b4e9", "#4d4d4d")
_DASHES: tuple[Dash, ...] = (
    "-",
    (0, (9, 1.6)),
    (0, (3, 1)),
    (0, (6, 1.2, 1.2, 1.2, 1.2, 1.2)),
    (0, (9, 1.6, 3, 1.6)),
)
_HATCHES = ("", "\\\\\\\\", "----", "xxxx", "++++")
# As many as have no divisor in common with shades: eleven backbones differ in shape, 77 in both.
_MARKERS = ("", "o", "s", "^", "D", "<", ">", "p", "P", "*", "X")
SHAPES = len(_MARKERS)
_LIGHTER = (0.0, 0.38, 0.2, 0.5, 0.65, 0.29, 0.1)


@dataclass(frozen=True, slots=True)
class Look:
    """Colour, dash and marker of a network's line; colour and hatch of its bars."""

    color: tuple[float, float, float]
    dash: Dash
    marker: str
    hatch: str


Looks = dict[NetName, Look]


def blank(width: float, height: float) -> Figure:
    """An empty figure of that size in inches; make it within `styled`."""
    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as PNG: the same figure always gives the same bytes."""
    # Saving with a layout draws everything once to no end; laid out before, it is drawn once.
    figure.set_dpi(_DPI)
    engine = figure.get_layout_engine()
    if engine is not None:
        with styled(), _without_warnings():
            engine.execute(figure)
            figure.set_layout_engine(None)
    return _saved(figure, format="png", dpi=_DPI, metadata={"Software": None})


def svg(figure: Figure) -> bytes:
    """The figure as SVG, its text as text: the same figure always gives the same bytes."""
    return _saved(figure, format="svg", metadata={"Date": None, "Creator": None})


def _saved(figure: Figure, **how: Any) -> bytes:
    stream = io.BytesIO()
    with styled(), _without_warnings():
        figure.savefig(stream, **how)
    return stream.getvalue()


@contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the tables have it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save in this style, and leave Matplotlib as it was."""
    # From the defaults, not from whatever a user's matplotlibrc says: same results, same bytes.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def looks(nets: Iterable[NetName]) -> Looks:
    """How each (backbone, variant) is drawn: the variant is hue, dash and hatch, the backbone
    lightness and marker."""
    nets = list(dict.fromkeys(nets))
    backbones = list(dict.fromkeys(backbone for backbone, _ in nets))
    nets.sort(key=lambda net: backbones.index(net[0]))
    strangers = dict.fromkeys(variant for _, variant in nets if variant not in _VARIANTS)
    # The solid line is for the first of them, unless bottom-up nets have it.
    first = 1 if any(variant == BASELINE for _, variant in nets) else 0
    others = zip(cycle(_HUES), cycle(_DASHES[first:]), cycle(_HATCHES[first:]), strict=False)
    variants = _VARIANTS | dict(zip(strangers, others, strict=False))
    found = {}
    for backbone, variant in nets:
        number = backbones.index(backbone)
        hue, dash, hatch = variants[variant]
        lighter = _LIGHTER[number % len(_LIGHTER)]
        red, green, blue = (part + (1 - part) * lighter for part in to_rgb(hue))
        marker = _MARKERS[number % len(_MARKERS)]
        found[backbone, variant] = Look((red, green, blue), dash, marker, hatch)
    return found


def line(look: Look, x: ArrayLike, y: ArrayLike, **extra: Any) -> Line2D:
    """A network's line."""
    return Line2D(
        x, y, color=look.color, linestyle=look.dash, linewidth=1.7, marker=look.marker,
        markersize=4.5, markerfacecolor="white", markeredgewidth=1.2, **extra,
    )  # fmt: skip


def label(net: NetName) -> str:
    """A network's name in a legend."""
    # A hair space first: Matplotlib leaves labels that begin with an underscore out.
    return "\u200a" + " · ".join(one_line(part, 28) for part in net if part)


def legend(
    figure: Figure,
    looks: Looks,
    handles: Sequence[Artist],
    *,
    beside: bool,
    more: Mapping[str, Artist] | None = None,
) -> None:
    """One legend for a figure: a handle for each network, in the order of `looks`, and `more`."""
    others = more or {}
    figure.legend(
        handles=[*handles, *others.values()],
        labels=[*(label(net) for net in looks), *others],
        loc="outside right center" if beside else "outside lower center",
        ncols=1 if beside else min(_fitting(looks), _columns(looks) + len(others)),
    )


def legend_height(looks: Looks) -> float:
    """Inches that a legend below a figure takes."""
    return 0.2 * -(-len(looks) // _columns(looks)) + 0.2


def _columns(looks: Looks) -> int:
    """A column for each backbone, or as many labels side by side as the width takes."""
    backbones = len({backbone for backbone, _ in looks})
    return min(_fitting(looks), backbones if backbones > 1 else len(looks))


def _fitting(looks: Looks) -> int:
    """How many labels side by side the width takes."""
    widest = max(len(label(net)) for net in looks) * 0.07 + 0.7
    return max(1, int(WIDTH / widest))
