"""Frozen settings as OmegaConf trees that can be overridden, and back.

OmegaConf makes every node of a frozen dataclass read-only, also nodes that an override adds later.
So trees are built from dataclasses with the same fields that are not frozen.
"""

from dataclasses import MISSING, Field, field, fields, is_dataclass, make_dataclass
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf

from genie_robo.settings import check_numbers

_FROZEN = "__frozen_settings__"


@cache
def editable(settings: type) -> type:
    """The same fields, types and defaults, not frozen; tuples become lists."""
    hints = get_type_hints(settings)
    members = [
        (item.name, _editable_hint(hints[item.name]), _copy(item)) for item in fields(settings)
    ]
    return make_dataclass(settings.__name__, members, namespace={_FROZEN: settings}, kw_only=True)


def to_tree(settings: Any) -> Any:
    """The tree of a settings class, or of an instance of one."""
    return OmegaConf.structured(
        editable(settings) if isinstance(settings, type) else _thaw(settings)
    )


def from_tree(tree: Any) -> Any:
    """The settings that a tree describes; their classes check them.

    Raises:
        MissingMandatoryValue: A required setting has no value.
        ValueError: Settings contradict each other, or a number is out of range.
    """
    settings = _freeze(OmegaConf.to_object(tree))
    if is_dataclass(settings):
        check_numbers(settings)
    return settings


def _editable_hint(hint: Any) -> Any:
    if is_dataclass(hint):
        return editable(hint)  # pyright: ignore[reportArgumentType]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is None:
        return hint
    inner = tuple(_editable_hint(argument) for argument in arguments)
    if origin in (Union, UnionType):
        return Union[inner]  # noqa: UP007 (the members are known at run time only)
    return list[inner[0]] if origin is tuple else origin[inner]


def _copy(item: Field[Any]) -> Any:
    if item.default_factory is not MISSING:
        make = item.default_factory
        return field(default_factory=lambda: _thaw(make()))
    if item.default is not MISSING:
        return field(default_factory=lambda: _thaw(item.default))
    return field()


def _thaw(value: Any) -> Any:
    if is_dataclass(value):
        values = {item.name: _thaw(getattr(value, item.name)) for item in fields(value)}
        return editable(type(value))(**values)
    if isinstance(value, dict):
        return {key: _thaw(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_thaw(inner) for inner in value]
    return value


def _freeze(value: Any, hint: Any = None) -> Any:
    if is_dataclass(value):
        settings = getattr(type(value), _FROZEN)
        hints = get_type_hints(settings)
        names = [item.name for item in fields(settings)]
        return settings(**{name: _freeze(getattr(value, name), hints[name]) for name in names})
    if isinstance(value, dict):
        return {key: _freeze(inner) for key, inner in value.items()}
    if isinstance(value, list):
        items = [_freeze(inner) for inner in value]
        return tuple(items) if get_origin(hint) is tuple else items
    return value
