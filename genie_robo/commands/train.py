"""`genie-robo train`: the tokenizer, then latent actions and dynamics together."""

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from genie_robo.config import TrainConfig, Viz
from genie_robo.train.live import Viewer
from genie_robo.train.run import train
from genie_robo.viz.live import LiveViewer


def run(config: TrainConfig) -> None:
    """Train what `stage` names, resuming from the newest checkpoint."""
    is_first = os.environ.get("RANK", "0") == "0"  # the first process under torchrun
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
