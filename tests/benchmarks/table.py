"""What a benchmark found, printed."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """One line for each row, however wide the terminal."""
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(_format, row.values()))
    Console(highlight=False, width=200).print(table)


def _format(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
