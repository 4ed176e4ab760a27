"""`genie-robo view`: a run's recordings in the Rerun viewer."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from genie_robo.commands.base import Command
from genie_robo.config import ViewConfig
from genie_robo.run_folder import RunFolder


def view(config: ViewConfig) -> None:
    """Open or serve all recordings of a run; returns when the viewer is closed.

    Raises:
        FileNotFoundError: the run, its recordings or the viewer are missing.
        ValueError: a recording is damaged, there is no display, or the port is taken.
    """
    from viz.viewer import open_window, serve_web

    recordings = _recordings_of(RunFolder(Path(config.run)))
    with _sigterm_as_ctrl_c():
        if config.serve:
            with contextlib.suppress(KeyboardInterrupt):
                serve_web(recordings, port=config.port, announce=_announce)
        else:
            open_window(recordings)


def _recordings_of(run: RunFolder) -> list[Path]:
    from viz.viewer import find_recordings

    if not run.path.is_dir():
        raise FileNotFoundError(
            f"there is no run folder {run.path}; make one with: genie-robo demo run={run.path}"
        )
    if not any(run.rollouts.glob("*.rrd")):
        raise FileNotFoundError(
            f"run {run.path} has no recordings in {run.rollouts}; "
            f"make them with: genie-robo imagine run={run.path}"
        )
    return find_recordings(run.rollouts)


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Leave by way of `finally` when killed, so that the viewer's process ends too."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _announce(address: str) -> None:
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"viewer: {address}")
    console.print("Ctrl-C stops it")


COMMAND = Command(
    name="view",
    summary="open or serve a run's recordings in the Rerun viewer",
    config=ViewConfig,
    run=view,
    details=(
        "Opens RUN/rollouts/*.rrd in a window, or with serve=true in a web page that this machine "
        "serves to itself on `port`, with the data on the port after it. From another machine: "
        "ssh -L 9090:127.0.0.1:9090 -L 9091:127.0.0.1:9091 HOST, then the printed address."
    ),
    examples=(
        "genie-robo view run=runs/demo",
        "genie-robo view run=runs/demo serve=true port=9090",
    ),
)
