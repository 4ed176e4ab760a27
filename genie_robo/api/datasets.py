"""The episodes of a dataset as arrays."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from genie_robo.build import build_dataset
from genie_robo.command_line import without_secrets
from genie_robo.config_file import known_datasets, read_dataset_config, read_dataset_file
from genie_robo.data.actions import episode_actions
from genie_robo.data.dataset import EpisodeDataset
from genie_robo.data.metadata import open_folder
from genie_robo.data.settings import DatasetConfig, Source
from genie_robo.data.transforms import decode_frames
from genie_robo.types import Episode


def open_dataset(
    path: str | Path, data: str | Path | None = None, *, source: Source | None = None
) -> EpisodeDataset:
    """The episodes of an RLDS or LeRobot folder, read one by one when they are asked for.

    Args:
        path: The folder, one above a single version folder, or the address of an RLDS folder.
        data: Which columns are the camera, the action and so on: the name of a dataset of
            conf/data, such as bridge_dataset, or a YAML file of one's own, as
            `genie-robo inspect write=FILE` writes it; by default the name in the folder's files.
        source: The same columns, for a dataset that has no such name.

    Raises:
        FileNotFoundError: There is no dataset, or no such file.
        KeyError: A column is missing.
        ValueError: Nothing says which columns to read, both arguments do, or files are damaged.
    """
    if data is not None and source is not None:
        raise ValueError(f"give one of data={data!r} and source=, which say the same")
    if source is not None:
        return build_dataset(DatasetConfig(path=str(path), source=source))
    if data is not None and Path(data).suffix == ".yaml":
        own = read_dataset_file(Path(data))
        return build_dataset(DatasetConfig(path=str(path), source=own.source))
    return build_dataset(read_dataset_config(str(data or _own_name(path)), path=str(path)))


class EpisodeArrays(NamedTuple):
    """An episode as a model is given it."""

    frames: UInt8[np.ndarray, "t h w c"]
    """RGB, of the size that is stored."""
    robot_actions: Float[np.ndarray, "t-1 a"]
    """Action i leads from frame i to frame i + 1: dx dy dz (m), droll dpitch dyaw (rad), gripper
    (1 = open), then joints; zero where the dataset has none."""


def read_episode(episode: Episode, *, camera: str = "primary", stride: int = 1) -> EpisodeArrays:
    """Frames and robot actions of an episode.

    Args:
        episode: One of `open_dataset`.
        camera: Its name or key; `episode.images` lists them.
        stride: Take every n-th step; actions in between are composed. Models were trained at
            `LoadedGenie.frames_per_second`, the dataset has `episode.control_hz`.

    Raises:
        KeyError: There is no such camera.
        ValueError: The stride is below one, or an image is damaged.
    """
    if camera not in episode.images:
        raise KeyError(f"camera={camera} is not one of {', '.join(sorted(episode.images))}")
    if stride < 1:
        raise ValueError(f"stride={stride} must be at least 1")
    frames = decode_frames(
        episode.images[camera][::stride], image_size=None, is_bgr=camera in episode.bgr_cameras
    )
    return EpisodeArrays(frames, episode_actions(episode, stride=stride).astype(np.float64))


def _own_name(path: str | Path) -> str:
    name = open_folder(path).name
    if name not in known_datasets():
        shown = without_secrets(str(path))
        raise ValueError(
            f"{shown} is a dataset named {name}, whose columns are not known. Give data=NAME, a "
            "dataset of conf/data with the same columns, data=FILE.yaml, as `genie-robo inspect "
            f"path={shown} write=FOLDER/data/NAME.yaml` writes it, or source=Source(camera=..., "
            "...) of genie_robo.config"
        )
    return name
