"""Signals that stop a training after its current step."""

import signal

import pytest

from genie_robo.train.engine import stop_requests


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")]
)
def test_a_request_names_its_signal(number, name):
    before = signal.getsignal(number)
    with stop_requests() as requested:
        assert not requested.is_set()
        signal.raise_signal(number)
        assert requested.is_set()
        assert requested.by == name
    assert signal.getsignal(number) is before
