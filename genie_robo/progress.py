"""One progress bar for everything that takes longer than a few seconds."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from genie_robo.command_line import printable

Advance = Callable[..., None]
"""`advance(amount=1, note="")`: call it after each finished piece of work."""


class _RateColumn(ProgressColumn):
    """Finished units per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        unit = task.fields["unit"]
        return Text("-" if speed is None else f"{speed:.3g} {unit}/s", style="progress.data.speed")


@contextmanager
def progress_bar(
    description: str,
    *,
    total: int,
    unit: str,
    completed: int = 0,
    visible: bool = True,
    after_s: float = 0.0,
) -> Iterator[Advance]:
    """A bar with count, rate, time spent and time left, on standard error.

    On a terminal it is drawn live; in a log file it leaves one line when it is finished. Of
    several processes only one should have a `visible` one. Work that ends within `after_s` has
    none.
    """
    shown_from = time.monotonic() + after_s
    console = Console(file=sys.stderr)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    progress = Progress(*columns, console=console, refresh_per_second=4, disable=not visible)
    with ExitStack() as shown:
        if not after_s:
            shown.enter_context(progress)
        task = progress.add_task(
            printable(description), total=total, completed=completed, unit=unit, note=""
        )

        def advance(amount: int | float = 1, note: str | None = None) -> None:
            if not progress.live.is_started and time.monotonic() >= shown_from:
                shown.enter_context(progress)
            progress.advance(task, amount)
            if note is not None:
                progress.update(task, note=note)

        yield advance
