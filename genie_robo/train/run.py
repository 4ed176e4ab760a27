"""Train the stages of a run folder, one after the other."""

import logging
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from genie_robo.build import build_datasets
from genie_robo.checkpoint import has_weights, save_weights
from genie_robo.config_file import config_differences, read_config, write_config
from genie_robo.run_folder import RunFolder
from genie_robo.train.assemble import Datasets, build_loop, build_stage
from genie_robo.train.engine import make_fabric
from genie_robo.train.live import Viewer
from genie_robo.train.settings import Stage, TrainConfig

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
    "viz",
    "viewer",
)
"""Settings that do not affect what is learned, so a resume may change them."""


def train(config: TrainConfig, viewer: Viewer | None = None) -> None:
    """Train the stages that `config.stage` names; resume unfinished ones, skip finished ones.

    The first process sends its progress to the `viewer`.

    Raises:
        ValueError: The run folder was made with another configuration.
        FileNotFoundError: No dataset, or no trained tokenizer for the world model.
    """
    run = RunFolder.at(config.run)
    claim_run(run, config)
    fabric = make_fabric(config.engine)
    with fabric.rank_zero_first():  # it writes the index that the others read
        datasets = build_datasets(config.data)
    stages = (Stage.tokenizer, Stage.world_model) if config.stage is Stage.all else (config.stage,)
    for stage in stages:
        _train_stage(stage, run, config, datasets, fabric, viewer)


def claim_run(run: RunFolder, config: TrainConfig) -> None:
    """Make the run folder, or check that it was made with this configuration.

    Raises:
        ValueError: It was made with another one; the message lists the differences.
    """
    if not run.config.exists():
        write_config(run, config)
        return
    different = [
        line
        for line in config_differences(read_config(run, TrainConfig), config)
        if not line.startswith(FREE_TO_CHANGE)
    ]
    if different:
        raise ValueError(
            f"{run.path} was made with another configuration ({'; '.join(different)}). Give the "
            "same settings to go on, name another folder with run=FOLDER, or delete this one"
        )


def _train_stage(
    stage: Stage,
    run: RunFolder,
    config: TrainConfig,
    datasets: Datasets,
    fabric: Fabric,
    viewer: Viewer | None,
) -> None:
    """One stage, from fresh weights or the newest checkpoint to finished weights."""
    parts = ("tokenizer",) if stage is Stage.tokenizer else ("latent_action", "dynamics")
    if all(has_weights(run, part) for part in parts):
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
        for part in parts:
            prefix = f"{part}."
            own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
            save_weights(run, part, own)
    fabric.barrier()
