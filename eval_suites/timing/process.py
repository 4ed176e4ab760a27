"""Measuring a program alone: processor time and peak memory belong to a process."""

import resource
import sys
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from genie_robo.progress import progress_bar

Key = TypeVar("Key", bound=Hashable)
Task = TypeVar("Task")
Found = TypeVar("Found")


def run_alone(program: Callable[[Task], Found], task: Task) -> Found:
    """What a program returns from a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(program, task).result()


def run_each_alone(
    program: Callable[[Task], Found], tasks: Mapping[Key, Task], *, description: str
) -> dict[Key, Found]:
    """One after another, so that none disturbs another."""
    found: dict[Key, Found] = {}
    with progress_bar(description, total=len(tasks), unit="models") as advance:
        for key, task in tasks.items():
            found[key] = run_alone(program, task)
            advance()
    return found


def peak_memory_mb() -> float:
    """Largest resident size of this process. The kernel's own count would include its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) / 1000
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
