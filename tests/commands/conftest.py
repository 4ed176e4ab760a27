import logging
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from genie_robo import cli


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def run_cli(capsys, monkeypatch) -> Callable[..., Outcome]:
    """Run a command line in this process, as the installed script would."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers[:])
    monkeypatch.setattr(logging.root, "level", logging.root.level)

    def run(*words: str) -> Outcome:
        status = cli.main(words)
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run
