"""Which recordings `view` opens, found out without importing Rerun."""

from pathlib import Path

from genie_robo.command_line import command_line, write_setting
from genie_robo.commands.command import UsageError
from genie_robo.config import ViewConfig
from genie_robo.run_folder import RunFolder
from genie_robo.viz.recording_header import check_header

TRIALS = "policy_evaluation"
"""The suite that keeps trials."""


def recordings_to_view(config: ViewConfig) -> list[Path]:
    """The recordings that a command line names, sorted by name; none for a trial, yet to be made.

    Raises:
        UsageError: There is neither `run` nor `path`, or both, or a setting for trials without one.
        FileNotFoundError: The run, its recordings or its trials are missing.
        ValueError: A file is no recording, or one of a newer Rerun.
    """
    if bool(config.run) == bool(config.path):
        raise UsageError("view needs one of run=FOLDER and path=RECORDING_OR_FOLDER")
    if config.results != TRIALS and not config.trial:
        raise UsageError(
            f"results={config.results} holds trials: give trial=POLICY/TASK/EPISODE too"
        )
    if config.trial and not config.run:
        raise UsageError("trial=POLICY/TASK/EPISODE is one of a run: give run=FOLDER too")
    if config.trial:
        _check_trials(RunFolder.at(config.run), config.results)
        return []
    recordings = _of_run(RunFolder.at(config.run)) if config.run else _at(Path(config.path))
    for recording in recordings:
        check_header(recording)
    return recordings


def _check_trials(run: RunFolder, results: str) -> None:
    _check_run(run)
    if run.suite(results).is_dir():
        return
    known = sorted(folder.name for folder in run.suite("").glob(f"{TRIALS}*"))
    others = f"there are those of results={', '.join(known)}; " if known else ""
    evaluate = command_line("eval", write_setting("run", run.path), f"suite={TRIALS}")
    raise FileNotFoundError(
        f"run {run.path} has no trials in {run.suite(results)}; {others}make them with: {evaluate}"
    )


def _of_run(run: RunFolder) -> list[Path]:
    if run.path.is_file() or any(run.path.glob("*.rrd")):
        raise FileNotFoundError(
            f"{run.path} is no run folder; look at it with: "
            f"{command_line('view', write_setting('path', run.path))}"
        )
    _check_run(run)
    if not (found := sorted(run.rollouts.glob("*.rrd"))):
        raise FileNotFoundError(
            f"run {run.path} has no recordings in {run.rollouts}; "
            f"make them with: {command_line('imagine', write_setting('run', run.path))}"
        )
    return found


def _check_run(run: RunFolder) -> None:
    if not run.path.is_dir():
        raise FileNotFoundError(
            f"there is no run folder {run.path}; {_others(run.path)}make one with: "
            f"{command_line('demo', write_setting('run', run.path))}"
        )


def _at(path: Path) -> list[Path]:
    """A recording, or those in a folder."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"there is no recording or folder {path}")
    if found := sorted(path.glob("*.rrd")):
        return found
    if any(path.rglob("features.json")) or any(path.rglob("meta/info.json")):
        raise FileNotFoundError(
            f"{path} holds a dataset and no recordings (*.rrd); make one with: "
            f"{command_line('inspect', write_setting('path', path), 'output=FOLDER')}"
        )
    raise FileNotFoundError(f"no recordings (*.rrd) in {path}")


def _others(missing: Path) -> str:
    """The other runs in the folder of a missing one."""
    names = sorted(config.parent.name for config in missing.parent.glob("*/config.yaml"))
    return f"runs in {missing.parent}: {', '.join(names)}; or " if names else ""
