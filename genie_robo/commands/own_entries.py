"""Choices of a user's own: `--config-dir FOLDER` makes FOLDER/data/NAME.yaml a dataset by name.

The files may come from anybody. They hold values alone: nothing in them names code to run, reads
the environment or configures Hydra.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from genie_robo import config as cfg
from genie_robo.commands.command import UsageError
from genie_robo.config_file import conf_dir
from genie_robo.config_tree import to_tree
from genie_robo.stored_files import read_yaml_text

_SCHEMAS = {
    "data": cfg.DataConfig,
    "model": cfg.ModelConfig,
    "engine": cfg.EngineConfig,
    "optim": cfg.OptimConfig,
    "experiment": cfg.DemoConfig,
    "variant": cfg.DemoConfig,
}
"""The settings that a file of each folder has."""
_GLOBAL = ("experiment", "variant")
"""Folders whose files have settings of all kinds, not of one section."""
_PROVIDER = "--config-dir"
_MOST_FILES = 1000
_DEFAULTS = "defaults"
_PACKAGE = re.compile(r"^\s*#\s*@\s*package\b\s*:?\s*(\S*)", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z]\w*(-\w+)*")
_RESERVED = ("own", "null", "true", "false", "inf", "nan")
"""Names that mean something else on a command line; `own` is data.path=FOLDER alone."""
_CHOICE = re.compile(rf"(override )?/?({'|'.join([*_SCHEMAS, 'suite'])})(@[\w.]+)?")
_REFERENCE = re.compile(r"(?<!\\)(?:\\\\)*\$\{.*:", re.DOTALL)
"""A reference that has a colon behind it, as all of those that call a function have."""
_CODE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""package.module:Class."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One YAML file that can be chosen as GROUP=NAME."""

    group: str
    name: str
    content: Mapping[str, Any]


def read_entries(folder: Path) -> list[Entry]:
    """The YAML files of FOLDER/data, FOLDER/model and so on, all checked.

    Raises:
        UsageError: There is no such folder, it holds none, or a file cannot be taken; names it.
    """
    if not folder.is_dir():
        raise UsageError(
            f"--config-dir {folder} is no folder. Name one that holds data/NAME.yaml, such as "
            "`genie-robo inspect path=DATASET write=FOLDER/data/NAME.yaml` writes it"
        )
    files = [file for group in _SCHEMAS for file in sorted((folder / group).glob("*.yaml"))]
    if not files:
        raise UsageError(
            f"--config-dir {folder} holds no choices: name the folder above them, which has "
            f"data/NAME.yaml ({', '.join(_SCHEMAS)} are possible)"
        )
    if len(files) > _MOST_FILES:
        raise UsageError(f"--config-dir {folder} holds {len(files)} files; at most {_MOST_FILES}")
    if suites := sorted((folder / "suite").glob("*.yaml")):
        raise UsageError(
            f"{suites[0]} cannot be taken: a suite is code, so its file belongs to the package, "
            "see docs/architecture.md"
        )
    return [_read_entry(file) for file in files]


def stored_names(group: str) -> list[str]:
    """The names of a group that Hydra finds because of --config-dir."""
    stored = ConfigStore.instance().repo.get(group, {}).values()
    return sorted(node.name.removesuffix(".yaml") for node in stored if node.provider == _PROVIDER)


@contextmanager
def own_entries(entries: Sequence[Entry]) -> Iterator[None]:
    """Let Hydra find these entries as long as the block lasts."""
    repo = ConfigStore.instance().repo
    for entry in entries:
        ConfigStore.instance().store(
            name=entry.name,
            node=dict(entry.content),
            group=entry.group,
            package="_global_" if entry.group in _GLOBAL else None,
            provider=_PROVIDER,
        )
    try:
        yield
    finally:
        for entry in entries:
            del repo[entry.group][f"{entry.name}.yaml"]


def names_by_group(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """The names of all entries, by group."""
    found = defaultdict(list)
    for entry in entries:
        found[entry.group].append(entry.name)
    return dict(found)


def _read_entry(file: Path) -> Entry:
    group, name = file.parent.name, file.stem
    try:
        if problem := name_problem(group, name):
            raise ValueError(problem)
        text = read_yaml_text(file)
        content = OmegaConf.to_container(OmegaConf.load(StringIO(text)))
        if not isinstance(content, dict):
            raise ValueError("it is no mapping of settings")
        _check_package(text, group)
        _check_texts(content, names_code=group in _GLOBAL)
        given = {str(key): value for key, value in content.items()}
        _check_defaults(given.get(_DEFAULTS, []))
        _check_fit(group, {key: value for key, value in given.items() if key != _DEFAULTS})
    except (ValueError, YAMLError, OmegaConfBaseException, OSError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{file} cannot be taken: {reason}") from error
    return Entry(group, name, given)


def name_problem(group: str, name: str) -> str:
    """Why a name cannot be chosen as GROUP=NAME; empty where it can."""
    if (conf_dir() / group / f"{name}.yaml").exists():
        return f"{group}={name} is a choice of genie_robo, which it would hide; rename the file"
    if not _NAME.fullmatch(name) or name.lower() in _RESERVED:
        return f"{name!r} is no name: take letters, digits, _ and -, and begin with a letter"
    return ""


def _check_package(text: str, group: str) -> None:
    """Refuse to set other sections than that of the group."""
    for package in _PACKAGE.findall(text):
        if group not in _GLOBAL or package != "_global_":
            raise ValueError(
                f"`@package {package}` would set other settings than {group}; leave the line out"
            )


def _check_texts(content: Mapping[Any, Any], *, names_code: bool) -> None:
    """Refuse whatever would run code, read the environment or configure Hydra.

    `names_code` says that some of these settings take package.module:Class.
    """
    for place, text, is_key in _texts(content):
        if is_key and re.fullmatch(r"_\w+_", text):
            raise ValueError(f"the key {place} is not allowed: it would run code")
        if is_key and re.split(r"[./@]", text)[0] == "hydra":
            raise ValueError(f"the key {place} is not allowed: it configures Hydra")
        if _REFERENCE.search(text):
            raise ValueError(
                f"{place}: {text!r} calls a function; ${{SETTING}} may refer to another setting, "
                "in a text without a colon behind it"
            )
        if names_code and _CODE.fullmatch(text):
            raise ValueError(f"{place}: {text!r} names code to run; give it on the command line")


def _texts(content: Any, place: str = "") -> Iterator[tuple[str, str, bool]]:
    """Place and text of every key and every string, and whether it is a key."""
    if isinstance(content, str):
        yield place, content, False
    elif isinstance(content, dict):
        for key, value in content.items():
            inside = f"{place}.{key}" if place else str(key)
            yield inside, str(key), True
            yield from _texts(value, inside)
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from _texts(value, f"{place}[{number}]")


def _check_defaults(defaults: Any) -> None:
    """Refuse all but names of the same group, and choices of the groups that there are."""
    for item in defaults if isinstance(defaults, list) else [defaults]:
        choices = item if isinstance(item, dict) else {"data": item}
        names = [name for chosen in choices.values() for name in _as_list(chosen)]
        if not (
            all(isinstance(key, str) and _CHOICE.fullmatch(key) for key in choices)
            and all(name in (None, "_self_") or _is_name(name) for name in names)
        ):
            raise ValueError(
                f"defaults: {item} is not allowed; take names, and choices such as "
                f"`override /model: NAME` of {', '.join([*_SCHEMAS, 'suite'])}"
            )


def _as_list(chosen: Any) -> list[Any]:
    return chosen if isinstance(chosen, list) else [chosen]


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _check_fit(group: str, settings: Mapping[str, Any]) -> None:
    """Refuse unknown keys and values of another type."""
    try:
        OmegaConf.merge(to_tree(_SCHEMAS[group]), settings)
    except OmegaConfBaseException as error:
        key, reason = error.full_key or "", str(error).strip().split("\n")[0]
        raise ValueError(f"{f'{key}: ' if key else ''}{reason}") from error
