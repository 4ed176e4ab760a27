"""One writer at a time in a run folder."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from filelock import FileLock, Timeout

from genie_robo.atomic import remove_leftovers
from genie_robo.run_folder import RunFolder


@contextmanager
def only_writer(*runs: RunFolder) -> Iterator[None]:
    """Hold the locks of runs, which the system releases when this process ends, even if killed.

    Removes the temporary files of killed writers. Blocks of one process may be nested; of the
    processes that torchrun starts, the first one holds the lock for all.

    Raises:
        RuntimeError: Another process writes into one of the runs.
    """
    with ExitStack() as locks:
        if os.environ.get("RANK", "0") == "0":
            for run in runs:
                locks.enter_context(_locked(run))
        yield


@contextmanager
def _locked(run: RunFolder) -> Iterator[None]:
    run.path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run.lock.resolve(), blocking=False, is_singleton=True)
    try:
        lock.acquire()
    except Timeout as error:
        raise RuntimeError(
            f"another process of genie-robo is writing into {run.path}; wait until it has ended, "
            "stop it, or name another folder with run=FOLDER"
        ) from error
    try:
        if lock.lock_counter == 1:
            _remove_unfinished(run)
        yield
    finally:
        lock.release()


def _remove_unfinished(run: RunFolder) -> None:
    remove_leftovers(run.path)
    for checkpoint in run.path.glob("*/checkpoints/.step_*.partial"):
        shutil.rmtree(checkpoint)
