"""One progress bar for everything that takes longer than a few seconds."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from threading import Event, Thread

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

LINE_EVERY_S = 30.0
"""Between two lines of a bar that is not on a terminal."""


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

    On a terminal it is drawn live; in a pipe or a file it is a line every `LINE_EVERY_S` and one at
    the end. Of several processes only one should have a `visible` one. Work that ends within
    `after_s` has none.
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
    shown = progress if console.is_terminal else _as_lines(progress) if visible else nullcontext()
    is_shown = False
    with ExitStack() as stack:
        task = progress.add_task(
            printable(description), total=total, completed=completed, unit=unit, note=""
        )

        def show_when_due() -> None:
            nonlocal is_shown
            if not is_shown and time.monotonic() >= shown_from:
                is_shown = True
                stack.enter_context(shown)

        def advance(amount: int | float = 1, note: str | None = None) -> None:
            show_when_due()
            progress.advance(task, amount)
            if note is not None:
                progress.update(task, note=note)

        show_when_due()
        yield advance


@contextmanager
def _as_lines(progress: Progress) -> Iterator[None]:
    """Print the task of a bar as lines of text, from a thread, until the block ends."""
    is_over, (task,) = Event(), progress.tasks

    def report() -> None:
        line = _line(task)
        progress.console.print(line, soft_wrap=True, markup=False, emoji=False, highlight=False)

    def repeat() -> None:
        while not is_over.wait(LINE_EVERY_S):
            report()

    thread = Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        report()


def _line(task: Task) -> str:
    """`record: 120/240 episodes, 3.2 episodes/s, 0:00:37 spent, 0:00:38 left, NOTE`."""
    unit, total, rate = task.fields["unit"], task.total or 0, task.finished_speed or task.speed
    parts = [f"{task.completed:.0f}/{total:.0f} {unit}"]
    if rate:
        parts.append(f"{rate:.3g} {unit}/s")
    parts.append(f"{TimeElapsedColumn().render(task)} spent")
    if rate and not task.finished:
        parts.append(f"{TimeRemainingColumn().render(task)} left")
    if note := task.fields["note"]:
        parts.append(note)
    return f"{task.description}: {', '.join(parts)}"
