"""Episodes of a dataset as a Rerun recording, read by its mapping or as they are stored."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from genie_robo.data.dataset import BadEpisodeError, EpisodeDataset
from genie_robo.data.index import DatasetIndex, RecordEntry
from genie_robo.data.settings import MAX_IMAGE_PIXELS, Source
from genie_robo.data.transforms import check_images
from genie_robo.inspection.episodes import camera_keys, readable, small_keys, text_keys
from genie_robo.progress import progress_bar
from genie_robo.sim.replay import replay
from genie_robo.types import ACTION_NAMES, Episode
from genie_robo.video_files import spread
from genie_robo.viz.episodes import ShownEpisode, write_dataset

_QUIET_EPISODES = 10
"""Up to this many are recorded without a progress bar; each takes at most about a second."""
_SMALLEST_FRAME = (8, 8)
"""The replay's frames are not used: the dataset has them already."""
_NO_DIMENSION = np.zeros(len(ACTION_NAMES), bool)

_log = logging.getLogger(__name__)


def record_dataset(
    path: Path,
    index: DatasetIndex,
    source: Source | None,
    *,
    num_episodes: int,
    max_pixels: int = MAX_IMAGE_PIXELS,
) -> int:
    """Write evenly spread episodes to an .rrd file; returns how many.

    Without a source, cameras and all small columns are shown as stored. Simulated episodes come
    with their scene. Unreadable episodes are left out and logged.

    Raises:
        ValueError: no episode can be read.
    """
    if source:
        dataset = EpisodeDataset(index, source, bad_episode_limit=1.0)
        count, show = len(dataset), partial(_as_read, dataset)
    else:
        entries = readable(index) if camera_keys(index) else []
        count, show = len(entries), partial(_as_stored, index, entries)
    chosen = spread(count, most=num_episodes) if count else []
    shown = []
    name, visible = index.schema.name, len(chosen) > _QUIET_EPISODES
    with progress_bar(
        f"record {name}", total=len(chosen), unit="episodes", visible=visible
    ) as advance:
        for i in chosen:
            try:
                shown.append(_checked(show(i), max_pixels=max_pixels))
            except BadEpisodeError as error:
                _log.warning("left out: %s", error)
            advance()
    if not shown:
        raise ValueError(f"{index.schema.place} has no episode that can be shown")
    write_dataset(path, shown, name=name)
    return len(shown)


def _checked(shown: ShownEpisode, *, max_pixels: int) -> ShownEpisode:
    """The episode, whose images a viewer can decode: they are stored as they are."""
    for images in shown.episode.images.values():
        try:
            check_images(images, max_pixels=max_pixels)
        except ValueError as error:
            raise BadEpisodeError(shown.episode.episode_id, str(error)) from error
    return shown


def _as_read(dataset: EpisodeDataset, i: int) -> ShownEpisode:
    episode, scene = dataset[i], None
    if episode.sim_state is not None:
        actions = episode.robot_actions[:-1].astype(np.float64)
        scene = replay(episode, start=0, robot_actions=actions, image_size=_SMALLEST_FRAME)
    return ShownEpisode(episode=episode, stored={}, replay=scene)


def _as_stored(index: DatasetIndex, entries: Sequence[RecordEntry], i: int) -> ShownEpisode:
    entry = entries[i]
    steps = index.read(entry).steps
    first, *others = [key for key in camera_keys(index) if key in steps] or [""]
    if not first:
        raise BadEpisodeError(entry.episode_id, "it has no camera that can be read")
    cameras = {"primary": first} | {key: key for key in others}
    columns = (steps.find(key) for key in text_keys(index))
    texts = (text for column in columns if column is not None for text in column)
    instruction = next((text for text in texts if text.strip()), b"")
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
    stored = {
        key: rows.reshape(entry.num_steps, -1)
        for key in small_keys(index)
        if (rows := steps.find(key)) is not None
    }
    return ShownEpisode(episode=episode, stored=stored, replay=None)
