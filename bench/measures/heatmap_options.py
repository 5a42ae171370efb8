"""The options that measures of class activation maps share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bench.errors import BenchError
from bench.measures.base import Item
from bench.suite.recipe import Whole


class HeatmapOptions(BaseModel):
    """How heatmaps are made, and of which images.

    `method` is "paper", "grad-cam", "grad-cam++", "hires-cam" or "layer-cam"; `score` what is
    differentiated ("probability" by default for "paper", else "logit"); `layers` are "last" or
    names of feature maps, such as `act_1`. `samples` images, class-balanced and drawn with
    `subset_seed`, are the same for every network. `batch_size` bounds memory and is halved where
    it does not fit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["paper", "grad-cam", "grad-cam++", "hires-cam", "layer-cam"] = "paper"
    score: Literal["logit", "probability"] | None = None
    layers: Annotated[tuple[str, ...], Field(min_length=1)] = ("last",)
    samples: Annotated[Whole, Field(ge=0)] = 0
    subset_seed: Annotated[Whole, Field(ge=0, lt=2**31)] = 0
    batch_size: Annotated[Whole, Field(ge=1)] = 256

    @field_validator("layers")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for number, name in enumerate(value):
            if name in value[:number]:
                raise ValueError(f"'{name}' is there twice")
            if name == "all":
                raise ValueError("name the layers one by one, or 'last': networks differ in theirs")
        return value


Given = TypeVar("Given", bound=HeatmapOptions)


@dataclass(frozen=True, slots=True)
class LayerTask(Generic[Given]):
    """One layer with everything that is needed to judge it."""

    layer: str
    options: Given


def layer_items(options: HeatmapOptions) -> list[Item]:
    """One cell per layer, without a label where there is but one; the batch size is not in its
    key."""
    shared = options.model_dump(mode="json", exclude={"batch_size", "layers"})
    return [
        Item(
            layer.replace(" ", "_") if len(options.layers) > 1 else None,
            {**shared, "layer": layer},
            LayerTask(layer, options),
        )
        for layer in options.layers
    ]


def differentiated(options: HeatmapOptions) -> Literal["logit", "probability"]:
    """The score whose gradient makes the maps."""
    return options.score or ("probability" if options.method == "paper" else "logit")


def undefined_because(options: HeatmapOptions) -> str:
    """What maps may be that are 0/0: "dead or constant"."""
    # The others cut off what is below zero before they look at the rest.
    kinds = ["dead"] if options.method == "paper" else ["dead", "without a positive value"]
    return f"{', '.join(kinds)} or constant"


def no_map(layer: str, options: HeatmapOptions) -> BenchError:
    """What to say where not one heatmap has a value."""
    why = f"every heatmap of layer '{layer}' is 0/0: the map is {undefined_because(options)}"
    if differentiated(options) == "logit":
        return BenchError(f"{why}; try another layer or method")
    return BenchError(
        f"{why}, or the probabilities are saturated; try `score: logit` or another layer"
    )


def said(options: HeatmapOptions) -> str:
    """The maps in words: "Grad-CAM (paper's variant) of the probability at the last layer"."""
    names = {
        "paper": "Grad-CAM in the paper's variant",
        "grad-cam": "Grad-CAM",
        "grad-cam++": "Grad-CAM++",
        "hires-cam": "HiResCAM",
        "layer-cam": "LayerCAM",
    }
    score = differentiated(options)
    where = ", ".join(layer for layer in options.layers)
    return f"{names[options.method]} of the predicted class's {score} at feature map {where}"
