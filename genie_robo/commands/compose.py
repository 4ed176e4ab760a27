"""Hydra at the door: defaults, YAML files and overrides become one checked dataclass instance."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genie_robo.commands.base import Command, UsageError
from genie_robo.commands.refusals import check_overrides, explain, explain_missing
from genie_robo.commands.settings import list_settings
from genie_robo.config_file import conf_dir


def register(command: Command) -> str:
    """Make the dataclass of a command known to Hydra; returns the name of its root config.

    conf/NAME.yaml starts its defaults list with NAME_schema. A command without a YAML file (every
    command of another package) is composed from its dataclass alone.
    """
    schema = f"{command.name}_schema"
    ConfigStore.instance().store(name=schema, node=command.config, provider="genie_robo")
    return command.name if (conf_dir() / f"{command.name}.yaml").exists() else schema


def compose_config(command: Command, overrides: Sequence[str]) -> Any:
    """The OmegaConf tree of a command, values still unresolved and possibly missing.

    Raises:
        UsageError: An override names no setting, no option or a value of the wrong type.
    """
    name = register(command)
    overrides = fill_mappings(command, expand_home(overrides))
    check_overrides(command, overrides, conf_dir())
    try:
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
            return OmegaConf.to_object(composed)
    except (OmegaConfBaseException, ValueError) as error:
        raise UsageError(explain(error, command)) from error
    raise UsageError(explain_missing(command, missing))


def fill_mappings(command: Command, overrides: Sequence[str]) -> list[str]:
    """`key={a: b}` of a mapping that takes keys of its own, as Hydra wants it: `++key={a: b}`."""
    mappings = tuple(f"{s.path}={{" for s in list_settings(command.config) if s.is_open)
    return [f"++{word}" if word.startswith(mappings) else word for word in overrides]


def expand_home(overrides: Sequence[str]) -> list[str]:
    """`path=~/x` and `run=[~/x,~/y]` as the shell would expand them at the start of a word."""
    return [re.sub(r"(?<=[=\[,])~/", f"{Path.home()}/", override) for override in overrides]
