"""The settings of suites that a command line names, found without the suites themselves."""

from collections.abc import Mapping
from typing import Any

from hydra.utils import get_class

from genie_robo.commands.command import UsageError
from genie_robo.eval_suites.bounds import check_settings
from genie_robo.eval_suites.settings import SETTINGS

_OWN = "genie_robo.eval_suites."
_TARGET = "_target_"


def settings_class(target: str) -> type:
    """The dataclass with the settings of a suite; of another package's suite, its class."""
    return _own_settings(target) or get_class(target)


def checked_suites(suites: Mapping[str, Any]) -> list[Any]:
    """The settings of our own suites among these; others are checked when they are built.

    Raises:
        ValueError: A number is out of range, or a name is unknown.
        FileNotFoundError: A file that a suite needs is not there.
    """
    checked = []
    for name, chosen in suites.items():
        given = dict(chosen or {})
        own = _own_settings(given.pop(_TARGET, ""))
        if own is not None:
            checked.append(_build(name, own, given))
            check_settings(checked[-1])
    return checked


def _own_settings(target: str) -> type | None:
    """Of a suite in a module of ours."""
    module = target.rpartition(".")[0]
    return SETTINGS.get(module.removeprefix(_OWN)) if module.startswith(_OWN) else None


def _build(name: str, settings: type, given: Mapping[str, Any]) -> Any:
    try:
        return settings(**given)
    except TypeError as error:
        raise UsageError(
            f"suite.{name} cannot be built: {error}. Look at the parameters in conf/suite/"
        ) from error
