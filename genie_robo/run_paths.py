"""Where the datasets of a run are, whatever the run's folder is called and wherever it lies.

A run stores `run: .`, paths inside it relative to it, and all other paths absolute. The address
of a remote dataset is stored without user, password and what follows a `?`.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from genie_robo.command_line import is_address, without_secrets
from genie_robo.data.settings import OWN_CAMERA, DataConfig, DatasetConfig, Source, members
from genie_robo.run_folder import RunFolder
from genie_robo.settings import REQUIRED
from genie_robo.train.settings import TrainConfig

HERE = "."
"""The run's own folder, as a run stores it."""


def to_stored(config: TrainConfig, run: RunFolder) -> TrainConfig:
    """A configuration of this run with the paths that the run stores."""
    folder = run.path.resolve()

    def store(path: str) -> str:
        place = Path(path).resolve()
        inside = place.is_relative_to(folder)
        return place.relative_to(folder).as_posix() if inside else os.path.abspath(path)  # noqa: PTH100  keeps symbolic links

    return replace(config, run=HERE, data=_with_paths(config.data, store))


def from_stored(config: TrainConfig, run: RunFolder) -> TrainConfig:
    """A stored configuration with paths that can be opened from any working directory."""
    find = _beside(run.path) if config.run == HERE else _by_earlier_version(config.run, run.path)
    return replace(config, run=str(run.path), data=_with_paths(config.data, find))


def with_paths_of(config: TrainConfig, other: TrainConfig) -> TrainConfig:
    """A configuration that reads its datasets where another one does."""
    data, mix = other.data, other.data.mix
    moved = {
        name: replace(member, path=mix[name].path, source=with_urdf_of(member.source, mix[name]))
        for name, member in config.data.mix.items()
    }
    source = with_urdf_of(config.data.source, data)
    return replace(config, data=replace(config.data, path=data.path, source=source, mix=moved))


def with_urdf_of(source: Source, other: DatasetConfig) -> Source:
    """A source that reads its URDF where another dataset's source does."""
    return replace(source, pose=replace(source.pose, urdf=other.source.pose.urdf))


def used_data(config: TrainConfig, given: DataConfig | None) -> DataConfig:
    """The run's dataset, the same at another path, or another one at the run's image size."""
    if given is None:
        return config.data
    if not is_other(given):
        used = replace(config.data, path=given.path)
        if given.source.pose.urdf:
            used = replace(used, source=with_urdf_of(used.source, given))
        return used
    size = {"image_height": config.data.image_height, "image_width": config.data.image_width}
    return replace(given, **size)


def require_datasets(run: RunFolder, data: DataConfig) -> None:
    """Check that the folders of a run's datasets are there.

    Raises:
        FileNotFoundError: One is not; says how to name its new place.
    """
    for name, member in members(data).items():
        if is_address(member.path) or Path(member.path).exists():
            continue
        which = f"dataset {name} of the mixture" if name else "dataset"
        advice = "give data.path=FOLDER"
        if name:
            advice = (
                "repeat the `genie-robo train` that made the run with "
                f"data.mix.{name}.path=FOLDER, which stores the new place; data.path=FOLDER is the "
                "place of the first dataset alone"
            )
        raise FileNotFoundError(
            f"the {which} of {run.path} is not at {member.path}; if it was moved, {advice}"
        )


def is_other(given: DataConfig | None) -> bool:
    """Whether a dataset was named that is read in its own way, with data=NAME."""
    return given is not None and given.source.camera != OWN_CAMERA


def _with_paths(data: DataConfig, change: Callable[[str], str]) -> DataConfig:
    def changed(path: str) -> str:
        if is_address(path):
            return without_secrets(path)
        return path if path in ("", REQUIRED) else change(path)

    def source(each: DatasetConfig) -> Source:
        pose = each.source.pose
        return replace(each.source, pose=replace(pose, urdf=changed(pose.urdf)))

    mix = {
        name: replace(each, path=changed(each.path), source=source(each))
        for name, each in data.mix.items()
    }
    return replace(data, path=changed(data.path), source=source(data), mix=mix)


def _beside(folder: Path) -> Callable[[str], str]:
    return lambda path: str(folder / path)


def _by_earlier_version(stored_run: str, folder: Path) -> Callable[[str], str]:
    """Paths were relative to the working directory of the training, as was `stored_run`.

    A dataset inside the run is found after the run was moved; another one while the run lies
    where it was made, else from the working directory of today.
    """

    def find(path: str) -> str:
        if Path(path).is_relative_to(stored_run):
            return str(folder / Path(path).relative_to(stored_run))
        parts, own = Path(stored_run).parts, folder.absolute().parts
        if own[-len(parts) :] == parts:
            first = Path(*own[: -len(parts)], path)
            return str(first) if first.exists() else path
        return path

    return find
