"""User classes in place of built-in parts: `package.module:Class`."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Context = TypeVar("Context")
T = TypeVar("T")


def find_plug(
    name: str, known: Mapping[str, Callable[[Context], Any]], *, setting: str
) -> Callable[[Context], Any]:
    """The function that builds a named part: a built-in one, or a user's class.

    A class is built by its class method `from_context(context)` if it has one, else without
    arguments.

    Raises:
        ValueError: No such name, module or class.
    """
    if name in known:
        return known[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ValueError(
            f"{setting}={name} is not known; choose one of {', '.join(known)}, or give your own as "
            "package.module:Class"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{setting}={name} cannot be imported: {error}; give package.module:Class with a "
            "module that Python finds, for example through PYTHONPATH"
        ) from error
    return getattr(found, "from_context", None) or (lambda _: found())


def checked_plug(built: Any, protocol: type[T], *, name: str, methods: str) -> T:
    """The built object, checked against its protocol.

    Raises:
        ValueError: It lacks a method of the protocol.
    """
    if not isinstance(built, protocol):
        raise ValueError(
            f"{name} is a {type(built).__name__} without {methods}; {protocol.__name__} in "
            f"{protocol.__module__.replace('.', '/')}.py lists what it needs"
        )
    return built
