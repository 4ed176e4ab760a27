"""One game that all open pages share, and the one thread in which its jobs run."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from nicegui import Event

from genie_robo.inference.world import Prompt
from genie_robo.play.game import Game, Key, code_keys, robot_keys, session_keys
from genie_robo.prompts import RunPrompts

T = TypeVar("T")

EXPECTED = (ValueError, LookupError, OSError, RuntimeError)
"""Errors that prompts, files and devices can cause."""


class Job(NamedTuple):
    """A function to run, and its displayed name."""

    name: str
    work: Callable[[], str | None]
    """Returns a message for the player, or None."""


class Turns:
    """One job runs and at most one waits; others are refused.

    All jobs run in the same thread: a graphics context belongs to the thread that made it.
    """

    def __init__(self, *, changed: Callable[[], None], say: Callable[[str], None]) -> None:
        """Start the thread.

        Args:
            changed: Called on the event loop whenever a job starts, waits or ends.
            say: Called on the event loop with the message or the error of a job.
        """
        self.running: Job | None = None
        self.waiting: Job | None = None
        self._changed, self._say = changed, say
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="play")

    def call(self, work: Callable[[], T]) -> T:
        """Run in the thread of the jobs and wait; not from the event loop."""
        return self._thread.submit(work).result()

    async def take(self, job: Job) -> bool:
        """Run the job now or after the running one; False when another waits already."""
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
        """Wait for the running job and refuse others."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A game, shared by every page that is open."""

    title: str
    note: str
    """Shown next to the robot keys."""
    game: Game
    prompts: RunPrompts
    record: Callable[[Game], Path]
    """Write the session so far; raises ValueError when there is nothing to write."""
    turns: Turns
    changed: Event[[]]
    said: Event[[str]]
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while an uploaded image is decoded, which may take half a gigabyte."""

    def keys(self) -> list[Key]:
        """Every key and button except recording."""
        return [*code_keys(self.game), *robot_keys(self.game), *session_keys(self.game)]

    def write(self) -> str:
        """Record; the message says where."""
        return f"wrote {self.record(self.game)} and the .mp4 of the same name"

    def start(self, prompt: Callable[[], Prompt]) -> None:
        """Start from a prompt that is made in the thread of the jobs."""
        self.game.start(prompt())


def make_session(
    make_game: Callable[[], Game],
    *,
    prompts: RunPrompts,
    record: Callable[[Game], Path],
    title: str,
    note: str = "",
) -> Session:
    """A session whose game is built in the thread where it will be played."""
    changed, said = Event[[]](), Event[[str]]()
    turns = Turns(changed=changed.emit, say=said.emit)
    return Session(
        title=title,
        note=note,
        game=turns.call(make_game),
        prompts=prompts,
        record=record,
        turns=turns,
        changed=changed,
        said=said,
    )
