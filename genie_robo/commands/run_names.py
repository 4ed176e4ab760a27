"""Which runs run=DIR or run=[DIR,DIR] names."""

from pathlib import Path
from typing import Any

from genie_robo.commands.base import UsageError


def run_names(run: Any, *, command: str, purpose: str) -> list[str]:
    """The run folders that a setting names, in its order.

    Raises:
        UsageError: None is named.
        ValueError: One is named twice, or something is not a name.
    """
    names = run if isinstance(run, list) else [run]
    if any(isinstance(name, list | dict) for name in names):
        raise ValueError(f"run={run} must be a run folder or a list of them: run=[runs/a,runs/b]")
    names = [str(name) for name in names if name not in (None, "")]
    if not names:
        raise UsageError(f"{command} needs a value for run ({purpose}). Give it as run=VALUE")
    if len({Path(name) for name in names}) < len(names):
        raise ValueError(f"run={names} names a run twice: there is nothing to compare it with")
    return names
