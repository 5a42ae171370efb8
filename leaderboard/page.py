"""What the Markdown and the HTML page have in common: figures, words, and order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.board import Section, sections
from leaderboard.results import Results
from leaderboard.text import capital, slug

NOTHING = "No results yet."
LEGEND = (
    "Values are mean ± sample standard deviation over seeds. ↑: higher is better, ↓: lower is "
    "better; bold is the best of a column within its data set, as displayed, ties included."
)
GAPS = (
    "failed: tried, and ended in an error; –: not measured. Failed cells and those never reached "
    "are listed at the end of the page."
)
_LISTED = 20  # names of missing cells: a list of thousands tells no more than its length


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawn figure: file name, PNG bytes, text that stands in for it, caption."""

    name: str
    png: bytes
    alt: str
    caption: str


@dataclass(frozen=True, slots=True)
class Part:
    """A data set of the page."""

    section: Section
    figure: Figure | None


def parts(results: Results) -> list[Part]:
    """The page's data sets with their figures drawn."""
    taken: set[str] = set()
    return [
        Part(section, _figure(results, section.dataset, taken)) for section in sections(results)
    ]


def listed(missing: Sequence[str]) -> tuple[Sequence[str], str]:
    """The names of missing cells to print, and what to say of the rest (nothing, if none)."""
    rest = len(missing) - _LISTED
    return missing[:_LISTED], f"… and {rest} more" if rest > 0 else ""


def heading(key: str) -> str:
    """A provenance key as a heading."""
    return capital(key.replace("_", " "))


def _figure(results: Results, dataset: str, taken: set[str]) -> Figure | None:
    if not any(sample.dataset == dataset for sample in results.samples):
        return None
    # Drawing libraries load only where there is something to draw.
    from leaderboard.curves import caption, panels
    from leaderboard.figures import loss_figure, png

    drawn = panels(results.samples, dataset)
    alt = (
        f"Accuracy loss against L₂ size of the perturbation on {dataset}, "
        f"{len(drawn)} attack{'s' if len(drawn) > 1 else ''}"
    )
    return Figure(slug(dataset, taken), png(loss_figure(dataset, drawn)), alt, caption(drawn))
