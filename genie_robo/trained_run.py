"""A trained run, opened: its models and a dataset."""

import logging
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from genie_robo.build import build_dataset, build_device, build_windows
from genie_robo.checkpoint import load_genie, load_robot_genie
from genie_robo.config import DataConfig, TrainConfig
from genie_robo.config_file import read_config
from genie_robo.data.dataset import EpisodeDataset
from genie_robo.data.windows import WindowDataset
from genie_robo.pretrained import Genie
from genie_robo.run_folder import RunFolder
from genie_robo.run_paths import is_other, require_datasets, used_data
from genie_robo.trained_on import OWN, check_datasets, trained_test_episodes
from genie_robo.types import Split

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """The input of all commands on a finished run."""

    folder: RunFolder
    config: TrainConfig
    """As the run was trained."""
    data: DataConfig
    """The dataset in use: the run's own unless another one was given."""
    is_own_data: bool
    """Whether the dataset in use is the one that the run was trained on."""
    genie: Genie
    device: torch.device

    @cached_property
    def robot_genie(self) -> Genie | None:
        """The Genie whose dynamics stage robot_control trained; None where it was not.

        Raises:
            ValueError: Its weights do not fit.
        """
        return load_robot_genie(self.folder, self.genie)

    @cached_property
    def dataset(self) -> EpisodeDataset:
        """The episodes, opened at first use.

        Raises:
            FileNotFoundError: There is no dataset.
            ValueError: It is not the one that the run was trained on, or damaged.
        """
        require_datasets(self.folder, replace(self.data, mix={}))
        dataset = build_dataset(self.data)
        if self.is_own_data:
            check_datasets(self.folder, self.data, {OWN: dataset})
        elif num_known := trained_test_episodes(self.folder, self.data, dataset):
            _log.warning(
                "%s was trained on %d of the test episodes of %s",
                self.folder.path,
                num_known,
                dataset.place,
            )
        return dataset

    def windows(self, split: Split) -> WindowDataset:
        """The windows of one split, of the length that the dynamics was trained on."""
        return build_windows(
            self.data, self.dataset, split, num_frames=self.config.world_model.num_frames
        )


def open_run(
    run: str, *, device: str, data: DataConfig | None = None, other_dataset: bool = False
) -> TrainedRun:
    """Load the models of a run; the dataset is opened when it is first used.

    Args:
        run: Its folder.
        device: auto, cpu or cuda.
        data: Another dataset, whose frames are scaled to the size the run was trained at; or the
            run's own at another path.
        other_dataset: Take other episodes than those that the run was trained on.

    Raises:
        FileNotFoundError: Not a run folder, or training has not finished.
        ValueError: The weights do not fit, or the device is not there.
    """
    folder = RunFolder.at(run)
    config = read_config(folder, TrainConfig)
    place = build_device(device)
    return TrainedRun(
        folder=folder,
        config=config,
        data=used_data(config, data),
        is_own_data=not other_dataset and not is_other(data),
        genie=load_genie(folder, place),
        device=place,
    )
