"""`genie-robo view`: recordings of a run, or any others, in the Rerun viewer."""

import contextlib
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from genie_robo.commands.base import Command, UsageError
from genie_robo.config import ViewConfig
from genie_robo.run_folder import RunFolder


def view(config: ViewConfig) -> None:
    """Open or serve recordings, saying which; returns when the viewer is closed.

    Raises:
        UsageError: there is neither `run` nor `path`, or both.
        FileNotFoundError: the run, its recordings or the viewer are missing.
        ValueError: a recording is damaged, there is no display, or the port is taken.
    """
    from viz.viewer import open_window, serve_web

    if bool(config.run) == bool(config.path):
        raise UsageError("view wants one of run=FOLDER and path=RECORDING_OR_FOLDER")
    recordings = _recordings_of_run(config.run) if config.run else _recordings_at(config.path)
    console = Console(soft_wrap=True, highlight=False)
    for line in describe(recordings):
        console.print(line)
    with _sigterm_as_ctrl_c():
        if config.serve:
            with contextlib.suppress(KeyboardInterrupt):
                serve_web(recordings, port=config.port, announce=_announce)
        else:
            open_window(recordings)


def describe(recordings: Sequence[Path]) -> Iterator[str]:
    """What is opened, a line each."""
    width = max(len(recording.name) for recording in recordings)
    yield escape(f"{len(recordings)} recording(s) in {recordings[0].parent}:")
    for recording in recordings:
        size_mb = recording.stat().st_size / 1e6
        yield escape(f"  {recording.name:{width}}  {size_mb:.1f} MB")


def _recordings_of_run(name: str) -> list[Path]:
    from viz.viewer import find_recordings

    run = RunFolder.at(name)
    if run.path.is_file() or any(run.path.glob("*.rrd")):
        raise FileNotFoundError(f"{run.path} is no run folder; to look at it, say path={run.path}")
    if not run.path.is_dir():
        raise FileNotFoundError(
            f"there is no run folder {run.path}; {_others(run.path)}make one with: "
            f"genie-robo demo run={run.path}"
        )
    if not any(run.rollouts.glob("*.rrd")):
        raise FileNotFoundError(
            f"run {run.path} has no recordings in {run.rollouts}; "
            f"make them with: genie-robo imagine run={run.path}"
        )
    return find_recordings(run.rollouts)


def _recordings_at(name: str) -> list[Path]:
    from viz.recording import check_recording
    from viz.viewer import find_recordings

    path = Path(name)
    if path.is_file():
        check_recording(path)
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"there is no recording or folder {path}")
    if not any(path.glob("*.rrd")) and any(path.rglob("features.json")):
        raise FileNotFoundError(
            f"{path} holds a dataset and no recordings (*.rrd); make one with: "
            f"genie-robo inspect path={path} output=FOLDER"
        )
    return find_recordings(path)


def _others(missing: Path) -> str:
    """Runs beside one that is not there."""
    names = sorted(config.parent.name for config in missing.parent.glob("*/config.yaml"))
    return f"runs in {missing.parent}: {', '.join(names)}; or " if names else ""


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
    summary="open or serve recordings in the Rerun viewer",
    config=ViewConfig,
    run=view,
    details=(
        "Opens RUN/rollouts/*.rrd, or what lies at `path`, in a window, or with serve=true in a "
        "web page that this machine serves to itself on `port`, with the data on the port after "
        "it. From another machine: ssh -L 9090:127.0.0.1:9090 -L 9091:127.0.0.1:9091 HOST, then "
        "the printed address."
    ),
    examples=(
        "genie-robo view run=runs/demo",
        "genie-robo view run=runs/demo serve=true port=9090",
        "genie-robo view path=bridge_report/episodes.rrd",
    ),
)
