"""`genie-robo view`: recordings of a run, or any others, in the Rerun viewer."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from genie_robo.commands.recordings import recordings_to_view
from genie_robo.config import ViewConfig
from genie_robo.run_folder import RunFolder
from genie_robo.viz.recording import check_recording
from genie_robo.viz.viewer import open_window, serve_web


def run(config: ViewConfig) -> None:
    """List recordings, then open or serve them; returns when the viewer is closed.

    Raises:
        UsageError: there is neither `run` nor `path`, or both.
        FileNotFoundError: the run, its recordings or the viewer are missing.
        ValueError: a recording is damaged, there is no display, or the port is taken.
    """
    recordings = recordings_to_view(config)
    if config.trial:
        recordings = [_record_trial(config)]
    for recording in recordings:
        check_recording(recording)
    console = Console(soft_wrap=True, highlight=False)
    width = max(len(recording.name) for recording in recordings)
    console.print(escape(f"{len(recordings)} recording(s) in {recordings[0].parent}:"))
    for recording in recordings:
        size_mb = recording.stat().st_size / 1e6
        console.print(escape(f"  {recording.name:{width}}  {size_mb:.1f} MB"))
    with _sigterm_as_ctrl_c():
        if config.serve:
            with contextlib.suppress(KeyboardInterrupt):
                serve_web(recordings, port=config.port, announce=_announce)
        else:
            open_window(recordings)


def _record_trial(config: ViewConfig) -> Path:
    # Imports torch and MuJoCo, which the viewer does not need.
    from genie_robo.trial_recording import record_trial

    return record_trial(RunFolder.at(config.run), config.trial, results=config.results)


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Run `finally` blocks on SIGTERM, so that the viewer's process ends too."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _announce(address: str) -> None:
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"viewer: {address}")
    console.print("Ctrl-C stops it")
