"""The words of a command line as Hydra's overrides: settings that are strings, as typed.

Hydra's grammar decides the type of a value by its spelling: 1.10 is a number, `#` an error. Here
the type of the setting decides: values of strings reach Hydra in quotes, all others as they are.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from genie_robo.command_line import is_list, is_quoted, quote_text, split_values
from genie_robo.commands.command import UsageError
from genie_robo.commands.settings import nested_dataclass
from genie_robo.commands.suite_settings import settings_class
from genie_robo.config_file import conf_dir
from genie_robo.settings import StringOrList

_SWEEP_FUNCTION = re.compile(r"(choice|sort|shuffle|tag)\(.*\)", re.DOTALL)


def to_overrides(words: Sequence[str], config: type, *, is_sweep: bool = False) -> list[str]:
    """Overrides for Hydra; in a sweep, commas separate values.

    Raises:
        UsageError: A word is not text.
    """
    return [_to_override(word, config, is_sweep=is_sweep) for word in words]


def type_at(config: Any, path: str) -> Any:
    """The type of a setting, also inside a mapping; None where there is no such setting."""
    names, suite = path.split("."), _suite_class(path)
    hint, names = (suite, names[2:]) if suite else (config, names)
    for name in names:
        section = nested_dataclass(hint)
        if section is not None:
            hint = get_type_hints(section, include_extras=True).get(name)
        else:
            hint = get_args(hint)[1] if get_origin(hint) is dict else None
    return hint


def _to_override(word: str, config: type, *, is_sweep: bool) -> str:
    if any("\ud800" <= character <= "\udfff" for character in word):
        shown = word.encode(errors="backslashreplace").decode()
        raise UsageError(f"{shown} is not text in UTF-8: rename the file or folder")
    key, equals, typed = word.partition("=")
    read = _reader(type_at(config, key.lstrip("+")))
    if not equals or read is None or (is_sweep and _SWEEP_FUNCTION.fullmatch(typed)):
        return word
    return f"{key}={','.join(map(read, split_values(typed) if is_sweep else [typed]))}"


def _suite_class(path: str) -> type | None:
    """The settings of `suite.NAME.KEY`, whose class only a YAML file names."""
    found = re.match(r"suite\.(\w+)\.", path)
    file = conf_dir() / "suite" / f"{found[1]}.yaml" if found else None
    if file is None or not file.exists():
        return None
    return settings_class(yaml.safe_load(file.read_text())["_target_"])


def _reader(hint: Any) -> Callable[[str], str] | None:
    """How the values of a type are read; None leaves them to Hydra."""
    if hint is str:
        return _read_text
    if hint == StringOrList:
        return lambda typed: _read_list(typed) if is_list(typed) else _read_text(typed)
    arguments = get_args(hint)
    if get_origin(hint) in (list, tuple) and arguments[0] is str:
        return _read_list
    if get_origin(hint) is dict and arguments == (str, str):
        return _read_mapping
    if set(arguments) == {str, NoneType}:
        return lambda typed: typed if typed == "null" else _read_text(typed)
    return None


def _read_text(typed: str) -> str:
    if is_quoted(typed):
        return typed
    is_home = typed == "~" or typed.startswith("~/")
    return quote_text(f"{Path.home()}{typed[1:]}" if is_home else typed)


def _read_list(typed: str) -> str:
    """`[A,B]`, or one string, which is a list of one."""
    if not is_list(typed):
        return f"[{_read_text(typed)}]"
    inside = typed[1:-1].strip()
    items = split_values(inside) if inside else []
    return f"[{','.join(_read_text(item.strip()) for item in items)}]"


def _read_mapping(typed: str) -> str:
    """`{NAME: TEXT, NAME: TEXT}`."""
    if not (typed.startswith("{") and typed.endswith("}")):
        return typed
    inside = typed[1:-1].strip()
    pairs = [item.partition(":") for item in split_values(inside)] if inside else []
    return "{" + ",".join(f"{key}:{_read_text(text.strip())}" for key, _, text in pairs) + "}"
