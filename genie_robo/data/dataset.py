"""The episodes of a dataset by random access: columnar, images still encoded."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, overload

import numpy as np
from jaxtyping import Int

from genie_robo.data.actions import to_pose, to_pose_starts, to_robot_actions
from genie_robo.data.cache import digest
from genie_robo.data.features import Feature
from genie_robo.data.folders import FEATURES_FILE
from genie_robo.data.index import DatasetIndex, RecordEntry
from genie_robo.data.joints import to_joints
from genie_robo.data.kinematics import open_urdf
from genie_robo.data.records import Columns
from genie_robo.data.schema import Schema
from genie_robo.data.settings import Source
from genie_robo.data.shards import COMPLETE
from genie_robo.data.sources import action_dim
from genie_robo.types import ACTION_NAMES, Episode, StoredImage, action_names, action_units

_MIN_STEPS = 2
"""Fewest steps of an episode: one transition."""
_SHOWN = 5
"""Unreadable episodes named in an error."""

_ADDING = Lock()
"""Of all datasets, so that each can be pickled."""

_log = logging.getLogger(__name__)


class BadEpisodeError(ValueError):
    """One episode cannot be read; the others may be fine."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"episode {name} cannot be read: {reason}")
        self.reason = reason


class BadEpisodes:
    """The unreadable episodes of one dataset, by name, with the reason. Thread-safe."""

    def __init__(
        self,
        place: Path | str,
        *,
        num_episodes: int,
        limit: float,
        features_file: str = FEATURES_FILE,
    ) -> None:
        self._place = place
        self._features_file = features_file
        self._num_episodes = num_episodes
        self._limit = limit
        self._reasons: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._reasons)

    def __contains__(self, name: object) -> bool:
        return name in self._reasons

    def add(self, name: str, reason: str) -> None:
        """Record and log an episode, once."""
        with _ADDING:
            if name in self._reasons:
                return
            self._reasons[name] = reason
        _log.warning("skipping episode %s of %s: %s", name, self._place, reason)

    def check(self) -> None:
        """Check the share of bad episodes against the limit.

        Raises:
            ValueError: It is above the limit.
        """
        share = len(self) / max(1, self._num_episodes)
        if share <= self._limit:
            return
        shown = [f"{name} ({reason})" for name, reason in list(self._reasons.items())[:_SHOWN]]
        more = f" and {len(self) - _SHOWN} more" if len(self) > _SHOWN else ""
        advice = "repair the dataset, or raise the limit to go on without these episodes"
        if all(COMPLETE in reason for reason in self._reasons.values()):
            advice = COMPLETE
        elif len(self) == self._num_episodes:
            advice = (
                f"no episode fits {self._features_file}: take it and the shards from one version "
                "of the dataset, or name other columns with data.source"
            )
        raise ValueError(
            f"{len(self)} of {self._num_episodes} episodes of {self._place} cannot be read, "
            f"{share:.1%}, above data.bad_episode_limit={self._limit}: {', '.join(shown)}{more}; "
            f"{advice}"
        )


class EpisodeDataset(Sequence[Episode]):
    """The episodes of a dataset, each stored one once, unreadable ones left out.

    Opening reads no images. Every `dataset[i]` reads one episode, so it is cheap to hold and safe
    to share between threads.
    """

    folder: Path
    """The folder of the dataset's version; of a remote one, its place in the cache."""
    place: str
    """The folder, or the address without secrets, for people."""
    source: Source
    fingerprint: str
    """Hash of the episodes and of how they are read; equal for copies of a dataset."""
    episode_ids: tuple[str, ...]
    """Content hashes."""
    lengths: Int[np.ndarray, " n"]
    """Steps per episode."""
    gaps: tuple[tuple[int, ...], ...]
    """Steps of every episode after which time is missing."""
    bad_episodes: BadEpisodes
    num_duplicates: int
    """Episodes left out because they equal an earlier one."""
    num_short: int
    """Episodes left out because they have no transition."""

    def __init__(
        self, index: DatasetIndex, source: Source, *, bad_episode_limit: float = 0.01
    ) -> None:
        """Take the readable episodes of an index.

        Args:
            index: All stored episodes, with the columns of the source checked.
            source: Which keys are the camera, the action and so on.
            bad_episode_limit: Share of unreadable episodes above which opening or reading fails.

        Raises:
            ValueError: Too many episodes are unreadable.
        """
        self._index = index
        first: dict[str, RecordEntry] = {}
        for entry in self._index.entries:
            first.setdefault(entry.episode_id, entry)
        records = list(first.values())
        self.folder, self.place, self.source = index.folder, index.schema.place, source
        self.num_duplicates = len(self._index.entries) - len(records)
        self.bad_episodes = BadEpisodes(
            self.place,
            num_episodes=len(records),
            limit=bad_episode_limit,
            features_file=index.schema.features_file,
        )
        readable = self._readable(records)
        self._entries = [entry for entry in readable if entry.num_steps >= _MIN_STEPS]
        self.num_short = len(readable) - len(self._entries)
        self._report()
        self.episode_ids = tuple(entry.episode_id for entry in self._entries)
        self.lengths = np.array([entry.num_steps for entry in self._entries])
        self.gaps = tuple(entry.gaps for entry in self._entries)
        settings = json.dumps(_reading(source)).encode()
        self.fingerprint = digest(*(name.encode() for name in self.episode_ids), settings)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def schema(self) -> Schema:
        """The folder's metadata, with which it can be opened again."""
        return self._index.schema

    @property
    def features(self) -> dict[str, Feature]:
        """Columns of a step by key."""
        return dict(self._index.features)

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the numbers of an action: those of the end effector, then of the joints."""
        return action_names(action_dim(self.source), self.source.action.joint_names)

    @property
    def action_units(self) -> tuple[str, ...]:
        """Units of the numbers of an action; `stored` where that of a joint is not known."""
        return action_units(action_dim(self.source), self.source.action.joint_units)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Keys of all 8-bit colour images."""
        return self.schema.cameras

    @overload
    def __getitem__(self, i: int) -> Episode: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[Episode]: ...
    def __getitem__(self, i: int | slice) -> Episode | Sequence[Episode]:
        """Read an episode.

        Raises:
            BadEpisodeError: What is stored of it is damaged.
            IndexError: There is no such episode.
        """
        if isinstance(i, slice):
            return [self[number] for number in range(len(self))[i]]
        entry = self._entries[i]
        try:
            return _to_episode(entry, self._index.read(entry), self._index, self.source)
        except ValueError as error:
            raise BadEpisodeError(self.name(i), str(error)) from error

    def columns(self, i: int) -> Columns:
        """The stored columns of an episode.

        Raises:
            BadEpisodeError: What is stored of it is damaged.
            IndexError: There is no such episode.
        """
        try:
            return self._index.read(self._entries[i])
        except ValueError as error:
            raise BadEpisodeError(self.name(i), str(error)) from error

    def name(self, i: int) -> str:
        """The episode's id and place, for messages."""
        return self._index.name(self._entries[i])

    def skip(self, i: int, reason: str) -> None:
        """Record an episode as unreadable.

        Raises:
            ValueError: The share of bad episodes is now above the limit.
        """
        self.bad_episodes.add(self.name(i), reason)
        self.bad_episodes.check()

    def _readable(self, records: Sequence[RecordEntry]) -> list[RecordEntry]:
        """Records without a problem in what this source reads."""
        good = []
        for entry in records:
            faults = ", ".join(f"{key} {reason}" for key, reason in sorted(entry.faults.items()))
            if entry.problem or faults:
                self.bad_episodes.add(self._index.name(entry), entry.problem or faults)
            else:
                good.append(entry)
        self.bad_episodes.check()
        return good

    def _report(self) -> None:
        if self.num_duplicates:
            _log.info(
                "%s: %d of %d records repeat another one (RLDS splits that hold the same "
                "episodes?); each is used once",
                self.place,
                self.num_duplicates,
                len(self._index.entries),
            )
        if self.num_short:
            _log.warning("%s: skipping %d episodes of one step", self.place, self.num_short)
        if not self.source.action.in_metres:
            _log.warning(
                "%s: the unit of the actions is not known to be metres "
                "(data.source.action.in_metres=false); distances in results are in that unit",
                self.place,
            )
        if not self._entries:
            raise ValueError(
                f"{self.place} has no episode to use: {self.num_short} have fewer than "
                f"{_MIN_STEPS} steps and {len(self.bad_episodes)} cannot be read"
            )


def _reading(source: Source) -> dict[str, Any]:
    """All that decides what is read from a record, with the content of a URDF."""
    urdf = {"urdf": open_urdf(source.pose).digest} if source.pose.urdf else {}
    return source.reading | urdf


def _to_episode(
    entry: RecordEntry, columns: Columns, index: DatasetIndex, source: Source
) -> Episode:
    steps = columns.steps
    named = source.camera_keys
    others = [
        key
        for key, feature in sorted(index.features.items())
        if feature.is_camera and key not in named.values()
    ]
    actions, action_mask = to_robot_actions(steps, source)
    pose, pose_mask = to_pose(steps, source) or (None, np.zeros(len(ACTION_NAMES), bool))
    joints = to_joints(steps, source)
    measured = joints.measured if joints else None
    return Episode(
        episode_id=entry.episode_id,
        images=EpisodeImages(
            {name: tuple(steps[key]) for name, key in named.items()}, others, steps
        ),
        bgr_cameras=frozenset(name for name, key in named.items() if key in source.bgr),
        robot_actions=actions,
        action_mask=action_mask,
        end_effector_pose=pose,
        pose_mask=pose_mask,
        pose_starts=to_pose_starts(steps, source, action_mask),
        joints=None if measured is None else measured.astype(np.float32),
        joint_starts=joints.starts if joints else None,
        joint_names=source.action.joint_names,
        joint_units=source.action.joint_units,
        sim_state=steps[source.sim_state].astype(np.float64) if source.sim_state else None,
        scene=_text(columns.scene) if source.sim_state else "",
        instruction=_first_instruction(steps, source),
        control_hz=source.control_hz,
    )


class EpisodeImages(Mapping[str, tuple[StoredImage, ...]]):
    """The stored images of an episode; those of cameras that no source names are read when asked.

    It contains the cameras that can be read.
    """

    def __init__(
        self,
        named: Mapping[str, tuple[StoredImage, ...]],
        others: Sequence[str],
        steps: Mapping[str, np.ndarray],
    ) -> None:
        self._named = named
        self._others = others
        self._steps = steps

    def __getitem__(self, name: str) -> tuple[StoredImage, ...]:
        if name in self._named:
            return self._named[name]
        if name not in self:
            raise KeyError(name)
        return tuple(self._steps[name])

    def __contains__(self, name: object) -> bool:
        return name in self._named or (name in self._others and name in self._steps)

    def __iter__(self) -> Iterator[str]:
        yield from self._named
        yield from (key for key in self._others if key in self._steps)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __reduce__(self) -> tuple[type[dict], tuple[dict[str, tuple[StoredImage, ...]]]]:
        """Another process gets all of them."""
        return dict, (dict(self),)


def _first_instruction(steps: Mapping[str, np.ndarray], source: Source) -> str:
    """The first instruction in any step that is not empty; earlier keys go first."""
    texts = (_text(row) for key in source.instruction for row in steps[key])
    return next((text for text in texts if text.strip()), "")


def step_instructions(steps: Mapping[str, np.ndarray], source: Source) -> list[str]:
    """The instruction of every step, from the first key that has one in any step; else nothing."""
    for key in source.instruction:
        texts = [_text(row) for row in steps[key]]
        if any(text.strip() for text in texts):
            return texts
    return []


def _text(value: bytes | str | np.ndarray) -> str:
    """Text, or the text of zero-padded code points."""
    if isinstance(value, np.ndarray):
        return "".join(chr(point) for point in value.ravel() if 0 < point < sys.maxunicode)
    return value.decode(errors="replace") if isinstance(value, bytes) else value
