"""What `genie-robo inspect` keeps of each episode that it looks at, images left behind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from genie_robo.data.actions import achieved_deltas, to_pose, to_robot_actions
from genie_robo.data.index import DatasetIndex, RecordEntry
from genie_robo.data.schema import Columns
from genie_robo.data.sources import Source
from genie_robo.data.transforms import decode_frames
from genie_robo.video_files import spread

SAMPLED_EPISODES = 300
"""At most so many episodes are looked at, evenly spread."""
_CAMERA_EPISODES, _CAMERA_FRAMES = 60, 3
"""Images are decoded from at most so many episodes: the first, the middle and the last."""
_SMALL = (16, 16)
"""Frames as small as this still show whether there is anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenEpisode:
    """The numbers of one episode as stored and as a source reads them."""

    episode_id: str
    is_last: Bool[np.ndarray, " t"] | None
    is_terminal: Bool[np.ndarray, " t"] | None
    """Flags of every step; None where the dataset has none."""
    commanded: Float[np.ndarray, "n 7"] | None = None
    achieved: Float[np.ndarray, "n 7"] | None = None
    """Both with one row per transition; None without a source or a pose."""
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
    """Episodes of which some images were decoded."""
    num_blank: int
    """Those whose images are all zero."""
    num_undecodable: int


def look_at(index: DatasetIndex, source: Source | None) -> list[SeenEpisode]:
    """Look at evenly spread readable episodes, each stored record once."""
    good = readable(index)
    chosen = [good[i] for i in spread(len(good), most=SAMPLED_EPISODES)] if good else []
    return [_look(index, entry, source) for entry in chosen]


def readable(index: DatasetIndex) -> list[RecordEntry]:
    """Records without a problem, with a transition, each once."""
    good = (e for e in index.entries if not e.problem and not e.bad_keys and e.num_steps > 1)
    return list({entry.episode_id: entry for entry in good}.values())


def camera_keys(index: DatasetIndex) -> list[str]:
    """Keys of all 8-bit colour images."""
    return [key for key, feature in sorted(index.features.items()) if feature.is_camera]


def camera_facts(index: DatasetIndex, bgr: Sequence[str] = ()) -> list[CameraFacts]:
    """Every camera, and whether it sees anything; `bgr` names those that store blue first."""
    good = readable(index)
    chosen = [good[i] for i in spread(len(good), most=_CAMERA_EPISODES)] if good else []
    states: dict[str, list[str]] = {key: [] for key in camera_keys(index)}
    for entry in chosen if states else []:
        steps = index.read(entry).steps
        for key, found in states.items():
            found.append(_camera_state(take_frames(steps[key], _CAMERA_FRAMES)))
    return [
        CameraFacts(
            key=key,
            is_bgr=key in bgr,
            num_looked_at=len(found),
            num_blank=found.count("blank"),
            num_undecodable=found.count("undecodable"),
        )
        for key, found in states.items()
    ]


def take_frames(encoded: np.ndarray, count: int) -> list[bytes]:
    """So many images from first to last, evenly spread; short episodes repeat some."""
    chosen = np.linspace(0, len(encoded) - 1, count).round().astype(int)
    return [bytes(encoded[t]) for t in chosen]


def _look(index: DatasetIndex, entry: RecordEntry, source: Source | None) -> SeenEpisode:
    columns = index.read(entry)
    stored: dict[str, Any] = {
        "episode_id": entry.episode_id,
        "is_last": _flags(columns, "is_last"),
        "is_terminal": _flags(columns, "is_terminal"),
    }
    try:
        return SeenEpisode(**stored, **(_motion(columns, source) if source else {}))
    except ValueError as error:
        return SeenEpisode(**stored, problem=str(error))


def _motion(columns: Columns, source: Source) -> dict[str, Any]:
    commanded, _ = to_robot_actions(columns.steps, source)
    found = {"commanded": commanded[:-1]}
    pose = to_pose(columns.steps, source)
    if pose is not None:
        rows, mask = pose
        found["achieved"] = achieved_deltas(rows) * mask
    if "gripper" in source.action_parts:
        found["gripper"] = source.action_parts["gripper"].take(columns.steps)[:-1, 0]
    return found


def _flags(columns: Columns, key: str) -> np.ndarray | None:
    return columns.steps[key].astype(bool).reshape(-1) if key in columns.steps else None


def _camera_state(images: Sequence[bytes]) -> str:
    try:
        return "seeing" if decode_frames(images, image_size=_SMALL).any() else "blank"
    except ValueError:
        return "undecodable"
