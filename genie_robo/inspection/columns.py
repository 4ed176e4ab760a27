"""What the numbers of unknown columns look like: evidence for a proposed mapping."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from genie_robo.data.index import DatasetIndex
from genie_robo.data.sources import Feature, Part
from genie_robo.inspection.episodes import readable
from genie_robo.inspection.motion import correlation
from genie_robo.video_files import spread

SAMPLED_EPISODES = 40
_MAX_SIZE = 64
"""Longer vectors are embeddings or images."""
_ALIKE = 0.5
"""A correlation that does not come about by chance."""
_EQUAL = 0.02
"""Relative difference of actions that are differences of poses."""

Rows = list[Float[np.ndarray, "_ _"]]
"""One array per episode."""


class Sample(NamedTuple):
    """Small columns of some episodes."""

    numbers: Mapping[str, Rows]
    texts: Mapping[str, Sequence[bool]]
    """Whether the first text of every episode says something, by key."""

    def take(self, part: Part | str) -> Rows:
        """A part of a column in every episode."""
        part = Part.parse(part, setting="action") if isinstance(part, str) else part
        return [part.take({part.key: rows}) for rows in self.numbers[part.key]]


class PoseMatch(NamedTuple):
    """How commanded translations relate to three numbers of a column."""

    part: Part
    motion: str
    """delta, achieved or target."""
    correlation: float
    slope: float
    """Stored command over achieved motion; 1 for targets."""


def sample_columns(index: DatasetIndex) -> Sample:
    """Read the small columns of evenly spread episodes."""
    numeric = [key for key, feature in index.features.items() if is_small(feature)]
    texts = [key for key, feature in index.features.items() if feature.kind == "text"]
    numbers: dict[str, Rows] = {key: [] for key in numeric}
    says: dict[str, list[bool]] = {key: [] for key in texts}
    good = readable(index)
    for i in spread(len(good), most=SAMPLED_EPISODES):
        steps = index.read(good[i]).steps
        for key in numeric:
            numbers[key].append(steps[key].reshape(len(steps[key]), -1).astype(np.float64))
        for key in texts:
            says[key].append(bool(steps[key][0]))
    return Sample(numbers, says)


def match_pose(actions: Rows, sample: Sample) -> PoseMatch | None:
    """The three measured numbers that move as the actions say, if there are any."""
    found = [
        match
        for key, rows in sample.numbers.items()
        if not key.startswith("action") and rows[0].shape[1] >= 3
        for start in range(rows[0].shape[1] - 2)
        if (match := _match(actions, [r[:, start : start + 3] for r in rows], key, start))
    ]
    return max(found, key=lambda match: match.correlation, default=None)


def is_unit(rows: Rows) -> bool:
    """Whether rows of four numbers are quaternions."""
    lengths = np.linalg.norm(np.concatenate(rows), axis=1)
    return bool(np.abs(lengths - 1).max() < 0.01)


def is_constant(rows: Rows) -> bool:
    """Whether nothing ever changes."""
    joined = np.concatenate(rows)
    return bool((joined == joined[0]).all())


def agreement(one: Rows, other: Rows) -> float:
    """Correlation of two parts over all steps and numbers, the last step left out."""
    pairs = zip(one, other, strict=True)
    joined = [(a[:-1].ravel(), b[: len(a) - 1].ravel()) for a, b in pairs]
    return correlation(*(np.concatenate(rows) for rows in zip(*joined, strict=True)))


def _match(actions: Rows, position: Rows, key: str, start: int) -> PoseMatch | None:
    size = actions[0].shape[1]
    command = np.concatenate([rows[:-1] for rows in actions])
    before = np.concatenate([rows[:-1, :size] for rows in position])
    change = np.concatenate([np.diff(rows[:, :size], axis=0) for rows in position])
    part = Part(key, start, start + 3)
    if not change.any():
        return None
    if np.abs(command - change).mean() < _EQUAL * np.abs(change).mean():
        return PoseMatch(part, "achieved", 1.0, 1.0)
    spread_out = np.abs(before - before.mean(axis=0)).mean()
    if np.abs(command - before).mean() < 0.5 * spread_out:
        alike = correlation((command - before).ravel(), change.ravel())
        return PoseMatch(part, "target", alike, 1.0) if alike > _ALIKE / 2 else None
    alike = correlation(command.ravel(), change.ravel())
    # The ratio of sizes, not the regression slope, which noise in the motion makes too small.
    slope = float(np.abs(command).mean() / np.abs(change).mean())
    return PoseMatch(part, "delta", alike, slope) if alike > _ALIKE else None


def is_small(feature: Feature) -> bool:
    """Whether a column has few numbers, and the same count in every step."""
    is_numeric = feature.kind == "tensor" and feature.dtype.startswith(("float", "int"))
    return is_numeric and feature.size is not None and 0 < feature.size <= _MAX_SIZE
