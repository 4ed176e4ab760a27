"""The settings of a command, read from its dataclass: path, type, default and meaning."""

import ast
import dataclasses
import inspect
import itertools
import types
import typing
from collections import ChainMap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from genie_robo.settings import STRING_OR_LIST, StringOrList


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One field that can be overridden on the command line."""

    path: str
    """Dotted, as it is written on the command line."""
    type_name: str
    meaning: str
    """First paragraph of the docstring below the field; empty where the name says it all."""
    is_section: bool = False
    """True for a nested dataclass; its fields follow as settings of their own."""
    is_optional: bool = False
    """True for a section that is left out until a config group fills it."""
    is_open: bool = False
    """True for a mapping that takes keys of its own."""


def list_settings(config: type, prefix: str = "") -> list[Setting]:
    """Every setting of a configuration dataclass, sections before their fields."""
    found = []
    meanings = field_meanings(config)
    hints = typing.get_type_hints(config, include_extras=True)
    for field in dataclasses.fields(config):
        path, hint = f"{prefix}{field.name}", hints[field.name]
        nested = nested_dataclass(hint)
        found.append(
            Setting(
                path=path,
                type_name=describe_type(hint),
                meaning=meanings.get(field.name) or _first_line(nested or hint),
                is_section=nested is not None,
                is_optional=nested is not None and nested is not hint,
                is_open=typing.get_origin(hint) is dict,
            )
        )
        if nested:
            found += list_settings(nested, f"{path}.")
    return found


@cache
def field_meanings(config: type) -> dict[str, str]:
    """First paragraph of the docstring below each field that has one, inherited ones included."""
    bases = filter(dataclasses.is_dataclass, config.__bases__)
    tree = ast.parse(inspect.getsource(config).strip())
    assert isinstance(tree.body[0], ast.ClassDef)
    body = tree.body[0].body
    own = {
        name: " ".join(text.strip().split("\n\n")[0].split())
        for statement, following in itertools.pairwise(body)
        for name, text in _documented(statement, following)
    }
    return dict(ChainMap(own, *map(field_meanings, bases)))


def describe_type(hint: Any) -> str:
    """A type as a user writes its values: `int`, `auto|cpu|cuda`, `list of str`."""
    if nested := nested_dataclass(hint):
        return nested.__name__
    if hint == StringOrList:
        return STRING_OR_LIST
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (list, tuple):
        return f"list of {describe_type(arguments[0])}"
    if origin is dict:
        return "mapping"
    if origin in (typing.Union, types.UnionType):
        return "|".join("null" if a is type(None) else describe_type(a) for a in arguments)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "|".join(member.name for member in hint)
    return getattr(hint, "__name__", str(hint))


def _documented(statement: ast.stmt, following: ast.stmt) -> Iterator[tuple[str, str]]:
    match statement, following:
        case (
            ast.AnnAssign(target=ast.Name(id=name)),
            ast.Expr(value=ast.Constant(value=str(text))),
        ):
            yield name, text


def nested_dataclass(hint: Any) -> type | None:
    """The dataclass in `Nested` or `Nested | None`, if there is one."""
    candidates = [hint, *typing.get_args(hint)] if not _is_container(hint) else []
    return next((c for c in candidates if dataclasses.is_dataclass(c)), None)  # pyright: ignore


def _is_container(hint: Any) -> bool:
    return typing.get_origin(hint) in (list, dict, tuple)


def _first_line(hint: Any) -> str:
    """The docstring of a dataclass or an enum of ours."""
    if dataclasses.is_dataclass(hint) or (isinstance(hint, type) and issubclass(hint, Enum)):
        return (inspect.getdoc(hint) or "").split("\n")[0]
    return ""
