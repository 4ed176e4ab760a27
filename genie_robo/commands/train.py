"""`genie-robo train`: the tokenizer, then latent actions and dynamics together."""

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from genie_robo.commands.base import Command
from genie_robo.config import TrainConfig, Viz

if TYPE_CHECKING:
    from genie_robo.train.live import Viewer


def run(config: TrainConfig) -> None:
    """Train what `stage` names, going on where the run folder stops."""
    from genie_robo.run_folder import RunFolder
    from genie_robo.train.run import claim_run, train

    claim_run(RunFolder.at(config.run), config)
    is_first = os.environ.get("RANK", "0") == "0"  # the first process under torchrun
    if is_first:
        _write_provenance(config)
    with open_viewer(config) if is_first else nullcontext() as viewer:
        train(config, viewer)


def open_viewer(config: TrainConfig) -> "AbstractContextManager[Viewer | None]":
    """What shows the training, where that was asked for.

    Raises:
        ValueError: The address of the viewer is not HOST:PORT.
    """
    if config.viz is Viz.none:
        return nullcontext()
    from viz.live import LiveViewer

    return LiveViewer(config.viewer, name=Path(config.run).name)


def _write_provenance(config: TrainConfig) -> None:
    from genie_robo.build import build_datasets
    from genie_robo.data.windows import split_episodes
    from genie_robo.provenance import write_provenance
    from genie_robo.run_folder import RunFolder

    data = config.data
    datasets = build_datasets(data)
    episodes = {}
    for name, dataset in datasets.items():
        ids = dataset.episode_ids
        split = split_episodes(
            ids,
            val_fraction=data.val_fraction,
            test_fraction=data.test_fraction,
            fold=data.fold,
        )
        episodes[name] = {side.value: [ids[i] for i in split[side]] for side in split}
    write_provenance(
        RunFolder.at(config.run),
        dataset_fingerprints={name: dataset.fingerprint for name, dataset in datasets.items()},
        episodes=episodes,
        seeds={"train": config.seed},
    )


COMMAND = Command(
    name="train",
    summary="train a Genie on an RLDS dataset, without looking at its actions",
    config=TrainConfig,
    run=run,
    details=(
        "Stage tokenizer learns video tokens; stage world_model learns latent actions and the "
        "dynamics together. Training goes on from the newest checkpoint in the run folder, and "
        "refuses a folder that was made with other settings. viz=live shows losses, codebooks, "
        "reconstructions and rollouts in a running Rerun viewer; training neither waits for it "
        "nor stops with it. Under torchrun every process takes "
        "its share of the batches."
    ),
    examples=(
        "genie-robo train run=runs/bridge data=bridge_dataset data.path=~/rlds/bridge_dataset",
        "genie-robo train run=runs/mine data=rlds data.path=~/rlds/mine "
        "data.source.camera=observation/image data.source.action.gripper_format=closed_one",
        "genie-robo train run=runs/mine ... stage=tokenizer tokenizer.num_steps=5000",
        "genie-robo train run=runs/mine ... viz=live viewer=127.0.0.1:9876",
        "torchrun --nproc-per-node 8 -m genie_robo train run=runs/big ... engine=gpu",
        "genie-robo train -m seed=0,1,2 'run=runs/seed_${seed}' data.path=~/rlds/mine",
    ),
)
