"""The command line as a process of its own, the way a user starts it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# A machine that does other work meanwhile must not fail a test.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def genie_robo() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `genie-robo WORDS` and return its status and both of its outputs."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "genie_robo", *words],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            timeout=900,
            check=False,
        )

    return run
