"""The process that shows a training to a Rerun viewer, and may wait for it (see viz/live.py)."""

import contextlib
import logging
import pickle
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import rerun as rr

from viz.blueprints.training import training_blueprint
from viz.live import Message, Numbers, Pictures, check_address
from viz.recording import stable_id
from viz.training import log_numbers, log_pictures

MAX_KEPT = 20_000
"""Steps whose numbers are shown again to a viewer that comes later or comes back."""
_PROBE_TIMEOUT_S = 1.0
_log = logging.getLogger(__name__)


def follow(messages: Iterable[Message], connect: Callable[[], rr.RecordingStream | None]) -> None:
    """Show messages to a viewer as they come; what was before, to one that comes or comes back."""
    kept: deque[Numbers] = deque(maxlen=MAX_KEPT)
    newest: dict[str, Pictures] = {}
    recording, stage = None, ""
    for message in messages:
        if isinstance(message, Numbers):
            kept.append(message)
        else:
            newest[message.stage] = message
        if recording is None:
            recording, stage = connect(), ""
            fresh: list[Message] = [*kept, *newest.values()]
        else:
            fresh = [message]
        if recording is None:
            continue
        if message.stage != stage:
            stage = message.stage
            recording.send_blueprint(training_blueprint(stage))
        if not _show(recording, fresh):
            recording = None


def _show(recording: rr.RecordingStream, messages: list[Message]) -> bool:
    """Whether the viewer took it; waits for one that stands still."""
    log_numbers(recording, (m for m in messages if isinstance(m, Numbers)))
    for message in messages:
        if isinstance(message, Pictures):
            log_pictures(recording, message)
    try:
        recording.flush()
    except RuntimeError:
        _log.warning("the Rerun viewer is gone; training goes on, another viewer can take over")
        return False
    return True


class Connection:
    """How to reach the viewer at an address, which says once when there is none."""

    def __init__(self, address: str, *, name: str) -> None:
        self._address, self._name = address, name
        self._has_said_so = False

    def __call__(self) -> rr.RecordingStream | None:
        """A stream to the viewer; None while nothing listens."""
        try:
            socket.create_connection(check_address(self._address), _PROBE_TIMEOUT_S).close()
        except OSError:
            if not self._has_said_so:
                self._has_said_so = True
                _log.warning(
                    "no Rerun viewer at %s; training goes on, start one at any time: rerun",
                    self._address,
                )
            return None
        recording = rr.RecordingStream(
            stable_id("training", ()),
            recording_id=stable_id(self._name, ()),
            send_properties=False,
        )
        recording.set_log_time_enabled(False)
        recording.set_log_tick_enabled(False)
        recording.connect_grpc(f"rerun+http://{self._address}/proxy")
        recording.send_recording_name(self._name)
        return recording


def _read(pipe: BinaryIO) -> Iterator[Message]:
    """Messages until the training ends."""
    with contextlib.suppress(EOFError):
        while True:
            yield pickle.load(pipe)  # noqa: S301 written by our own parent process


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    follow(_read(sys.stdin.buffer), Connection(sys.argv[1], name=sys.argv[2]))
