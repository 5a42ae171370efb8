"""The front door: a network from a name."""

from __future__ import annotations

from typing import Any

from arches.backbones import declaration
from arches.declaration import Backbone
from arches.network import Network
from arches.options import Options
from arches.topdown import plan_network


def create(
    name: str | Backbone,
    variant: str = "bu",
    in_chans: int = 3,
    num_classes: int = 10,
    **options: Any,
) -> Network:
    """Build a network with fresh weights, drawn from torch's random state.

    Args:
        name: of a backbone (:func:`arches.names`), or a declaration of your own.
        variant: one of :data:`arches.VARIANTS`.
        in_chans: channels of the image. The paper has 1 for ``lenet_fc`` and ``nin_light``, 3 for
            the others.
        num_classes: number of logits.
        **options: see :class:`arches.options.Options`.

    Returns:
        A module that maps N x in_chans x H x W to logits N x num_classes.

    Raises:
        ValueError: for a wrong name, variant, number or option; the message names the choices.
    """
    chosen = Options.parse(options)
    return Network(plan_network(declaration(name), variant, in_chans, num_classes, chosen), chosen)
