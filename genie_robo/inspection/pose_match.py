"""Measured columns that follow the commands: the pose of the end effector, or joints.

Joints and positions in metres look alike: a column that is named like joints is never a pose, nor
is one without such a name that stands beside a Cartesian one.
"""

import re
from typing import NamedTuple

import numpy as np

from genie_robo.data.sources import Part
from genie_robo.inspection.episodes import Rows, Sample
from genie_robo.inspection.motion import correlation
from genie_robo.inspection.step_sizes import MOST_M

_JOINTS = re.compile(r"joint|qpos|qvel|motor", re.IGNORECASE)
_CARTESIAN = re.compile(r"cartesian|eef|(?<![a-z])ee_|tcp|tool|effector|pose", re.IGNORECASE)
_CORRELATED = 0.5
"""Correlations above this are not taken for chance."""
_EQUAL = 0.02
"""Relative difference below which actions are differences of poses."""
_LEAST_JOINTS = 4
"""Fewer columns that move together may be anything."""
_RANK = {"achieved": 2, "target": 2, "delta": 1}
"""Equal differences and close targets are better evidence than a correlation."""


class PoseMatch(NamedTuple):
    """How commands relate to measured numbers of a column."""

    part: Part
    motion: str
    """delta, velocity, achieved or target."""
    correlation: float
    slope: float
    """Stored command over achieved motion; 1 for targets."""
    largest_step: float
    """The 99th percentile of the size of a measured step, in the unit of the column."""

    @property
    def is_plausible(self) -> bool:
        """Whether the measured steps could be metres."""
        return self.largest_step <= MOST_M

    @property
    def strength(self) -> tuple[int, float]:
        """To compare matches by."""
        return _RANK[self.motion], self.correlation


def match_pose(actions: Rows, sample: Sample) -> PoseMatch | None:
    """The three measured numbers whose changes follow the actions best, if any do."""
    found = [
        match
        for key in _measured(sample, joints=False)
        for start in range(sample.width(key) - 2)
        if (match := _match(actions, Part(key, start, start + 3), sample))
    ]
    return max(found, key=lambda match: match.correlation, default=None)


def match_joints(key: str, sample: Sample) -> PoseMatch | None:
    """Measured joints that the first numbers of an action follow, all of them, if there are any.

    None for an action that is named like a Cartesian one.
    """
    if _CARTESIAN.search(key):
        return None
    widths = {name: sample.width(name) for name in _measured(sample, joints=True)}
    found = [
        match
        for name, width in widths.items()
        if _LEAST_JOINTS <= width <= sample.width(key)
        if (match := _match(sample.take(f"{key}[0:{width}]"), Part(name, 0, width), sample))
    ]
    return max(found, key=lambda match: match.strength, default=None)


def agreement(one: Rows, other: Rows, sample: Sample) -> float:
    """Correlation of two parts over all numbers of all steps but the last of each episode."""
    return correlation(sample.without_last(one).ravel(), sample.without_last(other).ravel())


def _measured(sample: Sample, *, joints: bool) -> list[str]:
    """Columns that may be joints, or that may be a pose, by their names."""
    keys = [key for key in sample.numbers if not key.startswith("action")]
    named = {key for key in keys if _JOINTS.search(key)}
    cartesian = {key for key in keys if _CARTESIAN.search(key)} - named
    if any(sample.width(key) > 1 for key in cartesian):
        named = set(keys) - cartesian
    return [key for key in keys if (key in named) == joints]


def _match(actions: Rows, part: Part, sample: Sample) -> PoseMatch | None:
    position = sample.take(part)[:, : actions.shape[1]]
    command, before = sample.without_last(actions), sample.without_last(position)
    change = sample.changes(position)
    if not change.any():
        return None
    largest = float(np.quantile(np.abs(change).max(axis=1), 0.99))
    if np.abs(command - change).mean() < _EQUAL * np.abs(change).mean():
        return PoseMatch(part, "achieved", 1.0, 1.0, largest)
    if np.abs(command - before).mean() < 0.5 * np.abs(before - before.mean(axis=0)).mean():
        alike = correlation((command - before).ravel(), change.ravel())
        is_target = alike > _CORRELATED / 2
        return PoseMatch(part, "target", alike, 1.0, largest) if is_target else None
    alike = correlation(command.ravel(), change.ravel())
    # The ratio of sizes, not the regression slope, which noise in the motion makes too small.
    slope = float(np.abs(command).mean() / np.abs(change).mean())
    return PoseMatch(part, "delta", alike, slope, largest) if alike > _CORRELATED else None
