"""Shows a training run in a running Rerun viewer, without delaying or stopping the run.

Rerun blocks: up to five seconds to connect, and without limit once its queue is full and the
viewer does not respond. So it runs in a process of its own (viz/follow.py), fed by a thread through
a short queue: what does not fit is dropped, and training never waits. Nothing here loads Rerun.
"""

import contextlib
import os
import pickle
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import numpy as np
from jaxtyping import Int, UInt8

QUEUE_LENGTH = 64
CLOSE_TIMEOUT_S = 10.0
"""How long the end of a training run waits for the rest to be shown."""
_ADDRESS = re.compile(r"(?P<host>[^\s:/]+):(?P<port>\d{1,5})")


class Numbers(NamedTuple):
    """Numbers that a stage logged after a step."""

    stage: str
    step: int
    numbers: Mapping[str, float]


class Images(NamedTuple):
    """Outputs of the models of a stage after a step."""

    stage: str
    step: int
    rows: Mapping[str, UInt8[np.ndarray, "n h w c"]]
    """Frames by the name of the row."""
    code_use: Int[np.ndarray, " k"]
    """How often each code was chosen."""


Message = Numbers | Images


class Outputs(Protocol):
    """Outputs of the models of a stage."""

    @property
    def pictures(self) -> Mapping[str, UInt8[np.ndarray, "n h w c"]]:
        """Rows of frames by name."""
        ...

    @property
    def code_use(self) -> Int[np.ndarray, " k"]:
        """How often each code was chosen."""
        ...


class LiveViewer:
    """Shows a training run to the viewer at an address, also when no viewer runs there."""

    def __init__(self, address: str, *, name: str) -> None:
        """Start the process that talks to the viewer; `name` is that of the run.

        Raises:
            ValueError: The address is not HOST:PORT.
        """
        check_address(address)
        self._process = subprocess.Popen(  # noqa: S603 our own module, no shell
            [sys.executable, "-m", "genie_robo.viz.follow", address, name],
            stdin=subprocess.PIPE,
            # Rerun's own messages about a missing viewer would fill the terminal.
            env=os.environ | {"RUST_LOG": "off"},
            start_new_session=True,  # Ctrl-C is for the training run
        )
        self._queue: queue.Queue[Message | None] = queue.Queue(QUEUE_LENGTH)
        self.num_left_out = 0
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def numbers(self, stage: str, step: int, numbers: Mapping[str, float]) -> None:
        """Show the numbers of a training step."""
        self._offer(Numbers(stage, step, dict(numbers)))

    def look(self, stage: str, step: int, look: Outputs) -> None:
        """Show the outputs of the models after a training step."""
        self._offer(Images(stage, step, dict(look.pictures), look.code_use))

    def close(self) -> None:
        """Wait for the rest to be shown, for a few seconds at most, and end the process."""
        deadline = time.monotonic() + CLOSE_TIMEOUT_S
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=CLOSE_TIMEOUT_S)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close, also when training was interrupted."""
        self.close()

    def _offer(self, message: Message) -> None:
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            self.num_left_out += 1

    def _feed(self) -> None:
        """Write messages to the process until it ends or training does."""
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError), pipe:
            while (message := self._queue.get()) is not None:
                pickle.dump(message, pipe)
                pipe.flush()


def check_address(address: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`.

    Raises:
        ValueError: It is something else.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or not 1 <= int(found["port"]) <= 65535:
        raise ValueError(
            f"viewer={address} must be HOST:PORT of a running Rerun viewer, such as "
            "127.0.0.1:9876, where `rerun` listens"
        )
    return found["host"], int(found["port"])
