"""Train the stages of a run folder, one after the other."""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from genie_robo.build import build_datasets, build_genie
from genie_robo.checkpoint import has_weights, parts_of, require_weights, save_weights
from genie_robo.config_file import config_differences, read_config, write_config
from genie_robo.run_folder import RunFolder
from genie_robo.run_lock import only_writer
from genie_robo.run_paths import to_stored, with_paths_of
from genie_robo.train.assemble import Datasets, build_loop, build_stage, check_stage
from genie_robo.train.engine import make_fabric
from genie_robo.train.live import Viewer
from genie_robo.train.settings import Stage, TrainConfig
from genie_robo.trained_on import check_datasets, note_datasets

logger = logging.getLogger(__name__)

FREE_TO_CHANGE = (
    "run",
    "stage",
    "log_every",
    "save_every_s",
    "num_checkpoints",
    "loggers",
    "engine.",
    "data.cache_mb",
    "other_dataset",
    "viz",
    "viewer",
)
"""Settings that do not affect what is learned, so a resume may change them."""
ROBOT_CONTROL = ("labels: ", "robot_control.")
"""Settings of the last stage, which are free until it has begun."""
STAGES = (Stage.tokenizer, Stage.world_model, Stage.robot_control)
"""In the order in which one needs the weights of the others."""
DATASET_PATH = re.compile(r"data\.(mix\..+\.)?(path|source\.pose\.urdf): ")
"""Not compared: what lies there is, by its fingerprint."""


def train(config: TrainConfig, viewer: Viewer | None = None) -> None:
    """Train the stages that `config.stage` names; resume unfinished ones, skip finished ones.

    The first process sends its progress to the `viewer`. Nothing is written before everything is
    checked that can be checked.

    Raises:
        ValueError: The run folder was made with another configuration or dataset.
        FileNotFoundError: No dataset, or no trained tokenizer for the world model.
        RuntimeError: Another process writes into the run.
    """
    run = RunFolder.at(config.run)
    stages = config.stage.trained
    _check_settings(run, config)
    fabric = make_fabric(config.engine)
    with fabric.rank_zero_first():  # it writes the index that the others read
        datasets = build_datasets(config.data)
    for stage in stages:
        check_stage(stage, run, config, datasets, fabric)
    for earlier in STAGES[: STAGES.index(stages[0])]:
        for part in parts_of(earlier):
            require_weights(run, part)
    with only_writer(run):
        if fabric.is_global_zero:
            _claim(run, config, datasets, stages)
        fabric.barrier()
        for stage in stages:
            _train_stage(stage, run, config, datasets, fabric, viewer)


def check_training(config: TrainConfig) -> None:
    """Check the settings, the device and the models of a training; reads no dataset.

    Raises:
        ValueError: Something cannot be trained like this, or the run was made with another
            configuration.
    """
    _check_settings(RunFolder.at(config.run), config)
    make_fabric(config.engine)
    with torch.device("meta"):
        build_genie(config)


def _check_settings(run: RunFolder, config: TrainConfig) -> None:
    """Check that what is trained in a run folder was trained with this configuration.

    Raises:
        ValueError: It was made with another one; the message lists the differences.
    """
    if not _is_begun(run):
        return
    stored = to_stored(read_config(run, TrainConfig), run)
    free = (
        FREE_TO_CHANGE if _has_begun(run, Stage.robot_control) else FREE_TO_CHANGE + ROBOT_CONTROL
    )
    different = [
        line
        for line in config_differences(stored, to_stored(config, run))
        if not line.startswith(free) and not DATASET_PATH.match(line)
    ]
    if different:
        raise ValueError(
            f"{run.path} was made with another configuration ({'; '.join(different)}). Give the "
            "same settings to go on, name another folder with run=FOLDER, or delete this one"
        )


def _is_begun(run: RunFolder) -> bool:
    """Whether a training has saved anything here; if not, the run may take another configuration.

    Weights without config.yaml are a tokenizer that was copied from another run.
    """
    return run.config.exists() and any(_has_begun(run, stage) for stage in STAGES)


def _has_begun(run: RunFolder, stage: Stage) -> bool:
    """Whether a training of this stage has saved anything."""
    is_saved = any(run.checkpoints(stage).glob("step_*"))
    return is_saved or any(has_weights(run, part) for part in parts_of(stage))


def _claim(
    run: RunFolder, config: TrainConfig, datasets: Datasets, stages: Sequence[Stage]
) -> None:
    """Write config.yaml and provenance.json, or check that this training may go on in the run.

    provenance.json of stages that are finished stays as it is.

    Raises:
        ValueError: The run was made with another configuration or dataset.
    """
    _check_settings(run, config)
    is_finished = all(_is_finished(run, stage) for stage in stages)
    if is_finished and config.other_dataset:
        return
    if not _is_begun(run):
        write_config(run, config)
    else:
        if not config.other_dataset:
            check_datasets(run, config.data, datasets)
        stored = read_config(run, TrainConfig)
        updated = with_paths_of(stored, config)
        if Stage.robot_control in stages:
            settings = {"labels": config.labels, "robot_control": config.robot_control}
            updated = replace(updated, **settings)
        if to_stored(updated, run) != to_stored(stored, run):
            write_config(run, updated)
    if not is_finished:
        note_datasets(run, config.data, datasets, seed=config.seed)


def _is_finished(run: RunFolder, stage: Stage) -> bool:
    return all(has_weights(run, part) for part in parts_of(stage))


def _train_stage(
    stage: Stage,
    run: RunFolder,
    config: TrainConfig,
    datasets: Datasets,
    fabric: Fabric,
    viewer: Viewer | None,
) -> None:
    """One stage, from fresh weights or the newest checkpoint to finished weights."""
    if _is_finished(run, stage):
        logger.info("%s is already trained in %s", stage, run.path)
        return
    torch.manual_seed(config.seed)
    module = build_stage(stage, run, config, datasets, fabric)
    loop = build_loop(module, run, config, datasets, fabric, viewer)
    loop.run()
    if loop.train_step.average:
        loop.train_step.average.swap()
    whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights: dict[str, Any] = get_model_state_dict(module, options=whole)
    if fabric.is_global_zero:
        for part in parts_of(stage):
            prefix = f"{part}."
            own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
            save_weights(run, part, own)
    fabric.barrier()
