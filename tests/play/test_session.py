import asyncio
import threading
import time

import pytest

from genie_robo.play.game import Game
from genie_robo.play.session import FIRST_REPEAT_S, Held, Job, Player, Turns


class Witness:
    """Turns, and what they report."""

    def __init__(self):
        self.said, self.states, self.done, self.threads = [], [], [], set()
        self.gate = threading.Event()
        self.turns = Turns(changed=self.note, say=self.said.append)

    def note(self):
        jobs = (self.turns.running, self.turns.waiting)
        self.states.append(tuple(job and job.name for job in jobs))

    def job(self, name, error=None):
        def work():
            self.gate.wait(10)
            self.threads.add(threading.current_thread())
            if error:
                raise error
            self.done.append(name)
            return f"{name} is done" if name.isupper() else None

        return Job(name, work)

    async def press(self, *jobs):
        """One press after another while the first job is at work."""
        tasks = []
        for job in jobs:
            tasks.append(asyncio.ensure_future(self.turns.take(job)))
            await asyncio.sleep(0.01)
        self.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def witness():
    witness = Witness()
    yield witness
    witness.gate.set()
    witness.turns.close()


def test_one_runs_and_the_latest_of_the_others_waits(witness):
    jobs = [witness.job(name) for name in ("a", "b", "b", "C")]
    taken = asyncio.run(witness.press(*jobs))

    assert taken == [True, False, False, True]
    assert witness.done == ["a", "C"]
    assert witness.said == ["b was skipped for C", "b was skipped for C", "C is done"]
    assert ("a", "b") in witness.states
    assert ("a", "C") in witness.states
    assert witness.states[-1] == (None, None)
    assert threading.current_thread() not in witness.threads
    assert len(witness.threads) == 1


def test_an_error_is_said_and_the_waiting_job_runs(witness):
    wrong = witness.job("a", ValueError("no such code"))
    assert asyncio.run(witness.press(wrong, witness.job("b"))) == [False, True]

    assert witness.said == ["a: no such code"]
    assert witness.done == ["b"]


def test_a_fault_of_ours_is_not_swallowed_and_leaves_the_game_playable(witness):
    (fault,) = asyncio.run(witness.press(witness.job("a", TypeError("ours"))))
    assert isinstance(fault, TypeError)
    assert (witness.turns.running, witness.turns.waiting) == (None, None)

    assert asyncio.run(witness.turns.take(witness.job("b")))
    assert witness.done == ["b"]


def test_what_is_called_runs_in_the_same_thread(witness):
    witness.gate.set()
    asyncio.run(witness.turns.take(witness.job("a")))

    assert {witness.turns.call(threading.current_thread)} == witness.threads


class FakeGame(Game):
    """Counts, by name, what it was asked for; a frame takes `latency_s`."""

    frame_hz, can_look_ahead = 20.0, True

    def __init__(self, *, latency_s=0.0, frame_hz=20.0, can_look_ahead=True):
        self.latency_s, self.frame_hz, self.can_look_ahead = latency_s, frame_hz, can_look_ahead
        self.shown, self.times, self.computed, self._next = [], [], [], None

    def look_ahead(self, action):
        time.sleep(self.latency_s)
        if action == "broken":
            raise ValueError("no such action")
        self.computed.append(action)
        self._next = action

    def show_next(self):
        if self._next is not None:
            self.shown.append(self._next)
            self.times.append(time.monotonic())
        self._next = None

    def act(self, action):
        self.look_ahead(action)
        self.show_next()

    def undo(self):
        self._next = None
        self.shown.pop()


@pytest.fixture
def play():
    """Run a coroutine function, which gets a player of a game and its jobs."""

    def run(game, story):
        said = []
        turns = Turns(changed=lambda: None, say=said.append)
        player = Player(game, turns)
        try:
            asyncio.run(asyncio.wait_for(story(player, turns), 20))
        finally:
            turns.close()
        return said

    return run


def held(name, owner="tab", action=None):
    return Held(owner=owner, source=name, name=name, action=action or (lambda: name))


async def shown(game, count):
    for _ in range(1000):
        if len(game.shown) >= count:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{game.shown} after 5 s")


def test_a_tap_is_one_frame_however_late_it_is_released(play):
    game = FakeGame(latency_s=0.05, frame_hz=1000.0)

    async def story(player, turns):
        for seconds in (0.0, 0.02, 0.04):
            holding = asyncio.ensure_future(player.hold(held("w")))
            await asyncio.sleep(seconds)
            player.release("tab", "w")
            await holding
        await player.tap(held("w"))

    play(game, story)
    assert game.shown == ["w"] * 4


@pytest.mark.parametrize("can_look_ahead", [True, False])
def test_a_held_key_moves_on_at_the_frame_rate(play, can_look_ahead):
    game = FakeGame(latency_s=0.02, frame_hz=10.0, can_look_ahead=can_look_ahead)

    async def story(player, turns):
        holding = asyncio.ensure_future(player.hold(held("w")))
        await shown(game, 6)
        player.release("tab", "w")
        await holding

    play(game, story)
    assert game.shown == ["w"] * 6
    assert game.times[1] - game.times[0] > FIRST_REPEAT_S - 0.05
    assert game.times[5] - game.times[1] > 4 / 10.0 - 0.05, "no faster, on a busy machine slower"
    assert len(game.computed) - len(game.shown) in ((0, 1) if can_look_ahead else (0,))


def test_the_next_frame_is_computed_while_one_is_shown(play):
    game = FakeGame(frame_hz=0.1)

    async def story(player, turns):
        holding = asyncio.ensure_future(player.hold(held("w")))
        await shown(game, 1)
        for _ in range(500):
            await asyncio.sleep(0.01)
            if len(game.computed) == 2:
                break
        assert (game.computed, game.shown) == (["w", "w"], ["w"])
        player.release("tab")
        await holding

    play(game, story)
    assert game.shown == ["w"]


def test_a_frame_that_is_ahead_is_dropped_for_another_action(play):
    game = FakeGame(frame_hz=0.5)

    async def story(player, turns):
        holding = asyncio.ensure_future(player.hold(held("w")))
        await shown(game, 1)
        await asyncio.sleep(0.05)
        await player.tap(held("d"))
        await shown(game, 2)
        player.release("tab", "w")
        await holding

    play(game, story)
    assert game.shown == ["w", "d"]
    assert game.computed[:3] == ["w", "w", "d"]


def test_the_latest_held_key_counts_and_only_its_tab_releases_it(play):
    game = FakeGame()

    async def story(player, turns):
        holding = asyncio.ensure_future(player.hold(held("w")))
        await shown(game, 1)
        await player.hold(held("d", owner="other"))
        player.release("tab", "w")
        player.release("tab")
        player.release("other", "w")
        await shown(game, 4)
        player.release("other")
        await holding

    play(game, story)
    assert game.shown[:4] == ["w", "d", "d", "d"]


def test_what_is_held_is_asked_before_every_frame(play):
    game, values = FakeGame(), iter(range(100))

    async def story(player, turns):
        stick = held("stick", action=lambda: next(values))
        holding = asyncio.ensure_future(player.hold(stick))
        await shown(game, 3)
        player.release("tab")
        await holding

    play(game, story)
    assert game.shown[:3] == [0, 1, 2]


def test_undo_comes_between_the_frames_of_a_held_key(play):
    game = FakeGame(frame_hz=4.0)

    async def story(player, turns):
        holding = asyncio.ensure_future(player.hold(held("w")))
        await shown(game, 2)
        await asyncio.sleep(0.05)
        await turns.take(Job("undo", game.undo))
        assert game.shown == ["w"]
        await shown(game, 2)
        player.release("tab")
        await holding

    play(game, story)


def test_an_action_that_fails_is_said_once_and_held_no_more(play):
    game = FakeGame()

    async def story(player, turns):
        await player.hold(held("broken"))
        await player.tap(held("w"))

    assert play(game, story) == ["broken: no such action"]
    assert game.shown == ["w"]
