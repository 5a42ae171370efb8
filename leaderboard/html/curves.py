"""The data of the HTML page's switchable curves: accuracy loss against L2, small enough to be
carried within the page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from leaderboard.results import Results
from leaderboard.text import one_line, words

if TYPE_CHECKING:
    from leaderboard.figures.looks import Look, Looks
    from leaderboard.numbers.curves import Curve, Floats, Panel

_EVERY = 4  # of the 401 points of a panel: 101 are left
_SCALE = 10  # tenths of a point, a third of a pixel on the page


def curves_data(results: Results) -> str:
    """JSON for the script; empty without samples.

    `datasets`: for each its `networks` (name, colour, dashes in units of a line's width) and
    `attacks` (name, largest L2 `end`, `images`, `curves`). A curve is the number of its `network`,
    its `seeds`, and its points of accuracy lost, in tenths, at evenly spaced L2 from 0 to `end`:
    `mean` over seeds, and, of several seeds, the `low`est and `high`est.
    """
    if not results.samples:
        return ""
    from leaderboard.figures.looks import label, looks
    from leaderboard.numbers.curves import caption, panels

    found = []
    everything: list[Panel] = []
    for dataset in dict.fromkeys(sample.dataset for sample in results.samples):
        drawn = panels(results.samples, dataset, results.attacks)
        everything += drawn
        look = looks((curve.backbone, curve.variant) for panel in drawn for curve in panel.curves)
        networks = [_network(label(net).strip(), own) for net, own in look.items()]
        attacks = [_attack(panel, look) for panel in drawn]
        found.append({"name": one_line(dataset), "networks": networks, "attacks": attacks})
    document = {"caption": caption(everything), "datasets": found}
    return json.dumps(document, separators=(",", ":"))


def _network(name: str, look: Look) -> dict[str, object]:
    color = "#" + "".join(f"{round(255 * part):02x}" for part in look.color)
    dashes = [] if isinstance(look.dash, str) else list(look.dash[1])
    return {"name": name, "color": color, "dash": dashes}


def _attack(panel: Panel, look: Looks) -> dict[str, object]:
    numbers = {net: number for number, net in enumerate(look)}
    return {
        "name": words(panel.attack),
        "end": float(panel.bounds[-1]),
        "images": sorted(panel.images),
        "curves": [_curve(one, numbers[one.backbone, one.variant]) for one in panel.curves],
    }


def _curve(curve: Curve, network: int) -> dict[str, object]:
    found: dict[str, object] = {"network": network, "seeds": curve.seeds}
    parts = {"mean": curve.mean, "low": curve.low, "high": curve.high}
    for name, points in parts.items():
        if name == "mean" or curve.seeds > 1:
            found[name] = _points(points)
    return found


def _points(points: Floats) -> list[int]:
    return [round(float(point) * _SCALE) for point in points[::_EVERY]]
