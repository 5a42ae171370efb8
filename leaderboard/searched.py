"""What is known of a search for a network's recipe: its trials and the one that was chosen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate: `values` is like "lr=0.1, batch_size=64".

    `accuracy` is in percent, on the training images that were held out, after the last epoch; None
    where the trial failed (`error` says why, on one line) or is not over. `edges` name the values
    that are the lowest or highest tried, or in the outer tenth of their range: "lr (lowest)".
    """

    values: str
    accuracy: float | None = None
    error: str = ""
    edges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Searched:
    """The search for the recipe of one `dataset/backbone/variant`.

    `chosen` is the number of a trial, or None where none is (yet). `search` is "grid" or "random",
    `axes` pairs a recipe key with the text of its values. `seed` is that of draws and trials,
    `epochs` a trial's and `own_epochs` the network's (None: they are searched), `validation` the
    held-out share of the training images.
    """

    dataset: str
    backbone: str
    variant: str
    trials: tuple[Trial, ...]
    chosen: int | None
    search: str
    axes: tuple[tuple[str, str], ...]
    seed: int
    epochs: int | None
    own_epochs: int | None
    validation: float
