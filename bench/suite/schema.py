"""The shape of a suite. It may grow but not change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    StrictBool,
    ValidationInfo,
    field_validator,
    model_validator,
)

from bench.suite import units
from bench.suite.recipe import Number, Recipe, RecipeKeys, Strict, Whole
from bench.suite.words import as_whole_numbers, shown

Variant = Literal["bu", "td", "td_uni", "td_rev"]
_PART = r"[A-Za-z0-9][A-Za-z0-9._+:=-]*"
_LABEL = re.compile(rf"{_PART}(/{_PART})*")
# Names and labels become names of files and folders.
LONGEST = 100
# Trials of one network: what is beyond this is a slip of the finger in a grid.
MOST_TRIALS = 1000


def as_label(name: str) -> str:
    """The nearest text to `name` that can be a part of a label."""
    return re.sub(r"[^A-Za-z0-9._+=-]", "-", name).lstrip("._+=-")[:LONGEST] or "unnamed"


def _meant(value: dict[Any, Any]) -> str:
    """A hint where somebody wrote `lenet_fc: {merge: add}`, as measures are written."""
    (key, options), *more = value.items() or ((None, None),)
    if more or not isinstance(key, str) or not (options is None or isinstance(options, dict)):
        return ""
    inside = "".join(f", {option}: ..." for option in options or ())
    return f": {{name: {key}{inside}}}"


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _short_enough(value: str) -> str:
    if len(value) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
    return value


class Reference(Strict):
    """Something from a registry: its name, the label it is shown under, and its options.

    In YAML a plain name, or a mapping with `name`, optionally `label`, and options beside them.
    """

    name: str
    label: str
    options: dict[str, Any] = Field(default_factory=dict)
    # Whether the label is one of the parts of a cell's name, `dataset/backbone/...`: then a / in
    # it, other than in a model's own name, would make two networks look like one.
    one_part: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, dict):
            raise ValueError(
                f"must be a name, or a mapping with a name and options, not {shown(value)}"
            )
        name = value.get("name")
        if not isinstance(name, str) or not name.strip():
            what = f", not {shown(name)}" if "name" in value else _meant(value)
            raise ValueError(f"needs a `name:` that is text{what}")
        known = {"name", "label", *cls.model_fields} - {"options"}
        found = {key: item for key, item in value.items() if key in known}
        found.setdefault("label", cls.default_label(value["name"]))
        found["options"] = {key: item for key, item in value.items() if key not in known}
        return found

    @classmethod
    def default_label(cls, name: str) -> str:
        """The label where the suite gives none: the name itself, `module:attr` as `attr`."""
        tail = name.rpartition(":")[2]
        return tail if _LABEL.fullmatch(tail) else as_label(tail)

    @field_validator("label")
    @classmethod
    def _safe(cls, value: str, info: ValidationInfo) -> str:
        # Labels become cell names and file names; they must not be able to leave a folder.
        slash = "" if cls.one_part else "/ "
        inner = cls.one_part and "/" in value and value != cls.default_label(info.data["name"])
        if inner or not _LABEL.fullmatch(value):
            raise ValueError(
                f"{shown(value)} cannot be a label: use letters, digits and . _ + : {slash}= - "
                f"only, with a letter or digit first{', also behind each /' if slash else ''}"
            )
        return _short_enough(value)


class DatasetRef(Reference):
    """A data set; `imagefolder:PATH` and `parquet:PATH` are named after their folder."""

    @classmethod
    def default_label(cls, name: str) -> str:
        """`parquet:/x/cifar10` becomes `parquet:cifar10`, for nobody should take it for the set."""
        scheme, colon, rest = name.partition(":")
        if colon and scheme in ("imagefolder", "parquet"):
            return f"{scheme}:{as_label(Path(rest).name)}"
        return super().default_label(name)


class BackboneRef(Reference):
    """A backbone, perhaps for some data sets only, perhaps with weights of its own.

    `allow_cost` lets an inverted network be far dearer than its bottom-up one, `variants` and
    `seeds` narrow the suite's. `weights` is a file, or one per seed; then nothing is trained.
    """

    datasets: tuple[str, ...] | None = None
    variants: tuple[Variant, ...] | None = None
    seeds: tuple[Whole, ...] | None = None
    allow_cost: StrictBool = False
    weights: tuple[str, ...] | None = None

    @field_validator("weights", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("datasets", "variants", "seeds", "weights")
    @classmethod
    def _not_empty(cls, value: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if value is not None and not value:
            raise ValueError("is empty; leave the key out or name at least one")
        return value


class AttackRef(Reference):
    """An attack with its options."""

    one_part = False


class MeasureRef(Strict):
    """A measure: a plain name, or `name: {options}`.

    Beside the options may stand `only`, a glob or several: the `dataset/backbone/variant`
    combinations that are measured.
    """

    name: str
    only: tuple[str, ...] = ("*",)
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and len(value) == 1:
            ((name, options),) = value.items()
            if options is None or isinstance(options, dict):
                options = dict(options or {})
                only = options.pop("only", ["*"])
                if isinstance(only, str):
                    only = [only]
                if not isinstance(only, list) or not only or not all(map(_is_text, only)):
                    raise ValueError(
                        f"`only` must be a glob such as 'mnist/*', or a list of globs, not "
                        f"{only if isinstance(only, list) else shown(only)}"
                    )
                return {"name": name, "options": options, "only": only}
            raise ValueError(
                f"the options of '{name}' must be a mapping, as in `robustness: {{samples: 200}}`, "
                f"not {shown(options)}"
            )
        raise ValueError("must be a name, or one name with options, as in `robustness: {...}`")


class Override(Strict):
    """Recipe values for the `dataset/backbone/variant` combinations that `match` (a glob) fits."""

    match: str
    recipe: RecipeKeys


class GateThreshold(Strict):
    """How much worse a number may become before `bench check` calls it a regression.

    `delta` is in the metric's unit (points of accuracy), `relative` a share (0.1 is 10 %). `margin`
    is the loss that a pass excludes, in the same unit, where that is to be more than the other.
    `reference` is a network of the suite (`dataset/backbone/variant`) that speeds are divided by,
    `ignore` leaves a number out.
    """

    delta: Annotated[Number, Field(gt=0)] | None = None
    relative: Annotated[Number, Field(gt=0)] | None = None
    margin: Annotated[Number, Field(gt=0)] | None = None
    reference: str | None = None
    ignore: StrictBool = False

    @model_validator(mode="after")
    def _one(self) -> GateThreshold:
        if self.delta is not None and self.relative is not None:
            raise ValueError("give delta or relative, not both")
        return self


class Tune(Strict):
    """A search over recipe values, the same for each `dataset/backbone/variant` that `match` fits.

    `values` gives for every recipe key that is searched a list, or, in a random search, a range
    (`{uniform: [a, b]}`, `{log_uniform: [a, b]}`). A grid tries every combination; a random search
    draws `trials` of them. `seed` is that of the draws and of the trials' trainings. `epochs`
    gives trials a schedule of their own. What is in `values` is read by `bench.suite.search`.
    """

    search: Literal["grid", "random"] = "grid"
    trials: Annotated[Whole, Field(ge=1, le=MOST_TRIALS)] | None = None
    seed: Annotated[Whole, Field(ge=0)] = 0
    epochs: Annotated[Whole, Field(ge=1)] | None = None
    match: str = "*"
    values: dict[str, Any]

    @field_validator("values")
    @classmethod
    def _not_empty(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not value:
            raise ValueError("is empty; name at least one recipe key, as in {lr: [0.1, 0.05]}")
        return value


class Suite(Strict):
    """datasets x backbones x variants x seeds, one recipe with overrides, and what to measure.

    `timeout` (seconds, or text like `30m`) and `memory` (like `8GiB`, resident memory of the
    process and its children, on Linux without files that they map) are what one cell may take.
    `claims` are read by `bench.suite.claims`.
    """

    name: str
    description: str = ""
    seeds: tuple[Annotated[Whole, Field(ge=0)], ...]
    datasets: tuple[DatasetRef, ...]
    backbones: tuple[BackboneRef, ...]
    variants: tuple[Variant, ...] = ("bu",)
    recipe: Recipe = Recipe()
    overrides: tuple[Override, ...] = ()
    tune: Tune | None = None
    measures: tuple[MeasureRef, ...]
    gate: dict[str, GateThreshold] = Field(default_factory=dict)
    claims: Any = None
    timeout: Annotated[float, BeforeValidator(units.seconds)] | None = None
    memory: Annotated[int, BeforeValidator(units.size)] | None = None

    @field_validator("name")
    @classmethod
    def _file_name(cls, value: str) -> str:
        # The name is also the default run directory.
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
            raise ValueError(
                f"{shown(value)} cannot be a name: use letters, digits and . _ - only, "
                "with a letter or digit first"
            )
        return _short_enough(value)

    @field_validator("seeds", "datasets", "backbones", "variants", "measures", mode="before")
    @classmethod
    def _a_list(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, list):
            hint = "" if isinstance(value, dict) or value is None else f"; write [{value}]"
            if info.field_name == "seeds" and isinstance(value, str):
                hint = f"; {as_whole_numbers(value)}"
            raise ValueError(f"must be a list, not {shown(value)}{hint}")
        if not value:
            raise ValueError("is empty; name at least one")
        return value
