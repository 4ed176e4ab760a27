"""JSON and YAML of folders that others may have made, read within limits of size and depth."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import yaml

MAX_JSON_BYTES = 16_000_000
MAX_YAML_BYTES = 200_000
"""A run's configuration has about 5,000."""
MAX_DEPTH = 50
"""Levels of lists and mappings; a run's configuration has about seven."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_json(path: Path, *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no JSON, too large, or nested too deeply.
    """
    return parse_json(read_bytes(path, max_bytes=max_bytes))


def parse_json(text: str | bytes) -> Any:
    """The content of JSON text.

    Raises:
        ValueError: It is no JSON, or nested too deeply.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError(_too_deep()) from None
    level = _collections([content])
    for _ in range(MAX_DEPTH):
        level = [item for outer in level for item in _collections(outer)]
        if not level:
            return content
    raise ValueError(_too_deep())


def read_yaml_text(path: Path) -> str:
    """The text of a YAML file whose parser cannot multiply it: without anchors and aliases.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no text, too large, nested too deeply, or has an anchor or an alias.
        yaml.YAMLError: It is no YAML.
    """
    text = read_bytes(path, max_bytes=MAX_YAML_BYTES).decode()
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ValueError(
                f"line {event.start_mark.line + 1} has a YAML anchor or alias; write the value out"
            )
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(_too_deep())
    return text


def read_bytes(path: Path, *, max_bytes: int) -> bytes:
    """The content of a file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is too large, or a device or a pipe.
    """
    check_regular(path)
    with path.open("rb") as file:
        # Reading n bytes reserves n bytes, however small the file is.
        content = file.read(min(max_bytes, os.fstat(file.fileno()).st_size) + 1)
    if len(content) > max_bytes:
        raise ValueError(f"{path.name} has more than the {max_bytes:,} bytes that are read of it")
    return content


def check_regular(path: Path) -> None:
    """Refuse what must not be opened: reading a pipe or a device may never end.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is a folder, a device or a pipe.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path} is not a regular file")


def _collections(outer: dict[str, Any] | list[Any]) -> list[dict[str, Any] | list[Any]]:
    """The lists and mappings directly inside one."""
    inside = outer.values() if isinstance(outer, dict) else outer
    return [item for item in inside if isinstance(item, dict | list)]


def _too_deep() -> str:
    return f"it is nested more than {MAX_DEPTH} levels deep"
