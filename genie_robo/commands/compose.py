"""Defaults, YAML files and overrides are composed by Hydra into one checked dataclass instance.

An error message is one paragraph that names what would be valid instead.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationKeyError,
    OmegaConfBaseException,
)

from genie_robo.command_line import write_setting
from genie_robo.commands.command import Command, UsageError
from genie_robo.commands.settings import Setting, list_settings
from genie_robo.commands.suite_settings import settings_class
from genie_robo.commands.table import did_you_mean
from genie_robo.commands.words import to_overrides, type_at
from genie_robo.config_file import conf_dir
from genie_robo.config_tree import editable, from_tree
from genie_robo.data.settings import OWN_CAMERA

_DATA, _OWN_DATA, _DATA_PATH = "data", "own", "data.path"
"""data.path=FOLDER without data=NAME: the run's own dataset, which is at another path."""


def compose_config(command: Command, words: Sequence[str], *, is_sweep: bool = False) -> Any:
    """The OmegaConf tree of a command, values still unresolved and possibly missing.

    Of a sweep it is the tree of the first combination.

    Raises:
        UsageError: An override names no setting, no option or a value of the wrong type.
    """
    name, overrides = prepare(command, words, is_sweep=is_sweep)
    try:
        if is_sweep:
            overrides = [_first_value(override) for override in overrides]
        with initialize_config_dir(str(conf_dir()), version_base="1.3", job_name=command.name):
            return compose(name, overrides)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UsageError(explain(error, command)) from error


def to_config(command: Command, composed: Any) -> Any:
    """The dataclass instance that the command runs with.

    Raises:
        UsageError: A required setting has no value, or settings contradict each other.
    """
    try:
        missing = OmegaConf.missing_keys(composed)
        if not missing:
            _check_suites(composed.get("suite") or {})
            return from_tree(composed)
    except (OmegaConfBaseException, ValueError) as error:
        raise UsageError(explain(error, command)) from error
    raise UsageError(_explain_missing(command, missing))


def prepare(
    command: Command, words: Sequence[str], *, is_sweep: bool = False
) -> tuple[str, list[str]]:
    """Register a command with Hydra; returns its root config and its checked overrides.

    conf/NAME.yaml starts its defaults list with NAME_schema. A command without a YAML file, as
    those of other packages are, is composed from its dataclass alone.

    Raises:
        UsageError: An override cannot be read, or sets something that is no setting.
    """
    schema = f"{command.name}_schema"
    store = partial(ConfigStore.instance().store, provider="genie_robo")
    store(name=schema, node=editable(command.config))
    store(name=_OWN_DATA, node={"source": {"camera": OWN_CAMERA}}, group=_DATA)
    has_file = (conf_dir() / f"{command.name}.yaml").exists()
    settings = list_settings(command.config)
    # Hydra only adds keys to a mapping where the override begins with ++.
    mappings = [re.escape(setting.path) for setting in settings if setting.is_open]
    adds = re.compile("|".join(rf"{path}=\{{|{path}\.\w+\." for path in mappings) or "$^")
    overrides = [
        f"++{override}" if adds.match(override) else override
        for override in to_overrides(words, command.config, is_sweep=is_sweep)
    ]
    keys = _check_overrides(command, overrides, settings)
    if _DATA_PATH in keys and _DATA not in keys and _is_optional(_DATA, settings):
        overrides = [f"data={_OWN_DATA}", *overrides]
    return command.name if has_file else schema, overrides


def explain(error: Exception, command: Command) -> str:
    """An error of Hydra or of a dataclass as a message about the command line."""
    if isinstance(error, MissingConfigException):
        return _explain_option(error)
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and cause is not error:
        quoted = re.match(r"Could not override '([^']+)'", str(error))
        return _explain_key(quoted[1] if quoted else cause.full_key or "", command)
    if isinstance(cause, InterpolationKeyError):
        return f"{cause.full_key} refers to a setting that does not exist: {_first_line(cause)}"
    if isinstance(cause, OmegaConfBaseException):
        return _explain_value(error, cause, command)
    if isinstance(error, HydraException):
        return f"{command.name} cannot be configured like this: {' '.join(str(error).split())}"
    return str(error)


def _check_overrides(
    command: Command, overrides: Sequence[str], settings: Sequence[Setting]
) -> set[str]:
    """Refuse overrides of unknown settings, which Hydra would accept silently; returns the keys."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise UsageError(_explain_unreadable(error.override, command)) from error
    keys = {override.key_or_group for override in parsed}
    _check_sections(keys, settings)
    for override in parsed:
        if override.is_add() and not _is_known(override, settings):
            raise UsageError(_explain_key(override.key_or_group, command))
    return keys


def _explain_unreadable(override: str, command: Command) -> str:
    """A word that Hydra cannot read: no setting, or none of this spelling."""
    key, equals, _ = override.partition("=")
    path = key.lstrip("+")
    if not equals or not re.fullmatch(r"[\w.]+", path):
        return (
            f"{override!r} is not an override that can be read: write KEY=VALUE"
            f"{_meant(override, command)}"
        )
    types = {setting.path: setting.type_name for setting in list_settings(command.config)}
    if (conf_dir() / path).is_dir():
        return (
            f"{override} does not fit: {path}= takes one of the names that {_list_of(path)} lists"
        )
    if type_at(command.config, path) is None:
        return _explain_key(path, command)
    return (
        f"{override} is not an override that can be read: {path} takes "
        f"{types.get(path, 'a value')}. A string in it is quoted: \"{path}='my name'\""
    )


def _meant(word: str, command: Command) -> str:
    """`, such as run=WORD`: the setting that a word without `=` is probably meant for."""
    known = {setting.path for setting in list_settings(command.config)}
    if word in known:
        return f", such as {word}=VALUE"
    names = [name for name in ("run", "runs", "path") if name in known]
    if "=" in word or not names:
        return ""
    name = "path" if "path" in names and word.endswith(".rrd") else names[0]
    setting = write_setting(name, [word] if name == "runs" else word)
    return f", such as {shlex.quote(setting) if ' ' in setting else setting}"


def _first_value(override: str) -> str:
    """The override with the first of the values that it sweeps over."""
    parsed = OverridesParser.create().parse_override(override)
    if not parsed.is_sweep_override():
        return override
    return f"{parsed.get_key_element()}={next(parsed.sweep_string_iterator())}"


def _check_sections(keys: set[str], settings: Sequence[Setting]) -> None:
    """Refuse a setting inside an optional section that no config group has filled."""
    given = keys - ({_DATA_PATH} if _DATA_PATH in {setting.path for setting in settings} else set())
    for section in (setting.path for setting in settings if setting.is_optional):
        inside = sorted(key for key in given if key.startswith(f"{section}."))
        if inside and section not in keys:
            raise UsageError(
                f"{inside[0]} belongs to {section}, which is not chosen: give {section}=NAME as "
                f"well ({_list_of(section)} lists the names), or leave {inside[0]} out"
            )


def _is_optional(section: str, settings: Sequence[Setting]) -> bool:
    return any(setting.path == section and setting.is_optional for setting in settings)


def _is_known(override: Override, settings: Sequence[Setting]) -> bool:
    """Whether something that is added with + is a config group, a setting or inside a mapping."""
    key = override.key_or_group
    if override.package is not None or "/" in key or (conf_dir() / key).is_dir():
        return True
    return key.startswith("hydra.") or any(
        s.path == key or (s.is_open and key.startswith(f"{s.path}.")) for s in settings
    )


def _check_suites(suites: Mapping[str, Any]) -> None:
    """Refuse parameters that a suite's class does not have; no YAML file lists them."""
    for name, chosen in suites.items():
        given = set(chosen or {}) - {"_target_"}
        if not given:
            continue
        if "_target_" not in chosen:
            raise UsageError(
                f"suite.{name}.{min(given)} belongs to a suite that is not chosen: give "
                f"suite={name} as well, or leave it out"
            )
        known = [field.name for field in fields(settings_class(chosen["_target_"]))]
        if unknown := sorted(given - set(known)):
            raise UsageError(
                f"suite.{name} has no setting {unknown[0]!r}.{did_you_mean(unknown[0], known)} "
                f"It has: {', '.join(known)}"
            )


def _explain_missing(command: Command, missing: Iterable[str]) -> str:
    meanings = {setting.path: setting.meaning for setting in list_settings(command.config)}
    keys = sorted(missing)
    described = "; ".join(
        f"{key} ({meanings[key].rstrip('.')})" if meanings.get(key) else key for key in keys
    )
    return (
        f"{command.name} needs a value for {described}. Give "
        f"{'them' if len(keys) > 1 else 'it'} as {' '.join(f'{key}=VALUE' for key in keys)}"
    )


def _explain_key(key: str, command: Command) -> str:
    settings = list_settings(command.config)
    for setting in settings:
        if setting.is_open and key.startswith(f"{setting.path}."):
            return (
                f"{key} is not set by any YAML file of this {setting.path}. A parameter that only "
                f"its class knows is set with +{key}=VALUE; another {setting.path} is chosen with "
                f"{setting.path}=NAME"
            )
    known = [setting.path for setting in settings]
    return (
        f"{command.name} has no setting {key!r}.{did_you_mean(key, known)} "
        f"`genie-robo {command.name} --help` lists its settings and their sections"
    )


def _explain_value(error: Exception, cause: OmegaConfBaseException, command: Command) -> str:
    key = cause.full_key or ""
    takes = {s.path: f" {key} takes {s.type_name}" for s in list_settings(command.config)}
    override = re.match(r"Error merging override (.*)", str(error))
    where = override[1].strip() if override else key or "the configuration"
    source = re.match(r"In '([^']+)'", str(error))
    place = f"conf/{source[1]}.yaml: " if source else ""
    reason = _first_line(cause) if not source else " ".join(str(error).split("\n")[1:2])
    return f"{place}{where} does not fit: {reason}.{takes.get(key, '')}"


def _explain_option(error: MissingConfigException) -> str:
    missing = error.missing_cfg_file or ""
    group, _, option = missing.rpartition("/")
    options = list(error.options or ())
    if not group:
        return f"there is no configuration {missing!r}"
    choices = f"Choose {group}= one of: {', '.join(options) or 'none is installed'}"
    if group == _DATA:
        choices = f"{_list_of(group)} lists all of them"
    return f"there is no {group} {option!r}.{did_you_mean(option, options)} {choices}"


def _list_of(group: str) -> str:
    """The command that lists the names that a group takes."""
    return "`genie-robo datasets`" if group == _DATA else "--help"


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0]
