"""What is suspicious about a dataset's actions and the motion that followed them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from genie_robo.data.sources import Source
from genie_robo.data.statistics import ActionStatistics
from genie_robo.inspection.episodes import SeenEpisode
from genie_robo.types import ACTION_NAMES, ACTION_UNITS, GRIPPER

IDLE_M, IDLE_RAD, IDLE_GRIPPER = 0.005, 0.05, 0.1
"""An episode is idle when it never gets farther than this from where it began."""
OUTLIER_FACTOR = 10
"""How many times the width of q01..q99 a value may lie beyond the median."""
SCALE_FACTOR = 3
"""Commands and achieved motion may differ in size by so much."""
LAG_MARGIN = 0.05
"""By how much the correlation with another step's motion must be higher; a robot that answers
late reaches a little more too."""
_GRIPPER_TOLERANCE = 0.05
_MIN_ROWS = 30
"""Fewer transitions say nothing about scale and lag."""
_ROUNDING = 1e-6
"""A dimension that varies by less, in m or rad, is constant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something to know before training on a dataset."""

    kind: str
    """The check that found it."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """Commands beside the motion that followed them, over all episodes looked at."""

    ratio: float
    """Size of a command over that of the achieved delta."""
    correlation: dict[int, float]
    """Of translations, by lag: 0 is the command's own step, 1 the next."""


def check_actions(
    statistics: ActionStatistics, seen: Sequence[SeenEpisode], source: Source
) -> Iterator[Finding]:
    """Each dimension alone, and the gripper."""
    width = statistics.q99 - statistics.q01
    reach = np.maximum(statistics.max - statistics.q50, statistics.q50 - statistics.min)
    for i in np.flatnonzero(statistics.mask[:GRIPPER]):
        name, unit = ACTION_NAMES[i], ACTION_UNITS[i]
        if statistics.max[i] - statistics.min[i] < _ROUNDING:
            yield Finding(kind="constant", text=f"{name} is always {statistics.mean[i]:.4g} {unit}")
        elif reach[i] > OUTLIER_FACTOR * max(width[i], _ROUNDING):
            yield Finding(
                kind="outlier",
                text=f"{name} goes from {statistics.min[i]:.4g} to {statistics.max[i]:.4g} {unit}, "
                f"but 98 % of it from {statistics.q01[i]:.4g} to {statistics.q99[i]:.4g}: scale "
                "by quantiles, not by extremes",
            )
    yield from _check_gripper(statistics, seen, source)


def check_motion(motion: Motion | None) -> Iterator[Finding]:
    """Commands beside the motion that they caused."""
    if motion is None:
        return
    if not 1 / SCALE_FACTOR <= motion.ratio <= SCALE_FACTOR:
        yield Finding(
            kind="action_scale",
            text=f"commanded translations are {motion.ratio:.3g} times the achieved ones: another "
            "unit? data.source.action.translation_scale sets it",
        )
    own = motion.correlation[0]
    lag = max(motion.correlation, key=motion.correlation.__getitem__)
    if lag != 0 and motion.correlation[lag] > own + LAG_MARGIN:
        which = "next" if lag > 0 else "previous"
        yield Finding(
            kind="action_lag",
            text=f"commands correlate {motion.correlation[lag]:.2f} with the {which} step's motion "
            f"and {own:.2f} with their own: are they shifted by a step?",
        )


def compare_motion(seen: Sequence[SeenEpisode], source: Source | None) -> Motion | None:
    """Commanded against achieved translations; None when there is nothing to compare."""
    if source is None or source.angles_add:
        return None
    pairs = [
        (e.commanded[:, :3].astype(np.float64), e.achieved[:, :3].astype(np.float64))
        for e in seen
        if e.commanded is not None and e.achieved is not None and len(e.commanded) > 2
    ]
    if sum(len(commanded) for commanded, _ in pairs) < _MIN_ROWS:
        return None
    commanded, achieved = (np.concatenate(rows) for rows in zip(*pairs, strict=True))
    if not commanded.any() or not achieved.any():
        return None
    ratio = float(np.abs(commanded).mean() / np.abs(achieved).mean())
    # The same commands at every lag: those with a motion before and after.
    inner = np.concatenate([c[1:-1].ravel() for c, _ in pairs])
    moved = {
        lag: np.concatenate([a[1 + lag : len(a) - 1 + lag].ravel() for _, a in pairs])
        for lag in (-1, 0, 1)
    }
    alike = {lag: correlation(inner, rows) for lag, rows in moved.items()}
    return Motion(ratio=ratio, correlation=alike)


def correlation(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> float:
    """Pearson's; 0 where one of them is constant."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def is_idle(episode: SeenEpisode) -> bool:
    """Whether the robot, or without a pose its commands, stay where they began."""
    motion = episode.achieved if episode.achieved is not None else episode.commanded
    if motion is None or episode.commanded is None:
        return False
    path = np.abs(np.cumsum(motion[:, :GRIPPER].astype(np.float64), axis=0))
    gripper = max(np.ptp(rows[:, GRIPPER]) for rows in (motion, episode.commanded))
    is_still = path[:, :3].max() <= IDLE_M and path[:, 3:].max() <= IDLE_RAD
    return bool(is_still and gripper <= IDLE_GRIPPER)


def starts_with_zero(episode: SeenEpisode) -> bool:
    """Whether the first command moves nothing at all, and a later one does."""
    commanded = episode.commanded
    if commanded is None:
        return False
    moves = np.abs(commanded[:, :GRIPPER]).max(axis=1) > _ROUNDING
    return not moves[0] and bool(moves.any())


def _check_gripper(
    statistics: ActionStatistics, seen: Sequence[SeenEpisode], source: Source
) -> Iterator[Finding]:
    stored = [e.gripper for e in seen if e.gripper is not None]
    low = -1.0 if source.action.gripper_format == "relative_close" else 0.0
    if stored:
        values = np.concatenate(stored)
        outside = (values < low - _GRIPPER_TOLERANCE) | (values > 1 + _GRIPPER_TOLERANCE)
        if outside.any():
            yield Finding(
                kind="gripper_range",
                text=f"{outside.mean():.1%} of the stored gripper commands lie outside "
                f"[{low:g}, 1]: from {values.min():.4g} to {values.max():.4g}; they are clipped",
            )
    if statistics.mask[GRIPPER] and statistics.max[GRIPPER] == statistics.min[GRIPPER]:
        yield Finding(
            kind="gripper_constant",
            text=f"the gripper is always {statistics.mean[GRIPPER]:.4g} (1 = open)",
        )
