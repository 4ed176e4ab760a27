"""Episodes of a dataset as a Rerun recording, read by its mapping or as they are stored."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from genie_robo.data.bad_episodes import BadEpisodeError
from genie_robo.data.index import DatasetIndex, RecordEntry
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.settings import Source
from genie_robo.inspection.episodes import camera_keys, readable, small_keys, text_keys
from genie_robo.progress import progress_bar
from genie_robo.sim.replay import Replay, replay
from genie_robo.types import ACTION_NAMES, Episode
from genie_robo.video_files import spread
from viz.episodes import ShownEpisode, write_dataset

_QUIET_EPISODES = 10
"""Up to this many need no progress bar: each takes about a second at most."""
_SMALLEST_FRAME = (8, 8)
"""MuJoCo's own frames are in the dataset already."""
_NO_DIMENSION = np.zeros(len(ACTION_NAMES), bool)

_log = logging.getLogger(__name__)


class _Readable(NamedTuple):
    """Episodes that can be shown, read one at a time."""

    num_episodes: int
    read: Callable[[int], ShownEpisode]


def record_dataset(
    path: Path, index: DatasetIndex, source: Source | None, *, num_episodes: int
) -> int:
    """Write evenly spread episodes to an .rrd file; returns how many.

    Without a source, cameras and all small columns are shown as stored. Simulated episodes come
    with their scene. Unreadable episodes are left out and logged.

    Raises:
        ValueError: no episode can be read.
    """
    found = _mapped(index, source) if source else _stored(index)
    chosen = spread(found.num_episodes, most=num_episodes) if found.num_episodes else []
    shown = list(_read(found, chosen, index.schema.name))
    if not shown:
        raise ValueError(f"{index.folder} has no episode that can be shown")
    write_dataset(path, shown, name=index.schema.name)
    return len(shown)


def _read(episodes: _Readable, chosen: list[int], name: str) -> Iterator[ShownEpisode]:
    visible = len(chosen) > _QUIET_EPISODES
    with progress_bar(
        f"record {name}", total=len(chosen), unit="episodes", visible=visible
    ) as advance:
        for i in chosen:
            try:
                yield episodes.read(i)
            except BadEpisodeError as error:
                _log.warning("left out: %s", error)
            advance()


def _mapped(index: DatasetIndex, source: Source) -> _Readable:
    dataset = RldsDataset(index.folder, source, bad_episode_limit=1.0)

    def read(i: int) -> ShownEpisode:
        episode = dataset[i]
        return ShownEpisode(episode=episode, stored={}, replay=_replay(episode))

    return _Readable(len(dataset), read)


def _stored(index: DatasetIndex) -> _Readable:
    """Without a mapping; a dataset without a camera has nothing to show."""
    entries = readable(index) if camera_keys(index) else []
    return _Readable(len(entries), lambda i: _as_stored(index, entries[i]))


def _as_stored(index: DatasetIndex, entry: RecordEntry) -> ShownEpisode:
    steps = index.read(entry).steps
    first, *others = (key for key in camera_keys(index) if key in steps)
    cameras = {"primary": first} | {key: key for key in others}
    instruction = next((text for key in text_keys(index) if (text := steps[key][0])), b"")
    episode = Episode(
        episode_id=entry.episode_id,
        images={name: tuple(steps[key]) for name, key in cameras.items()},
        bgr_cameras=frozenset(),
        robot_actions=np.zeros((entry.num_steps, len(ACTION_NAMES)), np.float32),
        action_mask=_NO_DIMENSION,
        end_effector_pose=None,
        pose_mask=_NO_DIMENSION,
        sim_state=None,
        scene="",
        instruction=instruction.decode(errors="replace"),
        control_hz=0.0,
    )
    stored = {key: steps[key].reshape(entry.num_steps, -1) for key in small_keys(index)}
    return ShownEpisode(episode=episode, stored=stored, replay=None)


def _replay(episode: Episode) -> Replay | None:
    if episode.sim_state is None:
        return None
    actions = episode.robot_actions[:-1].astype(np.float64)
    return replay(episode, start=0, robot_actions=actions, image_size=_SMALLEST_FRAME)
