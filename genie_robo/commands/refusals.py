"""Why a command line is refused, in one paragraph that names what would be right."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationKeyError,
    OmegaConfBaseException,
)

from genie_robo.commands.base import Command, UsageError, did_you_mean
from genie_robo.commands.settings import Setting, list_settings


def check_overrides(command: Command, overrides: Sequence[str], conf_dir: Path) -> None:
    """Refuse what Hydra would take silently: values under keys that no setting has.

    Raises:
        UsageError: An override cannot be read, or `+key=value` invents a setting.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise UsageError(
            f"{error.override!r} is not an override that can be read: write KEY=VALUE without "
            "spaces, and quote values that hold one of , = [ ] { } ( ) or a space, as in "
            "\"run='my run'\""
        ) from error
    settings = list_settings(command.config)
    _check_sections(parsed, settings)
    for override in parsed:
        if override.is_add() and not _is_group(override, conf_dir):
            _check_key(override.key_or_group, command, settings)


def explain(error: Exception, command: Command) -> str:
    """What Hydra or a dataclass refused, in the words of the command line."""
    if isinstance(error, MissingConfigException):
        return _explain_option(error)
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and cause is not error:
        return _explain_key(_quoted(error) or cause.full_key or "", command)
    if isinstance(cause, InterpolationKeyError):
        return f"{cause.full_key} refers to a setting that does not exist: {_first_line(cause)}"
    if isinstance(cause, OmegaConfBaseException):
        return _explain_value(error, cause, command)
    if isinstance(error, HydraException):
        return f"{command.name} cannot be configured like this: {' '.join(str(error).split())}"
    return str(error)


def explain_missing(command: Command, missing: Iterable[str]) -> str:
    """Which settings have no value, and what they mean."""
    meanings = {setting.path: setting.meaning for setting in list_settings(command.config)}
    keys = sorted(missing)
    described = "; ".join(
        f"{key} ({meanings[key].rstrip('.')})" if meanings.get(key) else key for key in keys
    )
    return (
        f"{command.name} needs a value for {described}. Give "
        f"{'them' if len(keys) > 1 else 'it'} as {' '.join(f'{key}=VALUE' for key in keys)}"
    )


def _is_group(override: Override, conf_dir: Path) -> bool:
    key = override.key_or_group
    return override.package is not None or "/" in key or (conf_dir / key).is_dir()


def _check_sections(overrides: Sequence[Override], settings: Sequence[Setting]) -> None:
    """A setting inside a section that nothing fills yet."""
    keys = {override.key_or_group for override in overrides}
    for section in (setting.path for setting in settings if setting.is_optional):
        inside = sorted(key for key in keys if key.startswith(f"{section}."))
        if inside and section not in keys:
            raise UsageError(
                f"{inside[0]} belongs to {section}, which is not chosen: give {section}=NAME as "
                f"well (--help lists the names), or leave {inside[0]} out"
            )


def _check_key(key: str, command: Command, settings: Sequence[Setting]) -> None:
    if key.startswith("hydra.") or any(setting.path == key for setting in settings):
        return
    if not any(setting.is_open and key.startswith(f"{setting.path}.") for setting in settings):
        raise UsageError(_explain_key(key, command))


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
        f"`genie-robo {command.name} --help` lists all of them"
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
    return (
        f"there is no {group} {option!r}.{did_you_mean(option, options)} "
        f"Choose {group}= one of: {', '.join(options) or 'none is installed'}"
    )


def _quoted(error: Exception) -> str:
    """The key in Hydra's `Could not override 'key'.`."""
    match = re.match(r"Could not override '([^']+)'", str(error))
    return match[1] if match else ""


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0]
