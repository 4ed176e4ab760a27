"""A trained run, opened: its models and a dataset."""

from dataclasses import dataclass, replace

import torch

from genie_robo.build import build_dataset, build_device, build_windows
from genie_robo.checkpoint import load_genie
from genie_robo.config import DataConfig, TrainConfig
from genie_robo.config_file import read_config
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.windows import WindowDataset
from genie_robo.models.genie import Genie
from genie_robo.run_folder import RunFolder
from genie_robo.types import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedRun:
    """The input of all commands on a finished run."""

    folder: RunFolder
    config: TrainConfig
    """As the run was trained."""
    data: DataConfig
    """The dataset in use: the run's own unless another one was given."""
    genie: Genie
    dataset: RldsDataset
    device: torch.device

    def windows(self, split: Split) -> WindowDataset:
        """The windows of one split, of the length that the dynamics was trained on."""
        return build_windows(
            self.data, self.dataset, split, num_frames=self.config.world_model.num_frames
        )


def open_run(run: str, *, device: str, data: DataConfig | None = None) -> TrainedRun:
    """Load a run; frames of another dataset are scaled to the size the run was trained at.

    Raises:
        FileNotFoundError: Not a run folder, training has not finished, or no dataset.
        ValueError: The weights do not fit, or the device is not there.
    """
    folder = RunFolder.at(run)
    config = read_config(folder, TrainConfig)
    size = {"image_height": config.data.image_height, "image_width": config.data.image_width}
    used = replace(data, **size) if data else config.data
    place = build_device(device)
    genie = load_genie(folder, place)
    return TrainedRun(
        folder=folder,
        config=config,
        data=used,
        genie=genie,
        dataset=build_dataset(used),
        device=place,
    )
