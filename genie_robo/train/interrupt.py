"""Ctrl-C and SIGTERM as a wish to stop after the step at hand, so that nothing is lost."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that is set by the first Ctrl-C or SIGTERM; the second one acts as usual.

    Outside of the main thread signals cannot be caught, and the event is never set.
    """
    wanted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield wanted
        return
    usual = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def wish(number: int, frame: FrameType | None) -> None:
        del frame
        wanted.set()
        signal.signal(number, usual[signal.Signals(number)])

    for number in STOP_SIGNALS:
        signal.signal(number, wish)
    try:
        yield wanted
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
