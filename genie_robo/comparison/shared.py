"""Whether trained runs can be compared: shared test episodes, frames, seeds of one setting."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from genie_robo.comparison.table import variant_and_seed
from genie_robo.config_file import config_differences
from genie_robo.trained_run import TrainedRun
from genie_robo.types import Split

_SAME_FRAMES = (
    *("path", "mix", "cache_mb", "weight", "bad_episode_limit"),
    *("val_fraction", "test_fraction", "fold"),
)
"""Data settings that leave the pixels of a test frame unchanged."""


def check_shared(opened: Mapping[str, TrainedRun]) -> list[str]:
    """Notes on how the test episodes and frames of the runs differ.

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
                f"{opened[first].dataset.place}, {len(episodes)} of "
                f"{opened[name].dataset.place}), so there is nothing to pair. Name runs of one "
                "dataset and one split, or evaluate all of them on another dataset with "
                "data=NAME data.path=FOLDER"
            )
        if own != episodes:
            notes.append(
                f"{name} shares {len(shared)} test episodes with {first}, which has {len(own)}; "
                f"it has {len(episodes)}. Differences are of the shared ones, values are not."
            )
        differences = [
            line
            for line in config_differences(opened[first].data, opened[name].data)
            if not line.startswith(_SAME_FRAMES)
        ]
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


def _differs_by_seed(one: TrainedRun, other: TrainedRun) -> bool:
    """Whether only seed and folders differ; a copied dataset counts as the same one."""
    first, second = (replace(trained.config, run="", seed=0) for trained in (one, other))
    is_own = all(
        replace(trained.data, path="") == replace(trained.config.data, path="")
        for trained in (one, other)
    )
    if is_own and one.dataset.fingerprint == other.dataset.fingerprint:
        second = replace(second, data=replace(second.data, path=first.data.path))
    return not config_differences(first, second)
