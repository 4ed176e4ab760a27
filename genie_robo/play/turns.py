"""Work off the event loop, in one thread, one job after the other."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

T = TypeVar("T")

EXPECTED = (ValueError, LookupError, OSError, RuntimeError)
"""What prompts, files and devices can cause."""


class Job(NamedTuple):
    """Something to do, and its name for people."""

    name: str
    work: Callable[[], str | None]
    """May give a sentence for the player."""


class Turns:
    """One job runs and at most one waits; a third is refused.

    All jobs run in the same thread: a graphics context belongs to the thread that made it.
    """

    def __init__(self, *, changed: Callable[[], None], say: Callable[[str], None]) -> None:
        """Nothing runs yet.

        Args:
            changed: Called on the event loop whenever a job starts, waits or ends.
            say: Called on the event loop with what a job has to say, also its error.
        """
        self.running: Job | None = None
        self.waiting: Job | None = None
        self._changed, self._say = changed, say
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="play")

    def call(self, work: Callable[[], T]) -> T:
        """Do something in the thread of the jobs and wait for it; not from the event loop."""
        return self._thread.submit(work).result()

    async def take(self, job: Job) -> bool:
        """Run the job, or let it wait for the one that runs; False when one waits already."""
        if self.running is not None:
            is_taken = self.waiting is None
            self.waiting = self.waiting or job
            self._changed()
            return is_taken
        self.running = job
        try:
            while self.running is not None:
                self._changed()
                await self._run(self.running)
                self.running, self.waiting = self.waiting, None
        finally:
            self.running = self.waiting = None
            self._changed()
        return True

    def close(self) -> None:
        """Wait for the job that runs; no further one is taken."""
        self._thread.shutdown()

    async def _run(self, job: Job) -> None:
        loop = asyncio.get_running_loop()
        try:
            said = await loop.run_in_executor(self._thread, job.work)
        except EXPECTED as error:
            self._say(f"{job.name}: {error}")
        else:
            if said is not None:
                self._say(said)
