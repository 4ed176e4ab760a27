"""A command of `genie-robo`: its settings, its help page and the module that does the work.

Only the names of modules are held here; they, and with them torch, are imported when the command
runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pkgutil import resolve_name
from typing import Any, get_origin, get_type_hints

from genie_robo.command_line import write_setting


class UsageError(ValueError):
    """The command line itself is wrong: nothing was started, exit status 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptRun:
    """One combination of a sweep, after it ran."""

    name: str
    """Its overrides."""
    config: Any | None
    """An instance of the command's dataclass; None where the overrides do not make one."""
    error: Exception | None
    """Why it failed; None if it did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command, its settings and its help page."""

    name: str
    summary: str
    """One line, for the list of commands."""
    config: type
    """Dataclass of its settings: types, defaults and, below each field, meanings."""
    run: str
    """`package.module:function`; it gets an instance of `config`, and raises on failure."""
    check: str = ""
    """`package.module:function`, which gets the same and raises what can be found out without the
    packages that `run` needs; it writes nothing."""
    first_word: str = ""
    """The setting that a first word without `=` is the value of, or all such words at the
    beginning where it is a list; empty where there is none."""
    after_sweep: str = ""
    """`package.module:function`; it gets a list of SweptRun at the end of `-m`."""
    details: str = ""
    """A paragraph for its help page."""
    common: tuple[str, ...] = ()
    """The most used settings, which come first on its help page."""
    examples: tuple[str, ...] = ()
    """Command lines that work, most useful first."""

    def name_first(self, words: Sequence[str]) -> list[str]:
        """The words with those at the beginning that are only values named by their setting."""
        if not self.first_word or not words or "=" in words[0]:
            return list(words)
        if get_origin(get_type_hints(self.config)[self.first_word]) is not tuple:
            return [f"{self.first_word}={words[0]}", *words[1:]]
        values = list(takewhile(lambda word: "=" not in word, words))
        return [write_setting(self.first_word, values), *words[len(values) :]]

    def start(self, config: Any) -> None:
        """Check, then run.

        Raises:
            Exception: Whatever the check or the work raises.
        """
        if self.check:
            resolve_name(self.check)(config)
        self.load_run()(config)

    def load_run(self) -> Callable[[Any], None]:
        """Import the function that does the work."""
        return resolve_name(self.run)

    def load_after_sweep(self) -> Callable[[list[SweptRun]], None] | None:
        """Import the function that runs after a sweep, if there is one."""
        return resolve_name(self.after_sweep) if self.after_sweep else None
