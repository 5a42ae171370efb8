"""Run Foolbox 2.4.0 on the oracle network, and keep what it finds.

Foolbox 2.4.0 cannot be installed beside Foolbox 3. Put it into a folder and name that:

    pip install --no-deps --target DIR foolbox==2.4.0
    export FOOLBOX2=DIR PYTHONPATH=tests
    python tests/attacks/oracle/run_foolbox2.py --out tests/attacks/oracle/golden.npz

Every image is attacked by itself with generators seeded for it, so that the same draws can be
replayed. For each attack and protocol: `l2` and the number of predictions (that of the clean
image left out).
"""

from __future__ import annotations

import argparse
import collections
import collections.abc
import logging
import os
import sys
import warnings
from typing import Any

import numpy as np
from mini_fashion import attacked
from oracle_net import trained

ATTACKS = {
    "contrast_reduction": "ContrastReductionAttack",
    "gaussian_blur": "GaussianBlurAttack",
    "shifts": "SpatialAttack",
    "spatial": "SpatialAttack",
    "additive_uniform": "AdditiveUniformNoiseAttack",
    "additive_gaussian": "AdditiveGaussianNoiseAttack",
    "blended_uniform": "BlendedUniformNoiseAttack",
    "salt_and_pepper": "SaltAndPepperNoiseAttack",
    "pointwise": "PointwiseAttack",
    "single_pixel": "SinglePixelAttack",
}
# Attacks for which the protocol makes a difference.
KEEPS_THE_BEST = ("blended_uniform", "salt_and_pepper", "pointwise")
COUNT = 120


def foolbox2() -> Any:
    """Foolbox 2.4.0, with what it needs of an older Python."""
    sys.path.insert(0, os.environ["FOOLBOX2"])
    for name in ("Iterable", "Mapping"):
        setattr(collections, name, getattr(collections.abc, name))
    warnings.simplefilter("ignore")
    logging.disable()
    import foolbox

    if not foolbox.__version__.startswith("2.4."):
        raise SystemExit(f"$FOOLBOX2 holds foolbox {foolbox.__version__}, not 2.4")
    return foolbox


def options(name: str) -> dict[str, Any]:
    """The defaults, said so that today's numpy computes as the numpy of that time."""
    if name in ("single_pixel", "salt_and_pepper", "pointwise", "spatial"):
        return {}
    if name == "shifts":
        return {"do_rotations": False}
    # A numpy float64 would make candidates float64; a Python float leaves them float32.
    return {"epsilons": np.linspace(0, 1, num=1001)[1:].tolist()}


def run(foolbox: Any, name: str, protocol: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """float64 n L2 distances (inf where nothing was found) and n numbers of predictions."""
    network = trained()
    clean, labels = (tensor.numpy() for tensor in attacked(network, count))
    model = foolbox.models.PyTorchModel(network, bounds=(0, 1), num_classes=10, device="cpu")
    distance = {"min-l2": foolbox.distances.MSE, "paper": foolbox.distances.Linfinity}[protocol]
    attack = getattr(foolbox.attacks, ATTACKS[name])(model, distance=distance)
    l2, asked = np.full(len(clean), np.inf), np.zeros(len(clean))
    for i in range(len(clean)):
        foolbox.set_seeds(i)
        one = slice(i, i + 1)
        (found,) = attack(clean[one], labels[one], unpack=False, **options(name))
        if found.perturbed is not None:
            l2[i] = np.linalg.norm((found.perturbed.astype(float) - clean[i]).ravel())
        asked[i] = found._total_prediction_calls - 1
    return l2, asked


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--attacks", nargs="+", default=list(ATTACKS))
    arguments = parser.parse_args()
    foolbox = foolbox2()
    found = {}
    for name in arguments.attacks:
        for protocol in ("min-l2", "paper") if name in KEEPS_THE_BEST else ("min-l2",):
            l2, asked = run(foolbox, name, protocol, arguments.count)
            found[f"{name}/{protocol}/l2"], found[f"{name}/{protocol}/evaluations"] = l2, asked
            print(
                f"{name:20s} {protocol:7s} median L2 {np.median(l2):.4f}, {asked.mean():.0f} asked"
            )
    np.savez_compressed(arguments.out, **found)


if __name__ == "__main__":
    main()
