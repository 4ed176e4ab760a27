import asyncio
import threading

import pytest

from genie_robo.play.session import Job, Turns


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


def test_one_runs_one_waits_the_third_is_refused(witness):
    jobs = [witness.job(name) for name in ("a", "B", "c")]
    taken = asyncio.run(witness.press(*jobs))

    assert taken == [True, True, False]
    assert witness.done == ["a", "B"]
    assert witness.said == ["B is done"]
    assert ("a", "B") in witness.states
    assert witness.states[-1] == (None, None)
    assert threading.current_thread() not in witness.threads
    assert len(witness.threads) == 1


def test_an_error_is_said_and_the_waiting_job_runs(witness):
    wrong = witness.job("a", ValueError("no such code"))
    assert asyncio.run(witness.press(wrong, witness.job("b"))) == [True, True]

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
