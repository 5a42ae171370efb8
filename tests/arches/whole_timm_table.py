"""Parameters, MACs and activations of every model of a table that timm publishes against ours.

    python tests/arches/whole_timm_table.py TABLE.csv [GLOB]

TABLE is `results/benchmark-infer-*.csv` of timm's repository, at best of the installed version's
time: models change. Prints what differs by more than 1 %, beside the rounding of the table. About
a quarter of an hour for 1,300 models and 40 GB of memory for the largest; GLOB chooses some.
"""

from __future__ import annotations

import csv
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import timm
import torch
from torch import nn

from arches.analysis.operations import count_operations
from bench.models.deployed import deployed

COLUMNS = {"param_count": "M parameters", "infer_gmacs": "GMACs", "infer_macts": "M activations"}


def model(name: str, side: int) -> nn.Module:
    """The model for images of that side; its kind may not have to know it."""
    try:
        return timm.create_model(name, img_size=side).eval()
    except TypeError:
        return timm.create_model(name).eval()


def differences(row: dict[str, str]) -> list[str]:
    side = int(row["infer_img_size"])
    network = deployed(model(row["model"], side), torch.zeros(1, 3, side, side))
    found = count_operations(network, (3, side, side))
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    values = millions, found.macs / 1e9, found.activations / 1e6
    return [
        f"{value:.2f} {unit}, published {row[column]}"
        for (column, unit), value in zip(COLUMNS.items(), values, strict=True)
        if abs(value - float(row[column])) > 0.01 * float(row[column]) + 0.005
    ]


def main(table: Path, chosen: str = "*") -> None:
    with table.open(encoding="utf-8") as stream:
        rows = {row["model"]: row for row in reversed(list(csv.DictReader(stream)))}
    known = [row for name, row in rows.items() if timm.is_model(name) and fnmatchcase(name, chosen)]
    agree = 0
    for row in sorted(known, key=lambda row: float(row["param_count"])):
        if found := differences(row):
            print(f"{row['model']} at {row['infer_img_size']}: {'; '.join(found)}", flush=True)
        else:
            agree += 1
    print(f"{agree} of {len(known)} models agree within 1 % in all three")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
