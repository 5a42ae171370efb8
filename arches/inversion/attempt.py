"""One line of the support matrix: a name, a variant, and what became of it."""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass

import torch
from torch import nn

from arches.inversion.errors import InversionError
from arches.inversion.flops import Estimate, estimate
from arches.inversion.invert import invert

OK, NATIVE, UNSUPPORTED = "ok", "native size only", "unsupported"

_FINAL = ("isotropic", "state between stages", "not faithful", "grows")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the matrix.

    Attributes:
        name: as :func:`arches.invert` takes it.
        family: module of the library that defines the model.
        kind: of network, such as ``conv``.
        variant: ``bu``, ``td``, ``td_uni`` or ``td_rev``.
        status: ``ok``, ``native size only`` or ``unsupported``.
        reason: why, where it is not ``ok``: a short name, a colon, and the message.
        image_size: side in pixels at which it was run forward and backward; 0 where it was not.
        parameters: over those of ``bu``; empty where it was not run.
        flops: likewise.
    """

    name: str
    family: str
    kind: str
    variant: str
    status: str
    reason: str = ""
    image_size: int = 0
    parameters: str = ""
    flops: str = ""

    def cells(self) -> list[str]:
        """Texts in the order of the columns."""
        return [str(value) for value in asdict(self).values()]


COLUMNS = tuple(Row.__dataclass_fields__)


def attempt(name: str, family: str, kind: str, variants: list[str], size: int = 64) -> list[Row]:
    """Build, check and measure a model in each variant.

    Args:
        name: as :func:`arches.invert` takes it.
        family: for the rows.
        kind: for the rows.
        variants: to try.
        size: side in pixels to try first; then that of the model's own images.
    """
    rows: list[Row] = []
    plain: dict[int, Estimate | None] = {}
    for variant in variants:
        status, reason, used = UNSUPPORTED, "", 0
        ratios: dict[str, float] = {}
        for side in dict.fromkeys((size, _native_size(name))):
            try:
                network = invert(name, variant, image_size=side)
                if variant == "bu":
                    _run(network, side)
                if side not in plain:
                    plain[side] = _cost(name, side)
                ratios = _ratios(network, plain[side], side)
            except Exception as error:  # whatever a model raises is an answer
                reason = reason or _reason(error)
                if isinstance(error, InversionError) and error.reason in _FINAL:
                    break
                continue
            status, used = (OK if side == size else NATIVE), side
            break
        numbers = [f"{ratios[key]:.3g}" if key in ratios else "" for key in ("parameters", "flops")]
        rows.append(
            Row(name, family, kind, variant, status, "" if status == OK else reason, used, *numbers)
        )
    return rows


def _reason(error: Exception) -> str:
    short = getattr(error, "reason", type(error).__name__)
    return f"{short}: {' '.join(str(error).split())[:200]}"


def _native_size(name: str) -> int:
    home, _, rest = name.partition("/")
    if home != "timm":
        return 299 if rest == "inception_v3" else 224
    settings = importlib.import_module("timm.models").get_pretrained_cfg(rest)
    return int(settings.input_size[-1]) if settings is not None and settings.input_size else 224


def _run(network: nn.Module, side: int) -> None:
    logits = network.train()(torch.randn(2, 3, side, side))
    logits.sum().backward()
    network.zero_grad(set_to_none=True)


def _cost(name: str, side: int) -> Estimate | None:
    """What the model itself costs at that size, if it runs there."""
    try:
        return estimate(invert(name, "bu", image_size=side), side)
    except Exception:  # some models read values while they run, which the meta device lacks
        return None


def _ratios(network: nn.Module, plain: Estimate | None, side: int) -> dict[str, float]:
    try:
        own = estimate(network, side)
    except Exception:  # as above
        return {}
    return {} if plain is None else own.over(plain)
