"""Draws figures with Matplotlib's Agg, without pyplot and its global state."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from leaderboard.curves import Panel
from leaderboard.text import one_line, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

Dash = Literal["-"] | tuple[float, tuple[float, ...]]

_WIDTH = 9.0  # inches for the width of a page
_DPI = 180
_HEIGHTS = {1: 3.6, 2: 2.8, 3: 2.4}  # inches of a row, by panels beside each other
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
}

# As in the paper, bottom-up is red and top-down green. Lightness and dashes differ as well, for
# readers (and printers) who see red and green alike.
_VARIANTS: dict[str, tuple[str, Dash]] = {
    "bu": ("#c4161c", "-"),
    "td": ("#35b04a", (0, (5, 1.6))),
    "td_uni": ("#0b6e75", (0, (5, 1.4, 1.2, 1.4))),
    "td_rev": ("#9aa80c", (0, (1.4, 1.2))),
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
_MARKERS = ("", "o", "s", "^", "D", "v", "P")
_LIGHTER = (0.0, 0.38, 0.2, 0.5)


@dataclass(frozen=True, slots=True)
class _Look:
    color: tuple[float, float, float]
    dash: Dash
    marker: str


def loss_figure(title: str, panels: Sequence[Panel]) -> Figure:
    """Accuracy loss against L2: one panel per attack, one legend for all."""
    looks = _looks(panels)
    rows, columns = _grid(len(panels))
    beside = len(panels) == 1
    legend = 0.0 if beside else 0.2 * -(-len(looks) // _legend_columns(looks)) + 0.2
    with _styled():
        size = _WIDTH, rows * _HEIGHTS.get(columns, 2.1) + legend + 0.4
        figure = Figure(size, layout="constrained")
        FigureCanvasAgg(figure)
        for index, panel in enumerate(panels):
            axes = figure.add_subplot(rows, columns, index + 1)
            _draw(axes, panel, looks)
            if index % columns:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel("Accuracy loss (points)")
            if index + columns >= len(panels):
                axes.set_xlabel("L₂ distance")
        figure.suptitle(one_line(title, 80), fontsize=11, fontweight="bold")
        _legend(figure, looks, beside=beside)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as PNG: the same figure always gives the same bytes."""
    stream = io.BytesIO()
    with _styled(), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the tables have it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


@contextmanager
def _styled() -> Iterator[None]:
    # From the defaults, not from whatever a user's matplotlibrc says: same results, same bytes.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def _grid(count: int) -> tuple[int, int]:
    columns = {1: 1, 2: 2, 4: 2, 3: 3, 5: 3, 6: 3, 9: 3, 10: 5}.get(count, 4)
    return -(-count // columns), columns


def _draw(axes: Axes, panel: Panel, looks: dict[tuple[str, str], _Look]) -> None:
    for number, curve in enumerate(panel.curves):
        look = looks[curve.backbone, curve.variant]
        if curve.seeds > 1:
            axes.fill_between(
                panel.bounds, curve.low, curve.high, color=look.color, alpha=0.18, linewidth=0
            )
        # Markers of different nets are set apart; a curve along an edge keeps its full width.
        places = (20 + 17 * number % 60, 80)
        axes.add_line(_line(look, panel.bounds, curve.mean, markevery=places, clip_on=False))
    axes.set_title(one_line(words(panel.attack), 30))
    axes.set_xlim(0, float(panel.bounds[-1]))
    axes.set_ylim(0, 100)
    axes.set_yticks(range(0, 101, 25))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))


def _looks(panels: Sequence[Panel]) -> dict[tuple[str, str], _Look]:
    """How each (backbone, variant) is drawn: the variant is hue and dash, the backbone lightness
    and marker."""
    nets = list(dict.fromkeys((c.backbone, c.variant) for panel in panels for c in panel.curves))
    backbones = list(dict.fromkeys(backbone for backbone, _ in nets))
    nets.sort(key=lambda net: backbones.index(net[0]))
    strangers = dict.fromkeys(variant for _, variant in nets if variant not in _VARIANTS)
    # The solid line is for the first of them, unless bottom-up nets have it.
    dashes = _DASHES[1:] if any(variant == "bu" for _, variant in nets) else _DASHES
    others = zip(cycle(_HUES), cycle(dashes), strict=False)
    variants = _VARIANTS | dict(zip(strangers, others, strict=False))
    looks = {}
    for backbone, variant in nets:
        number = backbones.index(backbone)
        hue, dash = variants[variant]
        lighter = _LIGHTER[number % len(_LIGHTER)]
        red, green, blue = (part + (1 - part) * lighter for part in to_rgb(hue))
        looks[backbone, variant] = _Look((red, green, blue), dash, _MARKERS[number % len(_MARKERS)])
    return looks


def _line(look: _Look, x: ArrayLike, y: ArrayLike, **extra: Any) -> Line2D:
    return Line2D(
        x, y, color=look.color, linestyle=look.dash, linewidth=1.7, marker=look.marker,
        markersize=4.5, markerfacecolor="white", markeredgewidth=1.2, **extra,
    )  # fmt: skip


def _label(net: tuple[str, str]) -> str:
    # A hair space first: Matplotlib leaves labels that begin with an underscore out.
    return "\u200a" + " · ".join(one_line(part, 28) for part in net if part)


def _legend_columns(looks: dict[tuple[str, str], _Look]) -> int:
    """A column for each backbone, or as many labels side by side as the width takes."""
    widest = max(len(_label(net)) for net in looks) * 0.07 + 0.7
    fitting = max(1, int(_WIDTH / widest))
    backbones = len({backbone for backbone, _ in looks})
    return min(fitting, backbones if backbones > 1 else len(looks))


def _legend(figure: Figure, looks: dict[tuple[str, str], _Look], *, beside: bool) -> None:
    figure.legend(
        handles=[_line(look, [], []) for look in looks.values()],
        labels=[_label(net) for net in looks],
        loc="outside right center" if beside else "outside lower center",
        ncols=1 if beside else _legend_columns(looks),
    )
