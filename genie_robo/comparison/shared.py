"""Whether trained runs can be compared: shared test episodes, frames, seeds of one setting."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from genie_robo.comparison.table import variant_and_seed
from genie_robo.config import DataConfig
from genie_robo.config_file import config_differences
from genie_robo.trained_run import TrainedRun
from genie_robo.types import Split

_NOT_THE_FRAMES = (
    *("path", "mix", "cache_mb", "weight", "bad_episode_limit"),
    *("val_fraction", "test_fraction", "fold"),
)
"""Settings of data that do not change what a test frame looks like."""


def check_shared(opened: Mapping[str, TrainedRun]) -> list[str]:
    """What a reader of a comparison must know about the test episodes of its runs.

    Raises:
        ValueError: A run shares no test episode with the first one.
    """
    sides = {name: _test_episodes(trained) for name, trained in opened.items()}
    (first, own), *others = sides.items()
    notes = []
    for name, episodes in others:
        shared = own & episodes
        if not shared:
            raise ValueError(
                f"{first} and {name} share no test episode ({len(own)} of "
                f"{opened[first].dataset.folder}, {len(episodes)} of "
                f"{opened[name].dataset.folder}), so there is nothing to pair. Name runs of one "
                "dataset and one split, or evaluate all of them on another dataset with "
                "data=NAME data.path=FOLDER"
            )
        if own != episodes:
            notes.append(
                f"{name} shares {len(shared)} test episodes with {first}, which has {len(own)}; "
                f"it has {len(episodes)}. Differences are of the shared ones, values are not."
            )
        differences = _different_frames(opened[first].data, opened[name].data)
        if differences:
            notes.append(f"{name} sees other frames than {first} ({'; '.join(differences)}).")
    return notes


def settings_of(opened: Mapping[str, TrainedRun]) -> dict[str, str]:
    """The setting that each run is a seed of, named after its first run."""
    settings: dict[str, str] = {}
    for name, trained in opened.items():
        alike = next((n for n in settings if _differs_by_seed(opened[n], trained)), None)
        settings[name] = settings[alike] if alike else variant_and_seed(Path(name))[0]
    return settings


def _test_episodes(trained: TrainedRun) -> set[str]:
    episodes = trained.windows(Split.test).episodes
    return {trained.dataset.episode_ids[number] for number in episodes}


def _different_frames(first: DataConfig, other: DataConfig) -> list[str]:
    return [
        line for line in config_differences(first, other) if not line.startswith(_NOT_THE_FRAMES)
    ]


def _differs_by_seed(one: TrainedRun, other: TrainedRun) -> bool:
    """Whether nothing but the seed and folders differ; a copied dataset is the same one."""
    first, second = (replace(trained.config, run="", seed=0) for trained in (one, other))
    is_own = all(trained.data is trained.config.data for trained in (one, other))
    if is_own and one.dataset.fingerprint == other.dataset.fingerprint:
        second = replace(second, data=replace(second.data, path=first.data.path))
    return not config_differences(first, second)
