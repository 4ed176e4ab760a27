"""What a command needs, checked before the packages that do its work are imported.

A wrong path is thus refused in a fraction of a second, and before anything is written. Nothing
here imports torch, Rerun or tensorflow_datasets.
"""

import os
import re
import stat
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genie_robo import config as cfg
from genie_robo.command_line import command_line, is_address, write_setting
from genie_robo.commands.command import UsageError
from genie_robo.commands.own_entries import name_problem
from genie_robo.commands.recordings import recordings_to_view
from genie_robo.commands.value_checks import (
    check_actions,
    check_device,
    check_live,
    check_ranges,
    check_suites,
    check_training,
    usage_errors,
)
from genie_robo.comparison.addresses import check_comparison
from genie_robo.config.sim import check_robot
from genie_robo.config_file import read_config
from genie_robo.data.folders import find_dataset_folder
from genie_robo.data.settings import members
from genie_robo.eval_suites.plug_names import check_plugs
from genie_robo.imagine.actions import check_one_truth
from genie_robo.imagine.pictures import find_pictures, needs_no_dataset
from genie_robo.play.address import free_port, served_names
from genie_robo.run_folder import PARTS_OF_GENIE, RunFolder, require_weights
from genie_robo.run_paths import is_other, require_datasets, used_data
from genie_robo.viz.viewer import check_display, check_port_range, check_ports, find_viewer

if TYPE_CHECKING:
    from genie_robo.data.schema import Schema

_NEEDS = {
    cfg.Stage.tokenizer: (),
    cfg.Stage.world_model: ("tokenizer",),
    cfg.Stage.robot_control: PARTS_OF_GENIE,
    cfg.Stage.all: (),
}
"""Parts that a stage finds trained."""
_SELFCHECK = "selfcheck"
"""The suite that needs no run."""


def check_train(config: cfg.TrainConfig) -> None:
    """Numbers in range, sizes that fit, earlier stages trained, datasets with these columns."""
    check_training(config, config.stage)
    check_live(config)
    _check_is_no_file("run", config.run)
    _check_folders(config.data)
    for part in _NEEDS[config.stage]:
        require_weights(RunFolder.at(config.run), part)
    _check_columns(config.data)


def check_demo(config: cfg.DemoConfig) -> None:
    """Settings that every stage can use, and a robot to record or the user's own dataset."""
    check_training(config, cfg.Stage.all)
    _check_late_stages(config)
    _check_is_no_file("run", config.run)
    if needs_no_dataset(config.imagine):
        _check_pictures(config.imagine)
    path, recording = Path(config.data.path), Path(config.record.path)
    if path.resolve() == recording.resolve():
        _check_robot(config.record)
    else:
        _check_folders(config.data)
        _check_columns(config.data)


def _check_late_stages(config: cfg.DemoConfig) -> None:
    """Settings of evaluation, imagination and comparison, which come after the training."""
    suites = {name: chosen for name, chosen in config.suite.items() if chosen is not None}
    check_suites(suites, [config.world_model.num_frames])
    check_actions(config.imagine, config.model, config.data)
    check_device(config.imagine.device, setting="imagine.device")
    with usage_errors():
        check_plugs(world_model=config.imagine.world_model)
    if config.comparison.folder:
        _check_comparison(config.comparison)


def check_record(config: cfg.RecordConfig) -> None:
    """Numbers in range, a place for the folder, and a robot."""
    check_ranges(config)
    _check_is_no_file("path", config.path)
    _check_robot(config)


def check_eval(config: cfg.EvalConfig) -> None:
    """Suites with settings that they can use, and the runs that they measure."""
    if not config.suite:
        raise UsageError("eval needs a suite: give suite=NAME or suite=[NAME,NAME]")
    check_ranges(config)
    check_device(config.device)
    check_suites(config.suite, [])
    if set(config.suite) == {_SELFCHECK}:
        return
    names = runs_to_measure(config)
    with usage_errors():
        check_plugs(world_model=config.world_model, encoder=config.encoder)
    configs = [_check_run(name) for name in names]
    check_suites(config.suite, [run.world_model.num_frames for run in configs])
    _check_used_data(names, config.data)


def check_imagine(config: cfg.ImagineConfig) -> None:
    """The actions, the runs, and the pictures or episodes to begin with."""
    names = runs_that_imagine(config)
    check_ranges(config)
    check_device(config.device)
    with usage_errors():
        check_plugs(world_model=config.world_model)
        if len(names) > 1:
            check_one_truth(config)
    if needs_no_dataset(config):
        _check_pictures(config)
    for run in map(_check_run, names):
        check_actions(config, run.model, used_data(run, config.data))
    if not needs_no_dataset(config):
        _check_used_data(names, config.data)


def check_play(config: cfg.PlayConfig) -> None:
    """An address to serve, a world, the run and its dataset."""
    check_ranges(config)
    check_device(config.device)
    with usage_errors():
        served_names(config.host, config.allowed_hosts)
        check_plugs(world_model=config.world_model)
    _check_run(config.run)
    _check_used_data([config.run], config.data)
    if not plays_in_terminal(config):
        free_port(config.host, config.port)


def check_tokenize(config: cfg.TokenizeConfig) -> None:
    """The run, its tokenizer and its dataset."""
    _check_run(config.run, parts=("tokenizer",))
    _check_used_data([config.run], config.data)


def check_export(config: cfg.ExportConfig) -> None:
    """The run, and a place for the folder."""
    _check_run(config.run)
    if config.robot_control:
        require_weights(RunFolder.at(config.run), "robot_dynamics")
    _check_is_no_file("output", config.output)


def check_inspect(config: cfg.InspectConfig) -> None:
    """The dataset, the columns that `data` names, and the places to write to."""
    check_ranges(config)
    if config.num_episodes < 0:
        raise UsageError(f"num_episodes={config.num_episodes} must be 0 or more")
    data = inspected_data(config)
    check_written(config)
    _check_is_no_file("output", config.output)
    _check_folders(data)
    if is_other(config.data):
        _check_source(data)


def check_convert(config: cfg.ConvertConfig) -> None:
    """The dataset and what is kept of it, and a place for the new folder."""
    output = Path(config.output)
    if output.exists():
        raise FileExistsError(f"{output} exists: give another output, or delete it")
    from genie_robo.data.conversion_plan import check_output, choose_storage, plan_conversion

    with usage_errors():
        choose_storage(config.images, config.to)
    _check_dataset(config.data.path)
    if (schema := _open_folder(config.data)) is not None:
        with usage_errors():
            check_output(output, schema.folder)
            plan_conversion(schema, config.data.source, to=config.to, columns=config.columns)


def check_compare(config: cfg.CompareConfig) -> None:
    """Addresses of numbers, the runs, and the folder to write to."""
    _check_comparison(config)
    find_runs(config.runs)
    _check_is_no_file("folder", config.folder)


def check_audit(config: cfg.AuditConfig) -> None:
    """The table, and the folder to write to."""
    check_ranges(config)
    if not Path(config.table).is_file():
        raise FileNotFoundError(f"table={config.table} is no file; give a CSV file of trials")
    _check_is_no_file("output", config.output)


def check_report(config: cfg.ReportConfig) -> None:
    """The run, and a suite that measured it."""
    run = RunFolder.at(config.run)
    read_config(run, cfg.TrainConfig)
    if not any(run.path.glob("eval/*/metrics.json")):
        raise FileNotFoundError(
            f"run {run.path} was not evaluated: there is nothing to report. Measure it with: "
            f"{command_line('eval', write_setting('run', run.path))}"
        )


def check_view(config: cfg.ViewConfig) -> None:
    """The recordings, and a viewer with a place to show them."""
    if config.serve:
        with usage_errors():
            check_port_range(config.port)
    recordings_to_view(config)
    find_viewer()
    if config.serve:
        check_ports(config.port)
    else:
        check_display()


def plays_in_terminal(config: cfg.PlayConfig) -> bool:
    """Whether `play` takes its keys from the terminal or a pipe, and serves no page."""
    return config.ui is cfg.Interface.terminal or (config.ui is cfg.Interface.auto and _is_piped())


def _is_piped() -> bool:
    """Whether standard input is a pipe or a file, so that keys come from there."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):  # no standard input at all
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def runs_to_measure(config: cfg.EvalConfig) -> list[str]:
    """The run folders of `eval`, see `run_names`."""
    purpose = "the run folder to measure; only suite=selfcheck needs none"
    return run_names(config.run, command="eval", purpose=purpose)


def runs_that_imagine(config: cfg.ImagineConfig) -> list[str]:
    """The run folders of `imagine`, see `run_names`."""
    return run_names(config.run, command="imagine", purpose="the run folder that imagines")


def run_names(run: Any, *, command: str, purpose: str) -> list[str]:
    """The run folders that run=DIR or run=[DIR,DIR] names, in its order.

    Raises:
        UsageError: None is named, one is named twice, or something is not a name.
    """
    names = run if isinstance(run, list) else [run]
    if any(isinstance(name, list | dict) for name in names):
        raise UsageError(f"run={run} must be a run folder or a list of them: run=[runs/a,runs/b]")
    names = [str(name) for name in names if name not in (None, "")]
    if not names:
        raise UsageError(f"{command} needs a value for run ({purpose}). Give it as run=VALUE")
    if len({Path(name).resolve() for name in names}) < len(names):
        raise UsageError(f"run={names} names a run twice: there is nothing to compare it with")
    return names


def find_runs(patterns: Sequence[str]) -> list[Path]:
    """Run folders by name, `*` standing for any part of it, in the order given.

    Raises:
        UsageError: No name is given.
        FileNotFoundError: A name fits no run folder.
    """
    if not patterns:
        raise UsageError("there is nothing to compare: give runs=[FOLDER,FOLDER]")
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern)
        anchor = Path(path.anchor)
        wanted = re.sub(r"([?[])", r"[\1]", str(path.relative_to(anchor)))  # only * is special
        fits = sorted(anchor.glob(wanted)) if "*" in pattern else [path]
        fits = [fit for fit in fits if (fit / "config.yaml").exists()]
        if not fits:
            raise FileNotFoundError(
                f"{pattern} is no run folder: there is no {pattern}/config.yaml. Name folders "
                "that `genie-robo train` or `genie-robo demo` has made"
            )
        found += [fit for fit in fits if fit.resolve() not in map(Path.resolve, found)]
    return found


def inspected_data(config: cfg.InspectConfig) -> cfg.DataConfig:
    """What is inspected: folder, splits and shards that the command names, else those of `data`.

    Raises:
        UsageError: Neither names a folder.
    """
    data = config.data or cfg.DataConfig(path="")
    if not (path := config.path or data.path):
        raise UsageError("inspect needs a dataset: give its folder as path=FOLDER")
    return replace(
        data,
        path=path,
        rlds_splits=config.rlds_splits or data.rlds_splits,
        shards=config.shards or data.shards,
    )


def check_written(config: cfg.InspectConfig) -> None:
    """Refuse a place of `write` that could not be chosen by name.

    Raises:
        UsageError: Another name is needed.
        FileExistsError: There is a file, and overwrite is not set.
    """
    if not config.write:
        return
    path = Path(config.write)
    if path.suffix != ".yaml" or path.absolute().parent.name != "data":
        raise UsageError(
            f"write={config.write} could not be chosen by name: give FOLDER/data/NAME.yaml, with "
            "any FOLDER, so that --config-dir FOLDER data=NAME takes it"
        )
    if problem := name_problem("data", path.stem):
        raise UsageError(f"write={config.write}: {problem}")
    if path.exists() and not config.overwrite:
        raise FileExistsError(f"{path} is there already: give overwrite=true, or another name")


def _check_run(name: str, *, parts: Sequence[str] = PARTS_OF_GENIE) -> cfg.TrainConfig:
    """A run folder in which these parts are trained; returns its settings."""
    run = RunFolder.at(name)
    config = read_config(run, cfg.TrainConfig)
    for part in parts:
        require_weights(run, part)
    return config


def _check_used_data(names: Sequence[str], given: cfg.DataConfig | None) -> None:
    """The dataset that each run is used with: its own, or the given one."""
    for name in names:
        run = RunFolder.at(name)
        data = replace(used_data(read_config(run, cfg.TrainConfig), given), mix={})
        require_datasets(run, data)
        _check_folders(data)
        _check_columns(data)


def _check_folders(data: cfg.DataConfig) -> None:
    for member in members(data).values():
        _check_dataset(member.path)


def _check_dataset(path: str) -> None:
    """A folder that holds a dataset; addresses are looked at when they are opened."""
    if not is_address(path):
        find_dataset_folder(Path(path))
    elif not path.rstrip("/").partition("://")[2]:
        raise UsageError(f"data.path={path} names no server: give https://SERVER/FOLDER")


def _check_is_no_file(setting: str, path: str) -> None:
    if path and Path(path).is_file():
        raise FileExistsError(f"{setting}={path} is a file; name a folder")


def _check_columns(data: cfg.DataConfig) -> None:
    """What the source and the views name is in the datasets, except in those at an address."""
    for member in members(data).values():
        if (schema := _check_source(member)) is not None:
            with usage_errors():
                for view in member.views:
                    schema.require_camera(view, schema.complete(member.source))


def _check_source(data: cfg.DatasetFolder) -> "Schema | None":
    """What the source names is in the dataset; returns its metadata, None at an address."""
    from genie_robo.data.sources import check_source  # see _open_folder

    schema = _open_folder(data)
    if schema is not None:
        with usage_errors():
            check_source(schema.complete(data.source), schema.features)
    return schema


def _open_folder(data: cfg.DatasetFolder) -> "Schema | None":
    """The metadata of a dataset; None at an address, which is looked at when it is opened."""
    if is_address(data.path):
        return None
    # Takes a third of a second to import, which a wrong path need not wait for.
    from genie_robo.data.metadata import open_folder

    return open_folder(data.path, data.rlds_splits, data.shards)


def _check_robot(config: cfg.RecordConfig) -> None:
    with usage_errors():
        check_robot(config.robot)


def _check_pictures(config: cfg.RolloutConfig) -> None:
    with usage_errors():
        find_pictures(config)


def _check_comparison(config: cfg.CompareConfig | cfg.ComparisonConfig) -> None:
    with usage_errors():
        check_comparison(config.columns, config.horizontal, config.curve)
