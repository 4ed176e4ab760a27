"""Worker processes that end with their parent. It imports little, so that they do so at once."""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from itertools import islice
from typing import Any, TypeVar

_Result = TypeVar("_Result")


def in_order(
    function: Callable[..., _Result], jobs: Sequence[tuple[Any, ...]], *, num_workers: int
) -> Generator[_Result]:
    """`function(*job)` for every job, in the order of the jobs; one worker means no processes.

    Closing the iterator ends the processes after the call that each is in.

    Raises:
        RuntimeError: a worker died.
    """
    if num_workers == 1:
        for job in jobs:
            yield function(*job)
        return
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(num_workers, mp_context=context, initializer=end_with_parent)
    futures = (executor.submit(function, *job) for job in jobs)
    try:
        with _interrupts_ignored():
            waiting = deque(islice(futures, 4 * num_workers))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(islice(futures, 1))
    except BrokenProcessPool as error:
        raise RuntimeError(
            f"one of {num_workers} worker processes was killed, most likely because memory ran "
            f"out; use fewer workers"
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def end_with_parent() -> None:
    """End this worker when its parent was killed; it would wait for its next call forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@cache
def end_with_launcher(*, interval_s: float = 0.5) -> None:
    """End this process when the one that started it was killed, as torchrun's agent may be.

    Otherwise the processes of a training would train on and hold the lock of their run.
    """
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(interval_s)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started within ignore Ctrl-C: only the parent reacts to it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
