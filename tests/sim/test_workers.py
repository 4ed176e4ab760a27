import os
import time

import pytest

from genie_robo.sim.workers import in_order


def wait(seconds: float, value: int) -> int:
    time.sleep(seconds)
    return value


def die() -> None:
    os._exit(9)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(num_workers):
    jobs = [(0.05 if value % 3 == 0 else 0.0, value) for value in range(12)]
    assert list(in_order(wait, jobs, num_workers=num_workers)) == list(range(12))


def test_a_killed_worker_is_a_readable_error():
    with pytest.raises(RuntimeError, match=r"one of 2 worker processes was killed.*fewer workers"):
        list(in_order(die, [(), ()], num_workers=2))


def test_closing_early_ends_the_workers():
    results = in_order(wait, [(0.0, value) for value in range(100)], num_workers=2)
    assert next(results) == 0
    results.close()
    assert list(results) == []
