"""The episodes that a run was trained on: written once, then compared with what is opened."""

from collections.abc import Mapping

from genie_robo.data.dataset import EpisodeDataset
from genie_robo.data.settings import DataConfig
from genie_robo.data.windows import split_episodes
from genie_robo.provenance import read_provenance, write_provenance
from genie_robo.run_folder import RunFolder
from genie_robo.types import Split

OWN = ""
"""Name of the first dataset of a run, the one that it is evaluated on."""

Datasets = Mapping[str, EpisodeDataset]
"""By the names of data.mix; the first one is named OWN."""


def note_datasets(run: RunFolder, data: DataConfig, datasets: Datasets, *, seed: int) -> None:
    """Write provenance.json; datasets of an earlier training in this run stay listed in it."""
    write_provenance(
        run,
        dataset_fingerprints={name: dataset.fingerprint for name, dataset in datasets.items()},
        episodes={name: _sides(data, dataset) for name, dataset in datasets.items()},
        seeds={"train": seed},
        joint_names=datasets[OWN].source.action.joint_names,
    )


def check_datasets(run: RunFolder, data: DataConfig, datasets: Datasets) -> None:
    """Check that the datasets are those that the run was trained on.

    A run without provenance.json cannot be checked.

    Raises:
        ValueError: One has another fingerprint; the message lists the differences.
    """
    content = read_provenance(run)
    if content is None:
        return
    known = {OWN: content, **content.get("mixed", {})}
    for name, dataset in datasets.items():
        was = known.get(name, {})
        if was.get("dataset_fingerprint") == dataset.fingerprint:
            continue
        raise ValueError(
            f"{dataset.place} is not the dataset that {run.path} was trained on: "
            f"{_difference(was, dataset, _sides(data, dataset))}. Give that dataset as "
            f"{f'data.mix.{name}' if name else 'data'}.path=FOLDER, or use this one on purpose "
            "with other_dataset=true"
        )


def trained_test_episodes(run: RunFolder, data: DataConfig, dataset: EpisodeDataset) -> int:
    """How many test episodes of a dataset the run was trained on; 0 where that is unknown."""
    content = read_provenance(run) or {}
    known = [content, *(content.get("mixed") or {}).values()]
    trained = {e for each in known for e in each.get("episodes", {}).get(Split.train.value, ())}
    return len(trained & set(_sides(data, dataset)[Split.test.value]))


def _difference(
    was: Mapping[str, object], dataset: EpisodeDataset, sides: Mapping[str, list[str]]
) -> str:
    """How the episodes differ from those of a training, in words."""
    episodes = was.get("episodes")
    before: Mapping[str, list[str]] = episodes if isinstance(episodes, dict) else {}
    old = {episode for ids in before.values() for episode in ids}
    new = set(dataset.episode_ids)
    prints = f"fingerprint {was.get('dataset_fingerprint')} -> {dataset.fingerprint}"
    if old == new:
        return f"{prints}, the same {len(new)} episodes, but other settings of data.source"
    trained = set(before.get(Split.train.value, ())) & set(sides[Split.test.value])
    leaks = f"; {len(trained)} of its test episodes were trained on" if trained else ""
    return f"{prints}, {len(old)} episodes -> {len(new)}, {len(old & new)} the same{leaks}"


def _sides(data: DataConfig, dataset: EpisodeDataset) -> dict[str, list[str]]:
    """Episode ids of each split."""
    ids = dataset.episode_ids
    split = split_episodes(
        ids, val_fraction=data.val_fraction, test_fraction=data.test_fraction, fold=data.fold
    )
    return {side.value: [ids[i] for i in split[side]] for side in split}
