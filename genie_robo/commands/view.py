"""`genie-robo view`: recordings of a run, or any others, in the Rerun viewer."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from genie_robo.command_line import command_line, write_setting
from genie_robo.commands.table import UsageError
from genie_robo.config import ViewConfig
from genie_robo.run_folder import RunFolder
from genie_robo.viz.recording import check_recording
from genie_robo.viz.viewer import find_recordings, open_window, serve_web


def run(config: ViewConfig) -> None:
    """List recordings, then open or serve them; returns when the viewer is closed.

    Raises:
        UsageError: there is neither `run` nor `path`, or both.
        FileNotFoundError: the run, its recordings or the viewer are missing.
        ValueError: a recording is damaged, there is no display, or the port is taken.
    """
    if bool(config.run) == bool(config.path):
        raise UsageError("view needs one of run=FOLDER and path=RECORDING_OR_FOLDER")
    if config.trial and not config.run:
        raise UsageError("trial=POLICY/TASK/EPISODE is one of a run: give run=FOLDER too")
    if config.trial:
        recordings = [_record_trial(RunFolder.at(config.run), config.trial)]
    else:
        recordings = _recordings_of_run(config.run) if config.run else _recordings_at(config.path)
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


def _record_trial(run: RunFolder, name: str) -> Path:
    # Imports torch and MuJoCo, which the viewer does not need.
    from genie_robo.trial_recording import record_trial

    return record_trial(run, name)


def _recordings_of_run(name: str) -> list[Path]:
    folder = RunFolder.at(name)
    if folder.path.is_file() or any(folder.path.glob("*.rrd")):
        raise FileNotFoundError(
            f"{folder.path} is no run folder; look at it with: "
            f"{command_line('view', write_setting('path', folder.path))}"
        )
    if not folder.path.is_dir():
        raise FileNotFoundError(
            f"there is no run folder {folder.path}; {_others(folder.path)}make one with: "
            f"{command_line('demo', write_setting('run', folder.path))}"
        )
    if not any(folder.rollouts.glob("*.rrd")):
        raise FileNotFoundError(
            f"run {folder.path} has no recordings in {folder.rollouts}; "
            f"make them with: {command_line('imagine', write_setting('run', folder.path))}"
        )
    return find_recordings(folder.rollouts)


def _recordings_at(name: str) -> list[Path]:
    path = Path(name)
    if path.is_file():
        check_recording(path)
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"there is no recording or folder {path}")
    is_dataset = any(path.rglob("features.json")) or any(path.rglob("meta/info.json"))
    if not any(path.glob("*.rrd")) and is_dataset:
        raise FileNotFoundError(
            f"{path} holds a dataset and no recordings (*.rrd); make one with: "
            f"{command_line('inspect', write_setting('path', path), 'output=FOLDER')}"
        )
    return find_recordings(path)


def _others(missing: Path) -> str:
    """The other runs in the folder of a missing one."""
    names = sorted(config.parent.name for config in missing.parent.glob("*/config.yaml"))
    return f"runs in {missing.parent}: {', '.join(names)}; or " if names else ""


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
