"""Standard output of the commands."""

from rich.console import Console

_PIPE_WIDTH = 100_000
"""Characters; no table is as wide."""


def open_console() -> Console:
    """Where pages go: tables fit a terminal, and are as wide as they need in a pipe or a file.

    Nothing in a dataset's names is taken for an emoji.
    """
    console = Console(highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console
