"""What all settings classes share: required fields, bounds, and enums that may be given by name."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import field, fields, is_dataclass
from enum import StrEnum
from typing import Annotated, Any

REQUIRED: Any = "???"
"""Hydra refuses to start while a field still has this value."""

_FAR = 100_000
"""Upper bounds above this are far from what anybody sets."""

STRING_OR_LIST = "str|list of str"
StringOrList = Annotated[Any, STRING_OR_LIST]
"""A string or [STRING,STRING], which OmegaConf has no type for."""


class Precision(StrEnum):
    """Arithmetic of the networks; losses, norms and codebook distances stay in fp32."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


def take_names(settings: Any, section: str) -> None:
    """Let Python callers give enum members by name; call it first in `__post_init__`.

    Raises:
        ValueError: A name is not one of the members.
    """
    for item in fields(settings):
        kind = item.type
        if not (isinstance(kind, type) and issubclass(kind, StrEnum)):
            continue
        name = getattr(settings, item.name)
        if name not in tuple(kind):
            raise ValueError(f"{section}.{item.name}={name} is unknown; use {' or '.join(kind)}")
        object.__setattr__(settings, item.name, kind(name))


def bounded(default: Any, *, least: float | int, most: float | int) -> Any:
    """A field with a number, or numbers, of this range; `check_numbers` checks it.

    Upper bounds lie far above what anybody trains. They keep a configuration of unknown origin from
    taking all memory.
    """
    return field(default=default, metadata={"range": (least, most)})


def seed_field() -> Any:
    """A field with a seed that every random generator takes."""
    return bounded(0, least=0, most=2**63 - 1)


def check_numbers(settings: Any, section: str = "") -> None:
    """Check every number of nested settings against the bounds of its field.

    Raises:
        ValueError: One is out of range, or not a number at all.
    """
    for path, value, (least, most) in _numbers(settings, section):
        if not least <= value <= most:
            raise ValueError(f"{path}={value} must be {_range(value, least, most)}")


def _range(value: Any, least: Any, most: Any) -> str:
    """What a value that is out of range must be; a bound that is far away says nothing."""
    if most <= _FAR:
        return f"from {least:g} to {most:g}"
    return f"at most {most:g}" if value > most else f"at least {least:g}"


def _numbers(settings: Any, section: str) -> Iterator[tuple[str, Any, Any]]:
    """Path, value and range of every number."""
    for item in fields(settings):
        value, path = getattr(settings, item.name), f"{section}{item.name}"
        bounds = item.metadata.get("range", (-math.inf, math.inf))
        if is_dataclass(value):
            yield from _numbers(value, f"{path}.")
        elif isinstance(value, dict):
            nested = {name: inner for name, inner in value.items() if is_dataclass(inner)}
            for name, inner in nested.items():
                yield from _numbers(inner, f"{path}.{name}.")
        else:
            values = value if isinstance(value, Sequence) else (value,)  # letters are no numbers
            yield from ((path, n, bounds) for n in values if isinstance(n, int | float))
