"""How a dataset is read, as words of a command line."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from genie_robo.command_line import write_setting
from genie_robo.config_file import plain
from genie_robo.data.settings import Source

_MAPPING = "cameras."


def source_words(source: Source, known: Mapping[str, Source]) -> str:
    """`data=NAME` for one of the known sources, else `data=rlds` and what differs from it."""
    for name, other in known.items():
        if other == source:
            return f"data={name}"
    default = dict(_flatten(plain(Source())))
    words = [
        write_setting(_key(name), value)
        for name, value in _flatten(plain(source))
        if default.get(name) != value
    ]
    return shlex.join(["data=rlds", *words])


def _key(name: str) -> str:
    """A new name in a mapping needs a +."""
    return f"{'+' if name.startswith(_MAPPING) else ''}data.source.{name}"


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
