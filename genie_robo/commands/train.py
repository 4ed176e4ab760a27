"""`genie-robo train`: the tokenizer, then latent actions and dynamics together."""

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from genie_robo.build import build_datasets
from genie_robo.config import TrainConfig, Viz
from genie_robo.data.windows import split_episodes
from genie_robo.provenance import write_provenance
from genie_robo.run_folder import RunFolder
from genie_robo.train.live import Viewer
from genie_robo.train.run import claim_run, train
from viz.live import LiveViewer


def run(config: TrainConfig) -> None:
    """Train what `stage` names, resuming from the newest checkpoint."""
    claim_run(RunFolder.at(config.run), config)
    is_first = os.environ.get("RANK", "0") == "0"  # the first process under torchrun
    if is_first:
        _write_provenance(config)
    with open_viewer(config) if is_first else nullcontext() as viewer:
        train(config, viewer)


def open_viewer(config: TrainConfig) -> AbstractContextManager[Viewer | None]:
    """The live viewer, if `viz` asks for one.

    Raises:
        ValueError: The address of the viewer is not HOST:PORT.
    """
    if config.viz is Viz.none:
        return nullcontext()
    return LiveViewer(config.viewer, name=Path(config.run).name)


def _write_provenance(config: TrainConfig) -> None:
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
