"""What a command is, and how the ones that are installed are found."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

GROUP = "genie_robo.commands"
"""Entry points of this group are commands; any installed package may add its own."""

_ORDER = (
    "demo",
    "record",
    "inspect",
    "train",
    "tokenize",
    "eval",
    "compare",
    "imagine",
    "play",
    "view",
    "export",
    "doctor",
)


class UsageError(ValueError):
    """The command line itself is wrong: nothing was started, exit status 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptRun:
    """One combination of a sweep, after its turn."""

    name: str
    """Its overrides."""
    config: Any | None
    """An instance of the command's dataclass; None when the overrides made none."""
    error: Exception | None
    """Why it failed, None when it did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A verb of the command line: what it needs to know and what it does."""

    name: str
    summary: str
    """One line, for the list of commands."""
    config: type
    """Dataclass from which its settings, their types, defaults and meanings are read."""
    run: Callable[[Any], None]
    """Gets an instance of `config`; raises instead of returning a status."""
    after_sweep: Callable[[Sequence[SweptRun]], None] | None = None
    """Gets every combination of `-m` when all have had their turn."""
    details: str = ""
    """A paragraph for its help page."""
    examples: tuple[str, ...] = ()
    """Command lines that work, most useful first."""


def find_commands() -> dict[str, EntryPoint]:
    """Installed commands by name, in the order in which they are used, none of them loaded."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    known = [name for name in _ORDER if name in found]
    return {name: found[name] for name in [*known, *sorted(found.keys() - set(known))]}


def load_command(name: str) -> Command:
    """The command of this name.

    Raises:
        UsageError: There is none.
        ImportError: The package that brings it is broken or lacks a dependency.
    """
    points = find_commands()
    if name not in points:
        raise UsageError(
            f"there is no command {name!r}.{did_you_mean(name, points)} "
            f"Commands: {', '.join(points) or 'none, is the package installed?'}"
        )
    return points[name].load()


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean a or b?`, from names spelled alike or with the same last part, or nothing."""
    names = list(known)
    alike = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    last = word.rpartition(".")[2]
    alike += [name for name in names if name.rpartition(".")[2] == last and name not in alike]
    return f" Did you mean {' or '.join(alike[:3])}?" if alike else ""
