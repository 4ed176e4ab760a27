"""What all settings classes share: required fields, and enums that may be given by name."""

from dataclasses import fields
from enum import StrEnum
from typing import Annotated, Any

REQUIRED: Any = "???"
"""Hydra refuses to start while a field still has this value."""

STRING_OR_LIST = "str|list of str"
StringOrList = Annotated[Any, STRING_OR_LIST]
"""A string or [STRING,STRING], which OmegaConf has no type for."""


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
