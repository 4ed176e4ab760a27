"""One game that all open pages share, and the one thread in which its jobs run."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from nicegui import Event

from genie_robo.inference.world import Prompt
from genie_robo.play.game import RECORD, Action, Game, Key, code_keys, robot_keys, session_keys
from genie_robo.prompts import RunPrompts

T = TypeVar("T")

EXPECTED = (ValueError, LookupError, OSError, RuntimeError)
"""Errors that prompts, files and devices can cause."""

FIRST_REPEAT_S = 0.25
"""A press that is shorter is one frame at any rate."""


class Job(NamedTuple):
    """A function to run, and its displayed name."""

    name: str
    work: Callable[[], str | None]
    """Returns a message for the player, or None."""


class Turns:
    """One job runs and at most one waits, the latest.

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
        self._is_free = asyncio.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="play")

    def call(self, work: Callable[[], T]) -> T:
        """Run in the thread of the jobs and wait; not from the event loop."""
        return self._thread.submit(work).result()

    async def take(self, job: Job) -> bool:
        """Run the job after the running one; False if it fails or a later one takes its place."""
        self.waiting = job
        if self.running is not None:
            self._changed()
        async with self._is_free:
            if self.waiting is not job:
                if self.waiting is not None and self.waiting.name != job.name:
                    self._say(f"{job.name} was skipped for {self.waiting.name}")
                return False
            self.running, self.waiting = job, None
            self._changed()
            try:
                return await self._run(job)
            finally:
                self.running = None
                self._changed()

    def close(self) -> None:
        """Wait for the running job and refuse others."""
        self._thread.shutdown()

    async def _run(self, job: Job) -> bool:
        loop = asyncio.get_running_loop()
        try:
            said = await loop.run_in_executor(self._thread, job.work)
        except EXPECTED as error:
            self._say(f"{job.name}: {error}")
            return False
        if said is not None:
            self._say(said)
        return True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """A key, button or stick that is held down."""

    owner: str
    """The tab."""
    source: str
    """Which key, button or stick of it."""
    name: str
    action: Callable[[], Action]
    """Asked before every frame."""


class Player:
    """Takes actions: a frame for every tap, and one after another at their rate while one is held.

    While a frame is shown the next one is computed under the held action; it is dropped where that
    is released before the frame is due. Of several held actions the latest counts.
    """

    def __init__(self, game: Game, turns: Turns) -> None:
        """Play a game by jobs."""
        self._game, self._turns = game, turns
        self._held: Held | None = None
        self._pressed: Held | None = None
        """Pressed, perhaps released, and without a frame yet."""
        self._is_playing, self._news = False, asyncio.Event()
        self._due = 0.0
        """When the next frame of what is held may be shown (s, monotonic)."""

    async def hold(self, held: Held) -> None:
        """Take an action now, and again until it is released."""
        self._held = held
        await self.tap(held)

    async def tap(self, pressed: Held) -> None:
        """Take an action once; returns when nothing is held any more, or another call plays."""
        self._pressed = pressed
        self._news.set()
        if self._is_playing:
            return
        self._is_playing = True
        try:
            while self._pressed or self._held:
                await self._play()
        finally:
            self._is_playing, self._held, self._pressed = False, None, None

    def release(self, owner: str, source: str | None = None) -> None:
        """Stop after the frame that is shown; whatever the tab holds where no source is named."""
        held = self._held
        if held is not None and held.owner == owner and source in (None, held.source):
            self._held = None
            self._news.set()

    async def _play(self) -> None:
        """A frame for what was pressed, else for what is held when the next one is due."""
        game, period_s = self._game, 1 / self._game.frame_hz
        if pressed := self._pressed:
            self._pressed, began = None, time.monotonic()
            await self._take(pressed, lambda: game.act(pressed.action()))
            self._due = max(began + FIRST_REPEAT_S, time.monotonic() + period_s)
        elif held := self._held:
            if game.can_look_ahead:
                await self._take(held, lambda: game.look_ahead(held.action()))
            if await self._is_held(held, until=self._due):
                if not game.can_look_ahead:
                    await self._take(held, lambda: game.look_ahead(held.action()))
                await self._take(held, game.show_next)
                self._due = max(self._due + period_s, time.monotonic())

    async def _take(self, held: Held, work: Callable[[], None]) -> None:
        """Run a job; where that fails nothing is held any more."""
        if not await self._turns.take(Job(held.name, work)):
            self.release(held.owner, held.source)

    async def _is_held(self, held: Held, *, until: float) -> bool:
        """Whether an action is held until a time (s, monotonic) and nothing else was pressed."""
        while self._held is held and self._pressed is None:
            remaining_s = until - time.monotonic()
            if remaining_s <= 0:
                return True
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), remaining_s)
        return False


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
    player: Player
    changed: Event[[]]
    said: Event[[str]]
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while an uploaded image is decoded, which may take half a gigabyte."""

    def all_keys(self) -> list[Key]:
        """Every key and button."""
        return [*code_keys(self.game), *robot_keys(self.game), *self.own_keys()]

    def own_keys(self) -> list[Key]:
        """Undo, reset and record."""
        record = Key(key=RECORD, name="record", label="record", press=self._write)
        return [*session_keys(self.game), record]

    def _write(self) -> str:
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
    game = turns.call(make_game)
    return Session(
        title=title,
        note=note,
        game=game,
        prompts=prompts,
        record=record,
        turns=turns,
        player=Player(game, turns),
        changed=changed,
        said=said,
    )
