"""What is in an RLDS folder, as plain facts: splits, columns, actions, problems, pictures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from omegaconf import OmegaConf
from PIL import Image

from genie_robo.build import build_dataset
from genie_robo.commands.compose import conf_dir
from genie_robo.config import DataConfig
from genie_robo.data.index import DatasetIndex, RecordEntry, build_index
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.transforms import decode_frames, stored_size
from genie_robo.pictures import draw_strip, spread
from genie_robo.types import ACTION_NAMES, ACTION_UNITS

SAMPLED_EPISODES = 300
"""Action statistics are taken over at most so many episodes, evenly spread."""
SHEET_EPISODES, SHEET_FRAMES, SHEET_HEIGHT = 6, 8, 96


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFacts:
    """One RLDS split as stored."""

    name: str
    num_episodes: int
    num_repeated: int
    """Episodes whose bytes occur elsewhere too, in this split or another."""
    num_unreadable: int
    min_steps: int
    median_steps: float
    max_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionFacts:
    """One dimension of the 7-D end-effector action."""

    name: str
    unit: str
    mean: float
    std: float
    q01: float
    median: float
    q99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """Everything that `genie-robo inspect` says."""

    name: str
    folder: str
    file_format: str
    num_shards: int
    size_mb: float
    fingerprint: str
    splits: Sequence[SplitFacts]
    columns: dict[str, str]
    """Every key of a step, with its type."""
    fits: Sequence[str]
    """Names that can be given as data=NAME."""
    actions: Sequence[ActionFacts]
    """By the first of `fits`; empty when nothing fits."""
    problems: Sequence[str]


def collect_facts(path: Path) -> tuple[DatasetFacts, Image.Image | None]:
    """Look through a dataset; the picture is a contact sheet, None without a camera.

    Raises:
        FileNotFoundError: There is no dataset, or a shard is missing.
        ValueError: A JSON file or a shard is damaged.
    """
    index = build_index(path)
    known = {name: dataset for name in known_sources() if (dataset := try_source(name, path))}
    dataset = next(iter(known.values()), None)
    facts = DatasetFacts(
        name=index.schema.name,
        folder=str(index.folder),
        file_format=index.schema.file_format,
        num_shards=len(index.schema.shards),
        size_mb=sum(shard.path.stat().st_size for shard in index.schema.shards) / 1e6,
        fingerprint=index.fingerprint,
        splits=split_facts(index),
        columns={key: str(feature) for key, feature in sorted(index.features.items())},
        fits=list(known),
        actions=action_facts(dataset) if dataset else [],
        problems=list_problems(index, dataset),
    )
    return facts, contact_sheet(index, dataset.source.camera if dataset else "")


def known_sources() -> list[str]:
    """Names in conf/data/ that describe a dataset."""
    return sorted(path.stem for path in (conf_dir() / "data").glob("*.yaml"))


def try_source(name: str, path: Path) -> RldsDataset | None:
    """The dataset read as conf/data/NAME.yaml describes it, or None when that does not fit."""
    difference = OmegaConf.load(conf_dir() / "data" / f"{name}.yaml")
    merged = OmegaConf.merge(OmegaConf.structured(DataConfig), difference)
    merged.path, merged.bad_episode_limit = str(path), 1.0
    if OmegaConf.missing_keys(merged):
        return None
    config = OmegaConf.to_object(merged)
    assert isinstance(config, DataConfig)
    try:
        return build_dataset(config)
    except (KeyError, ValueError):
        return None


def split_facts(index: DatasetIndex) -> list[SplitFacts]:
    """Every RLDS split with its episode counts and lengths."""
    seen = Counter(entry.episode_id for entry in index.entries)
    split_of = {shard.path: shard.split for shard in index.schema.shards}
    by_split: dict[str, list[RecordEntry]] = {}
    for entry in index.entries:
        by_split.setdefault(split_of[entry.shard], []).append(entry)
    found = []
    for name, entries in by_split.items():
        steps = [entry.num_steps for entry in entries if not entry.problem] or [0]
        found.append(
            SplitFacts(
                name=name,
                num_episodes=len(entries),
                num_repeated=sum(seen[entry.episode_id] > 1 for entry in entries),
                num_unreadable=sum(bool(entry.problem) for entry in entries),
                min_steps=min(steps),
                median_steps=float(np.median(steps)),
                max_steps=max(steps),
            )
        )
    return found


def action_facts(dataset: RldsDataset) -> list[ActionFacts]:
    """Statistics of the dimensions that the dataset has; each episode's last action is left out."""
    episodes = [dataset[i] for i in spread(len(dataset), most=SAMPLED_EPISODES)]
    actions = np.concatenate([episode.robot_actions[:-1] for episode in episodes])
    mask = episodes[0].action_mask
    return [
        _statistics(name, unit, actions[:, i].astype(np.float64))
        for i, (name, unit) in enumerate(zip(ACTION_NAMES, ACTION_UNITS, strict=True))
        if mask[i]
    ]


def list_problems(index: DatasetIndex, dataset: RldsDataset | None) -> list[str]:
    """What a user should know before training on it."""
    problems = [f"{e.episode_id}: {e.problem}" for e in index.entries if e.problem]
    problems += [
        f"{e.episode_id}: {', '.join(e.bad_keys)} not finite or not an image"
        for e in index.entries
        if e.bad_keys
    ]
    repeated = len(index.entries) - len({entry.episode_id for entry in index.entries})
    if repeated:
        problems.append(
            f"{repeated} of {len(index.entries)} records repeat another one; training uses each "
            "once and splits by content, so that no episode is in train and test"
        )
    if dataset is None:
        problems.append("no file in conf/data/ fits; use data=rlds and name the keys")
    return problems


def contact_sheet(index: DatasetIndex, camera: str) -> Image.Image | None:
    """Some frames of some episodes, first to last."""
    cameras = [key for key, feature in sorted(index.features.items()) if feature.is_camera]
    camera = camera or next(iter(cameras), "")
    good = [entry for entry in index.entries if not entry.problem and not entry.bad_keys]
    if not camera or not good:
        return None
    rows = {}
    for i in spread(len(good), most=SHEET_EPISODES):
        encoded = index.read(good[i]).steps[camera]
        chosen = np.linspace(0, len(encoded) - 1, SHEET_FRAMES).round().astype(int)
        images = [bytes(encoded[t]) for t in chosen]
        height, width = stored_size(images[0])
        size = (SHEET_HEIGHT, round(SHEET_HEIGHT * width / height))
        rows[good[i].episode_id[:8]] = decode_frames(images, image_size=size)
    headers = [f"{share:.0%}" for share in np.linspace(0, 1, SHEET_FRAMES)]
    return draw_strip(rows, headers=headers)


def _statistics(name: str, unit: str, values: Float[np.ndarray, " n"]) -> ActionFacts:
    q01, median, q99 = (float(q) for q in np.quantile(values, [0.01, 0.5, 0.99]))
    mean, std = float(values.mean()), float(values.std())
    return ActionFacts(name=name, unit=unit, mean=mean, std=std, q01=q01, median=median, q99=q99)
