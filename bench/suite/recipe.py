"""The training recipe: everything about training that a suite can say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, model_validator

from bench.suite.words import quoted_number, shown


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number, not {shown(value)}{quoted_number(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError("is too large a number") from None


def _whole(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be a whole number, not {shown(value)}{quoted_number(value)}")
    return value


def _choice(value: Any) -> Any:
    if not isinstance(value, bool) and value != "auto":
        raise ValueError(f"must be true, false or auto, not {shown(value)}")
    return value


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
# No count is near this limit: what is beyond it is a slip of the finger.
Whole = Annotated[int, BeforeValidator(_whole), Field(lt=2**31)]


class Strict(BaseModel):
    """Base of all suite models: unknown keys are refused and values do not change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Augment(Strict):
    """Augmentation of training images, drawn on the device for every image and epoch.

    `shift` is the largest shift as a fraction of the side, both axes, continuous, bilinear with
    replicated edges (the authors' code: 0.1). `flip` is the probability of a horizontal flip.
    `crop` cuts a random square of that side, after zero-padding by `crop_padding` on every side.
    `pca_jitter` is the standard deviation of the per-image PCA colour jitter (Imagenette: 0.1).
    Held-out and test images are taken as they are, but for `crop` without padding, which cuts the
    middle of held-out ones.
    """

    shift: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    flip: Annotated[Number, Field(ge=0, le=1)] = 0.0
    crop: Annotated[Whole, Field(ge=1)] | None = None
    crop_padding: Annotated[Whole, Field(ge=0)] = 0
    pca_jitter: Annotated[Number, Field(ge=0)] = 0.0

    def misfit(self, side: int) -> str | None:
        """What is wrong with `crop` for training images of this side (pixels); None if nothing."""
        padded = side + 2 * self.crop_padding
        if self.crop is None or self.crop <= padded:
            return None
        more = f", {padded} with crop_padding: {self.crop_padding}" if self.crop_padding else ""
        return f"crop: {self.crop} is larger than the training images ({side} pixels{more})"


class RecipeKeys(Strict):
    """How a network is trained; the defaults are the paper's (section 4 and its released code).

    `weight_decay` is PyTorch's (gradient += weight_decay * w), on kernels only; the paper's
    lambda, added to the loss as lambda * sum(w^2), is half of it. `lr` is the start value for
    "three-stage" (x0.1 at 50 % and 80 % of the epochs) and the peak for "one-cycle" (linear from
    lr/25 over the first 30 % of the steps, then a cosine to lr/25,000).
    `mean` is subtracted after scaling to [0, 1]: "per_pixel" or "per_channel" means of the whole
    training set; `test_mean: own` takes the test set's own mean for test images, as the authors
    did for Imagenette. `std` divides per channel. `bn_momentum` is PyTorch's (weight of the new
    batch); None keeps each network's own. A batch of `batch_size` that does not fit into memory is
    done in parts whose gradients add up to the same step, and the record says so; with batch
    normalisation, whose statistics would change, the training fails and says what to lower.

    `mode` is "deterministic" (the same bits on one machine: one CPU thread, deterministic kernels)
    or "fast" (all threads; on CUDA, kernels chosen by timing and a captured graph of the step);
    null means deterministic on the CPU and fast on CUDA. `precision` other than fp32 is autocast;
    "auto" is bf16 where the device computes it natively and the network is not narrow (half of its
    convolutions below 24 channels), else fp32. `channels_last: auto` is true.
    Both are fp32 and false for networks with code that is neither PyTorch's, torchvision's, timm's
    nor this project's: it may not stand them. What was used is recorded with each training. The
    paper's own: `{mode: deterministic, precision: fp32, channels_last: false}`.
    """

    epochs: Annotated[Whole, Field(ge=1)] = 30
    batch_size: Annotated[Whole, Field(ge=2)] = 128
    lr: Annotated[Number, Field(gt=0)] = 0.1
    schedule: Literal["three-stage", "one-cycle", "constant"] = "three-stage"
    momentum: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    nesterov: StrictBool = True
    weight_decay: Annotated[Number, Field(ge=0)] = 0.0
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    validation: Annotated[Number, Field(ge=0, lt=1)] = 0.1
    mean: Literal["none", "per_pixel", "per_channel"] = "none"
    test_mean: Literal["train", "own"] = "train"
    std: Literal["none", "per_channel"] = "none"
    augment: Augment = Augment()
    bn_momentum: Annotated[Number, Field(gt=0, le=1)] | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: Annotated[bool | Literal["auto"], BeforeValidator(_choice)] = "auto"
    mode: Literal["deterministic", "fast"] | None = None


class Recipe(RecipeKeys):
    """A recipe to train with: its keys fit together, which those of an override alone need not."""

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.nesterov and self.momentum == 0:
            raise ValueError("Nesterov needs momentum above 0; set nesterov: false")
        padding = self.augment.crop_padding
        if padding and self.augment.crop is None:
            raise ValueError(
                f"augment.crop_padding: {padding} does nothing without augment.crop; set that to "
                "the side to cut (that of the images, for random shifts), or crop_padding: 0"
            )
        return self

    def overridden(self, other: RecipeKeys) -> Recipe:
        """This recipe with the keys that `other` states explicitly (`augment` key by key).

        Raises:
            pydantic.ValidationError: the combination is not consistent.
        """
        given = {key: getattr(other, key) for key in other.model_fields_set}
        if "augment" in given:
            augment = {k: getattr(other.augment, k) for k in other.augment.model_fields_set}
            given["augment"] = self.augment.model_dump() | augment
        return Recipe.model_validate(self.model_dump() | given)
