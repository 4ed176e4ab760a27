"""What `genie-robo inspect` reads from a dataset: actions, cameras and small columns."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from genie_robo.data.actions import measured_motion, to_pose, to_robot_actions
from genie_robo.data.index import DatasetIndex, RecordEntry
from genie_robo.data.joints import to_joints
from genie_robo.data.records import Steps
from genie_robo.data.settings import MAX_IMAGE_PIXELS, Source
from genie_robo.data.sources import MAX_JOINTS, Part, action_parts
from genie_robo.data.transforms import check_images, decode_frames
from genie_robo.types import ACTION_NAMES, StoredImage
from genie_robo.video_files import spread

_EPISODES, _CAMERA_EPISODES, _COLUMN_EPISODES = 300, 60, 40
"""Limits on evenly spread episodes: for the checks, for decoding images, for a proposal."""
_CAMERA_IMAGES, _LEAST_FRAMES = 300, 3
"""Images decoded of a camera, spread over the episodes, but at least so many of each."""
_CAMERA_SIZE = (16, 16)
"""Large enough to see whether they are black."""
_MAX_COLUMN_SIZE = 64
"""Longer vectors are embeddings or images, where they are not named like actions or states."""
_ROBOT = re.compile(r"action|.*state")

Rows = Float[np.ndarray, "_ _"]
"""A column in the steps of several episodes, one episode below the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenEpisode:
    """The flags and actions of one episode, as stored and as a source reads them."""

    episode_id: str
    is_last: Bool[np.ndarray, " t"] | None
    is_terminal: Bool[np.ndarray, " t"] | None
    """Flags of every step; None where the dataset has none."""
    commanded: Float[np.ndarray, "n a"] | None = None
    achieved: Float[np.ndarray, "n a"] | None = None
    """Both with one row per transition; None without a source, or without a pose and joints."""
    measured: Bool[np.ndarray, " a"] | None = None
    """Which dimensions of the achieved motion are measured; None for all."""
    gripper: Float[np.ndarray, " n"] | None = None
    """The gripper's command as stored."""
    problem: str = ""
    """Why the source cannot read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraFacts:
    """One 8-bit colour camera."""

    key: str
    is_bgr: bool
    """Whether the source says that it stores blue, green, red."""
    num_looked_at: int
    """Episodes from which some images were decoded."""
    num_blank: int
    """Episodes whose images are all zero."""
    num_undecodable: int
    problem: str
    """The first such episode, and why; empty when all can be decoded."""


class _Look(NamedTuple):
    """Images of one camera in one episode."""

    is_blank: bool
    problem: str


class Sample(NamedTuple):
    """Small columns of some episodes."""

    numbers: Mapping[str, Rows]
    is_last: Bool[np.ndarray, " n"]
    """Whether a row is the last step of its episode."""
    texts: Mapping[str, Sequence[bool]]
    """Whether a text of every episode is not empty, by key."""

    def take(self, part: Part | str) -> Rows:
        """A part of a column in every step."""
        part = Part.parse(part, setting="action") if isinstance(part, str) else part
        return part.take(self.numbers)

    def size(self, part: str) -> int:
        """How many numbers a part of a column has."""
        return self.take(part).shape[1]

    def width(self, key: str) -> int:
        """How many numbers a column has in a step."""
        return self.numbers[key].shape[1]

    def without_last(self, rows: Rows) -> Rows:
        """The rows of all steps but the last of each episode."""
        return rows[~self.is_last]

    def changes(self, rows: Rows) -> Rows:
        """The difference from each of these steps to the next."""
        return np.diff(rows, axis=0)[~self.is_last[:-1]]


def look_at(index: DatasetIndex, source: Source | None) -> list[SeenEpisode]:
    """Look at evenly spread readable episodes, each stored record once."""
    return [_look(index, entry, source) for entry in some_readable(index, _EPISODES)]


def sample_columns(index: DatasetIndex) -> Sample:
    """Read the small columns of evenly spread episodes; at least one must be readable.

    Columns that some of these episodes lack, or store in another way, are left out.
    """
    entries = some_readable(index, _COLUMN_EPISODES)
    episodes = [index.read(entry).steps for entry in entries]
    numbers = {key: [steps.find(key) for steps in episodes] for key in small_keys(index)}
    texts = {key: [steps.find(key) for steps in episodes] for key in text_keys(index)}
    return Sample(
        {
            key: np.concatenate([rows.reshape(len(rows), -1).astype(float) for rows in found])
            for key, columns in numbers.items()
            if len(found := [rows for rows in columns if rows is not None]) == len(entries)
        },
        np.concatenate([np.arange(1, e.num_steps + 1) == e.num_steps for e in entries]),
        {
            key: [rows is not None and any(text.strip() for text in rows) for rows in columns]
            for key, columns in texts.items()
        },
    )


def readable(index: DatasetIndex) -> list[RecordEntry]:
    """Records without a problem, with a transition, each once."""
    good = (e for e in index.entries if not e.problem and not e.bad_keys and e.num_steps > 1)
    return list({entry.episode_id: entry for entry in good}.values())


def some_readable(index: DatasetIndex, count: int) -> list[RecordEntry]:
    """At most `count` readable records, evenly spread."""
    good = readable(index)
    return [good[i] for i in spread(len(good), most=count)] if good else []


def small_keys(index: DatasetIndex) -> list[str]:
    """Keys of the columns that have few numbers, and the same count in every step."""
    return [
        key
        for key, feature in index.features.items()
        if feature.holds_numbers
        and not feature.why_unreadable
        and feature.dtype.startswith(("float", "int"))
        and 0 < (feature.size or 0) <= (MAX_JOINTS if _ROBOT.match(key) else _MAX_COLUMN_SIZE)
    ]


def text_keys(index: DatasetIndex) -> list[str]:
    """Keys of all texts."""
    return [key for key, feature in index.features.items() if feature.kind == "text"]


def camera_keys(index: DatasetIndex) -> list[str]:
    """Keys of all 8-bit colour images."""
    return [key for key, feature in sorted(index.features.items()) if feature.is_camera]


def camera_facts(
    index: DatasetIndex, bgr: Sequence[str] = (), *, max_pixels: int = MAX_IMAGE_PIXELS
) -> list[CameraFacts]:
    """Every camera, and whether its images are black or damaged.

    `bgr` names those that store blue first; `max_pixels` is `data.max_image_pixels`.
    """
    looks: dict[str, list[_Look]] = {key: [] for key in camera_keys(index)}
    entries = some_readable(index, _CAMERA_EPISODES) if looks else []
    count = max(_LEAST_FRAMES, _CAMERA_IMAGES // max(1, len(entries)))
    for entry in entries:
        steps = index.read(entry).steps
        for key, found in looks.items():
            found.append(_look_through(entry.episode_id, steps, key, count, max_pixels))
    return [
        CameraFacts(
            key=key,
            is_bgr=key in bgr,
            num_looked_at=len(found),
            num_blank=sum(look.is_blank for look in found),
            num_undecodable=sum(bool(look.problem) for look in found),
            problem=next((look.problem for look in found if look.problem), ""),
        )
        for key, found in looks.items()
    ]


def take_frames(stored: np.ndarray, count: int) -> list[StoredImage]:
    """`count` images from first to last, evenly spread; short episodes repeat some."""
    images: list[StoredImage] = stored.tolist()
    return [images[t] for t in np.linspace(0, len(images) - 1, count).round().astype(int)]


def _look(index: DatasetIndex, entry: RecordEntry, source: Source | None) -> SeenEpisode:
    steps = index.read(entry).steps
    stored: dict[str, Any] = {"episode_id": entry.episode_id, "is_last": None, "is_terminal": None}
    for key in ("is_last", "is_terminal"):
        rows = steps.find(key)
        if rows is not None and rows.size == len(rows):
            stored[key] = rows.astype(bool).reshape(-1)
    try:
        return SeenEpisode(**stored, **(_motion(steps, source) if source else {}))
    except ValueError as error:
        return SeenEpisode(**stored, problem=str(error))


def _motion(steps: Mapping[str, np.ndarray], source: Source) -> dict[str, Any]:
    commanded, _ = to_robot_actions(steps, source)
    found = {"commanded": commanded[:-1]}
    joints = to_joints(steps, source)
    pose, pose_mask = to_pose(steps, source) or (None, np.zeros(len(ACTION_NAMES), bool))
    motion = measured_motion(
        pose,
        joints.measured if joints else None,
        pose_mask=pose_mask,
        action_dim=commanded.shape[1],
    )
    if motion is not None:
        rows, mask = motion
        found |= {"achieved": rows * mask, "measured": mask}
    if gripper := action_parts(source).get("gripper"):
        found["gripper"] = gripper.take(steps)[:-1, 0]
    return found


def _look_through(episode_id: str, steps: Steps, key: str, count: int, max_pixels: int) -> _Look:
    """Check the headers of all images of a camera, and decode some."""
    try:
        encoded = steps[key]
        check_images(encoded, max_pixels=max_pixels)
        images = take_frames(encoded, min(count, len(encoded)))
        frames = decode_frames(images, image_size=_CAMERA_SIZE, max_pixels=max_pixels)
    except ValueError as error:
        return _Look(is_blank=False, problem=f"in {episode_id}, {error}")
    return _Look(is_blank=not frames.any(), problem="")
