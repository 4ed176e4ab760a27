"""Standard output of the commands: pages, and rows of a name and its meaning."""

import re
import textwrap
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

_PIPE_WIDTH = 100_000
"""Characters; no table is as wide."""
_MAX_WIDTH = 100
"""Of text to read."""
_NO_BREAK = "\u00a0"
_NAME_WIDTH = 26
"""Longer names have a line of their own, unless there is much room."""


def open_console() -> Console:
    """Where pages go: tables fit a terminal, and are as wide as they need in a pipe or a file.

    Nothing in a dataset's names is taken for an emoji.
    """
    console = Console(highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def open_page() -> Console:
    """Where text goes that is wrapped: at the width of the terminal, or COLUMNS, or 80."""
    console = Console(highlight=False, emoji=False)
    console.width = min(console.width, _MAX_WIDTH)
    return console


def print_text(console: Console, text: str, *, indent: int = 0, style: str = "") -> None:
    """Print a paragraph, wrapped at the width of the console."""
    before = " " * indent
    lines = _wrap(text, console.width, before=before, after=before)
    _print(console, Text("\n".join(lines), style))


def print_command_line(console: Console, line: str) -> None:
    """Print a command to paste into a shell, in several lines where it is long."""
    whole = re.sub(r"'[^']*'", lambda quoted: quoted[0].replace(" ", _NO_BREAK), line)
    lines = _wrap(whole, console.width - 2, before="  ", after="      ")
    _print(console, Text(" \\\n".join(lines).replace(_NO_BREAK, " ")))


def print_rows(console: Console, rows: Mapping[str, str]) -> None:
    """Print names with their meanings to the right, or below a name that is long."""
    widest = max(min(_NAME_WIDTH, console.width // 3), console.width - _MAX_WIDTH)
    column = 2 + min(max(map(len, rows), default=0), widest) + 2
    for name, meaning in rows.items():
        shown, after = f"  {name}", " " * column
        if len(shown) + 2 <= column:
            lines = _wrap(meaning, console.width, before=f"{shown:{column}}", after=after)
            text = "\n".join(lines)
        else:
            text = "\n".join([shown, *_wrap(meaning, console.width, before=after, after=after)])
        row = Text(text)
        row.stylize("cyan", 0, len(shown))
        _print(console, row)


def _wrap(text: str, width: int, *, before: str, after: str) -> list[str]:
    wrapper = textwrap.TextWrapper(
        width,
        initial_indent=before,
        subsequent_indent=after,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapper.wrap(text) or [before.rstrip()]


def _print(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True)
