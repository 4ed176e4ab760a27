"""Checks of a dataset: records, episodes, actions, and the motion that follows them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float

from genie_robo.data.folders import LEROBOT_INFO
from genie_robo.data.index import DatasetIndex, RecordEntry
from genie_robo.data.lerobot import LeRobotIndex
from genie_robo.data.lerobot_layout import TIMESTAMP, LeRobotSchema
from genie_robo.data.settings import Source
from genie_robo.data.sources import action_dim
from genie_robo.data.statistics import ActionStatistics
from genie_robo.inspection.episodes import CameraFacts, SeenEpisode
from genie_robo.inspection.findings import Finding
from genie_robo.types import (
    ACTION_UNITS,
    END_EFFECTOR,
    GRIPPER,
    JOINTS,
    action_names,
    action_units,
)

_IDLE_M, _IDLE_RAD, _IDLE_GRIPPER = 0.005, 0.05, 0.1
"""An episode is idle when it never gets farther than this from its start; a joint, whatever its
unit, than _IDLE_RAD."""
_OUTLIER_FACTOR = 10
"""Values may lie this many times the width of q01..q99 from the median."""
_GRIPPER_TOLERANCE = 0.05
_ROUNDING = 1e-6
"""A dimension that varies by less, in m or rad, is constant."""
_FIRST_ZERO_SHARE = 0.1
"""The first action may be all zero in this share of the episodes."""
_RATE_TOLERANCE = 0.02
"""Relative difference of two rates that is rounding: 12.5 Hz stored as 12 is more."""
_NAMED = 5
"""Idle episodes that are named."""


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


def split_facts(index: DatasetIndex) -> list[SplitFacts]:
    """Every RLDS split with its episode counts and lengths."""
    occurrences = Counter(entry.episode_id for entry in index.entries)
    found = []
    for name, entries in by_split(index).items():
        steps = [entry.num_steps for entry in entries if not entry.problem] or [0]
        found.append(
            SplitFacts(
                name=name,
                num_episodes=len(entries),
                num_repeated=sum(occurrences[entry.episode_id] > 1 for entry in entries),
                num_unreadable=sum(bool(entry.problem) for entry in entries),
                min_steps=min(steps),
                median_steps=float(np.median(steps)),
                max_steps=max(steps),
            )
        )
    return found


def by_split(index: DatasetIndex) -> dict[str, list[RecordEntry]]:
    """Records of every RLDS split."""
    split_of = {shard.path: shard.split for shard in index.schema.shards}
    found: dict[str, list[RecordEntry]] = {}
    for entry in index.entries:
        found.setdefault(split_of[entry.shard], []).append(entry)
    return found


def check_records(index: DatasetIndex) -> Iterator[Finding]:
    """Unreadable records, repeated ones, and RLDS splits that share episodes."""
    for entry in index.entries:
        if entry.problem:
            yield Finding("unreadable", f"{entry.episode_id}: {entry.problem}")
        for key, reason in entry.faults.items():
            yield Finding("bad_column", f"{entry.episode_id}: {key} {reason}")
    ids = {name: {e.episode_id for e in entries} for name, entries in by_split(index).items()}
    for one, other in combinations(ids, 2):
        if count := len(ids[one] & ids[other]):
            yield Finding(
                "split_overlap",
                f"RLDS {one} and {other} share {count} episodes; training uses each once and "
                "splits by content, so that no episode is in train and test",
            )
    if repeated := len(index.entries) - sum(map(len, ids.values())):
        yield Finding(
            "duplicate",
            f"{repeated} of {len(index.entries)} records repeat another one of their split; "
            "each is used once",
        )


def check_list(index: DatasetIndex) -> Iterator[Finding]:
    """A list of episodes that is not as long as the folder says."""
    schema = index.schema
    if isinstance(schema, LeRobotSchema) and schema.list_problem:
        yield Finding("episode_list", schema.list_problem)


def check_times(index: DatasetIndex) -> Iterator[Finding]:
    """Times of steps and of video frames against `fps`, in a format that stores all three."""
    if not isinstance(index, LeRobotIndex):
        return
    fps, period_ms = index.schema.fps, 1000 / index.schema.fps
    is_other = is_other_rate(index.step_s, fps)
    if is_other:
        yield Finding(
            "rate",
            f"timestamps advance by {index.step_s:.4g} s a step, which is {1 / index.step_s:.4g} "
            f"Hz, but {LEROBOT_INFO} says fps={fps:g}: give data.source.control_hz",
        )
    yield from _check_gaps(index)
    for key, jitter_s in sorted(index.jitter_s.items()):
        what = f"frames of {key} are up to {1000 * jitter_s:.2g} ms from the times of their steps"
        is_uneven = False
        if key == TIMESTAMP:
            is_uneven = jitter_s > 0.5 / fps and not is_other
            what = f"times of steps are up to {1000 * jitter_s:.2g} ms from {fps:g} Hz"
        kind = "uneven_times" if is_uneven else "times"
        yield Finding(kind, f"{what} (a step has {period_ms:.3g} ms)")


def is_other_rate(step_s: float, fps: float) -> bool:
    """Whether the time from a step to the next, where it is known, is not that of `fps`."""
    return step_s > 0 and abs(step_s * fps - 1) > _RATE_TOLERANCE


def _check_gaps(index: LeRobotIndex) -> Iterator[Finding]:
    """Episodes in which time is missing."""
    gaps = [len(entry.gaps) for entry in index.entries if entry.gaps]
    if gaps:
        yield Finding(
            "gaps",
            f"timestamps jump {sum(gaps)} times in {len(gaps)} of {len(index.entries)} episodes: "
            "no window of a training has a jump inside, but whole episodes, which evaluations "
            "read, do",
        )


def check_cameras(cameras: Sequence[CameraFacts]) -> Iterator[Finding]:
    """Cameras whose images are black or cannot be decoded."""
    for camera in cameras:
        for kind, what, count, reason in (
            ("blank_camera", "is black", camera.num_blank, ""),
            ("undecodable", "cannot be decoded", camera.num_undecodable, camera.problem),
        ):
            if count:
                where = f"in {count} of {camera.num_looked_at} episodes"
                text = f"{camera.key} {what} {where}" + (f": {reason}" if reason else "")
                yield Finding(kind, text)


def check_episodes(seen: Sequence[SeenEpisode], *, has_flags: bool) -> Iterator[Finding]:
    """Motion of single episodes, and their flags where the format has any."""
    if has_flags:
        yield from _check_flags(seen)
    for episode in seen:
        if episode.problem:
            yield Finding("unreadable", f"{episode.episode_id}: {episode.problem}")
    idle = [episode.episode_id[:8] for episode in seen if is_idle(episode)]
    if idle:
        names = ", ".join(idle[:_NAMED])
        if len(idle) > _NAMED:
            names += f" and {len(idle) - _NAMED} more"
        yield Finding(
            "idle",
            f"{_share(len(idle), seen)} never get farther than {_IDLE_M * 1000:g} mm and "
            f"{_IDLE_RAD:g} rad from where they began, nor move the gripper: {names}",
        )
    moving = [e.commanded for e in seen if e.commanded is not None and not is_idle(e)]
    if copies := len(moving) - len({commanded.tobytes() for commanded in moving}):
        yield Finding(
            "equal_actions",
            f"{_share(copies, seen)} have exactly the actions of another one, but not its "
            "bytes: they may be copies that the split does not recognise",
        )
    zero = sum(map(starts_with_zero, moving))
    if zero > _FIRST_ZERO_SHARE * len(seen):
        yield Finding(
            "first_action_zero",
            f"the first action is all zero in {_share(zero, seen)}: is it a placeholder, and "
            "the action of step t that of t - 1?",
        )


def check_actions(
    statistics: ActionStatistics,
    seen: Sequence[SeenEpisode],
    source: Source,
    names: Sequence[str],
) -> Iterator[Finding]:
    """Check each dimension alone, and the gripper; `names` are those of the dimensions."""
    width = statistics.q99 - statistics.q01
    reach = np.maximum(statistics.max - statistics.q50, statistics.q50 - statistics.min)
    units = units_of(source)
    for i in np.flatnonzero(statistics.mask & (np.arange(len(names)) != GRIPPER)).tolist():
        name, unit = names[i], units[i]
        if statistics.max[i] - statistics.min[i] < _ROUNDING:
            yield Finding("constant", f"{name} is always {statistics.mean[i]:.4g} {unit}")
        elif reach[i] > _OUTLIER_FACTOR * max(width[i], _ROUNDING):
            yield Finding(
                "outlier",
                f"{name} goes from {statistics.min[i]:.4g} to {statistics.max[i]:.4g} {unit}, "
                f"but 98 % of it from {statistics.q01[i]:.4g} to {statistics.q99[i]:.4g}: scale "
                "by quantiles, not by extremes",
            )
    yield from _check_gripper(statistics, seen, source)


def names_of(source: Source) -> tuple[str, ...]:
    """Names of the numbers of an action."""
    return action_names(action_dim(source), source.action.joint_names)


def check_kinematics(source: Source | None) -> Iterator[Finding]:
    """Joints whose forward kinematics would give the motion of an end effector."""
    if source is None or source.has_pose or source.action.translation or not source.pose.joints:
        return
    named = "" if source.action.joint_names else " 'data.source.pose.urdf_joints=[NAME,...]'"
    yield Finding(
        "urdf",
        "joints alone: with a URDF of the robot its end effector is computed from the measured "
        "joints, and latent actions are probed in dx dy dz too; add "
        "data.source.action.motion=pose_change data.source.pose.urdf=FILE "
        f"data.source.pose.link=LINK{named}",
    )


def units_of(source: Source | None) -> tuple[str, ...]:
    """The units of an action; question marks where those of the motion are not known."""
    if source is None:
        return ACTION_UNITS
    units = action_units(action_dim(source), source.action.joint_units)
    return units if source.action.in_metres else (*["?"] * GRIPPER, *units[GRIPPER:])


def is_idle(episode: SeenEpisode) -> bool:
    """Whether the robot (without a pose, its commands) stays where it began."""
    motion = episode.achieved if _is_measured(episode, END_EFFECTOR) else episode.commanded
    if motion is None or episode.commanded is None:
        return False
    path = np.abs(np.cumsum(motion[:, :GRIPPER].astype(np.float64), axis=0))
    gripper = max(np.ptp(rows[:, GRIPPER]) for rows in (motion, episode.commanded))
    is_still = path[:, :3].max() <= _IDLE_M and path[:, 3:].max() <= _IDLE_RAD
    return bool(is_still and gripper <= _IDLE_GRIPPER) and not _joints_move(episode)


def _is_measured(episode: SeenEpisode, kind: slice) -> bool:
    if episode.achieved is None:
        return False
    return episode.measured is None or bool(episode.measured[kind].any())


def _joints_move(episode: SeenEpisode) -> bool:
    """Whether measured joints leave their start, or any is commanded where none is measured."""
    if _is_measured(episode, JOINTS):
        assert episode.achieved is not None
        path = np.abs(np.cumsum(episode.achieved[:, JOINTS].astype(np.float64), axis=0))
        return bool((path > _IDLE_RAD).any())
    return episode.commanded is not None and bool(episode.commanded[:, JOINTS].any())


def starts_with_zero(commanded: Float[np.ndarray, "n a"]) -> bool:
    """Whether the first command moves nothing at all, and a later one does."""
    moves = np.abs(np.delete(commanded, GRIPPER, axis=1)).max(axis=1) > _ROUNDING
    return not moves[0] and bool(moves.any())


def _check_flags(seen: Sequence[SeenEpisode]) -> Iterator[Finding]:
    """Check the flags at the end of episodes; is_last without is_terminal is a time limit."""
    ends = [e.is_last for e in seen if e.is_last is not None]
    terminals = [e.is_terminal for e in seen if e.is_terminal is not None]
    open_ends = sum(not flags[-1] for flags in ends)
    early = sum(bool(flags[:-1].any()) for flags in [*ends, *terminals])
    found = {
        "there is no is_last": not ends,
        "there is no is_terminal": not terminals,
        f"is_last is not true at the last step of {_share(open_ends, seen)}": open_ends,
        "is_terminal is never true at the last step": terminals
        and (open_ends or not ends)
        and not any(flags[-1] for flags in terminals),
        f"is_last or is_terminal is true before the last step {early} times": early,
    }
    for text, is_found in found.items():
        if seen and is_found:
            yield Finding("terminal", f"{text}: episodes may be cut, or end elsewhere")


def _share(count: int, seen: Sequence[SeenEpisode]) -> str:
    return f"{count} of {len(seen)} episodes"


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
                "gripper_range",
                f"{outside.mean():.1%} of the stored gripper commands lie outside "
                f"[{low:g}, 1]: from {values.min():.4g} to {values.max():.4g}; they are clipped",
            )
    if statistics.mask[GRIPPER] and statistics.max[GRIPPER] == statistics.min[GRIPPER]:
        yield Finding(
            "gripper_constant",
            f"the gripper is always {statistics.mean[GRIPPER]:.4g} (1 = open)",
        )
