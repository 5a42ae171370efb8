"""What a suite says of how efficiency is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, StrictBool, field_validator

from bench.errors import did_you_mean
from bench.measures.cost.modes import Mode
from bench.suite.recipe import Number, Strict, Whole
from bench.suite.words import shown


def _mode(value: Any) -> Any:
    """A mode as a suite has it, with mistakes in the words of one."""
    if value == "default":
        return {}
    if not isinstance(value, dict | Mode):
        wish = "must be `default` or a mapping such as {precision: bf16}"
        raise ValueError(f"{wish}, not {shown(value)}")
    for key in value if isinstance(value, dict) else ():
        if key not in Mode.model_fields:
            raise ValueError(f"unknown key '{key}'{did_you_mean(str(key), Mode.model_fields)}")
    return value


def _batch(value: Any) -> Any:
    """A number of images, or `largest`."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value == "largest" or (whole and 1 <= value < 2**31):
        return value
    raise ValueError(f"must be a whole number from 1 on, or `largest`, not {shown(value)}")


class Options(Strict):
    """Options of the measure in a suite.

    `batch_size` is that of the memory figures and of `images_per_second`; `batch_sizes` are further
    ones for the throughput, numbers or `largest`: the first of `limit`, limit/2, limit/4 ... that
    fits into memory. `modes` are ways to run the network (see `Mode`; `default` is fp32), a cell
    each. `seconds` are spent on each timing. `resident` also measures, on the CPU, the resident
    memory in fresh processes.
    """

    batch_size: Annotated[Whole, Field(ge=1)] = 128
    batch_sizes: tuple[Annotated[int | str, PlainValidator(_batch)], ...] = ()
    limit: Annotated[Whole, Field(ge=1)] = 4096
    modes: Annotated[tuple[Annotated[Mode, BeforeValidator(_mode)], ...], Field(min_length=1)] = (
        Mode(),
    )
    seconds: Annotated[Number, Field(gt=0)] = 0.5
    resident: StrictBool = True

    @field_validator("modes")
    @classmethod
    def _once(cls, modes: tuple[Mode, ...]) -> tuple[Mode, ...]:
        labels = [mode.label or "default" for mode in modes]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"mode {label} is there twice")
        return modes


@dataclass(frozen=True, slots=True)
class Task:
    """What one cell measures: a mode, and `counts`, which are the same in all of them."""

    options: Options
    mode: Mode
    counts: bool
