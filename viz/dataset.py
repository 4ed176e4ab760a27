"""Episodes of a dataset one after another in one recording, as somebody would watch a tape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rerun as rr
from jaxtyping import Shaped

from genie_robo.sim.replay import GeomShape, Replay
from genie_robo.types import Episode
from viz.blueprints.episode import EpisodeLayout, dataset_blueprint
from viz.dataset_scene import log_changed_scene
from viz.entities import (
    EPISODE,
    EPISODE_TABLE,
    PROPRIOCEPTION,
    ROBOT_ACTION,
    STORED,
    entity,
)
from viz.episode import episode_layout, log_episode
from viz.latents import code_colors
from viz.recording import stable_id, time_columns, write_recording
from viz.scene import eye_on
from viz.series import log_curves

GAP = 1
"""Steps between two episodes: there the curves end, so that no line joins what has no way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownEpisode:
    """An episode and what is known besides."""

    episode: Episode
    stored: Mapping[str, Shaped[np.ndarray, "t _"]]
    """Columns of numbers to show as they are stored, where no mapping reads them."""
    replay: Replay | None
    """None for episodes that no simulator can replay."""


def write_dataset(path: Path, shown: Sequence[ShownEpisode], *, name: str) -> Path:
    """Write episodes of one dataset in turn on shared timelines, with their layout.

    Episode k begins one step after the end of episode k - 1. All lie at the same entities, so one
    layout shows any number of them and their curves share an axis.

    Raises:
        ValueError: there is no episode, or a frame is neither JPEG nor PNG.
    """
    if not shown:
        raise ValueError(f"no episodes to write to {path}; give at least one")
    layout = dataset_layout(shown)
    kinds = (*layout.cameras, *layout.action_groups, *layout.pose_groups, *layout.stored)
    return write_recording(
        path,
        application_id=stable_id("dataset", (name, *kinds)),
        recording_id=stable_id(name, (one.episode.episode_id for one in shown)),
        log=lambda recording: log_dataset(recording, shown, name=name),
        blueprint=dataset_blueprint(layout),
        name=name,
    )


def dataset_layout(shown: Sequence[ShownEpisode]) -> EpisodeLayout:
    """What the blueprint needs to know; all episodes of a dataset have the same columns."""
    layout = episode_layout(shown[0].episode)
    replays = [one.replay for one in shown if one.replay is not None]
    poses = [pose for one in shown if (pose := one.episode.end_effector_pose) is not None]
    points = [replay.positions.reshape(-1, 3) for replay in replays]
    points = points or [pose[:, :3] for pose in poses]
    return replace(
        layout,
        eye=eye_on(np.concatenate(points)) if points else None,
        stored=tuple(_entity_path(key) for key in shown[0].stored),
        has_table=bool(replays),
    )


def log_dataset(recording: rr.RecordingStream, shown: Sequence[ShownEpisode], *, name: str) -> None:
    """Log episodes in turn, the strip that tells them apart and the table of them."""
    starts = first_steps([one.episode for one in shown])
    geoms: dict[str, GeomShape] = {}
    for one, start in zip(shown, starts, strict=True):
        log_episode(recording, one.episode, first_step=start)
        _log_stored(recording, one, start)
        if one.replay is not None:
            hz = one.episode.control_hz
            geoms = log_changed_scene(
                recording, one.replay, before=geoms, first_step=start, control_hz=hz
            )
        _end_curves(recording, one, start)
    episodes = [one.episode for one in shown]
    _log_strip(recording, episodes, starts)
    table = rr.TextDocument(_table(name, episodes, starts), media_type=rr.MediaType.MARKDOWN)
    recording.log(entity("", EPISODE_TABLE), table, static=True)


def first_steps(episodes: Sequence[Episode]) -> list[int]:
    """Where each episode begins on the timeline `step`."""
    lengths = [episode.num_steps + GAP for episode in episodes]
    return [0, *np.cumsum(lengths[:-1]).tolist()] if lengths else []


def _end_curves(recording: rr.RecordingStream, one: ShownEpisode, start: int) -> None:
    """The last action holds until the last step, the last pose until the gap."""
    end = start + one.episode.num_steps
    ends = {ROBOT_ACTION: end - 1, PROPRIOCEPTION: end}
    ends |= {f"{STORED}/{_entity_path(key)}": end for key in one.stored}
    for path, step in ends.items():
        times = time_columns(np.array([step]), control_hz=one.episode.control_hz)
        recording.send_columns(entity("", path), times, rr.Clear.columns(is_recursive=[True]))


def _log_strip(
    recording: rr.RecordingStream, episodes: Sequence[Episode], starts: Sequence[int]
) -> None:
    path = entity("", EPISODE)
    names = [str(number) for number in range(len(episodes))]
    labels = [f"{n} {episode.instruction}".strip() for n, episode in enumerate(episodes)]
    colors = code_colors(len(episodes))
    style = rr.StateConfiguration(values=names, labels=labels, colors=colors)
    recording.log(path, style, static=True)
    ends = [start + episode.num_steps for start, episode in zip(starts, episodes, strict=True)]
    steps = np.array([step for pair in zip(starts, ends, strict=True) for step in pair])
    states = [state for number in names for state in (number, "")]
    times = time_columns(steps, control_hz=episodes[0].control_hz)
    recording.send_columns(path, times, rr.StateChange.columns(state=states))


def _log_stored(recording: rr.RecordingStream, one: ShownEpisode, start: int) -> None:
    for key, rows in one.stored.items():
        times = time_columns(start + np.arange(len(rows)), control_hz=one.episode.control_hz)
        names = [f"{key}[{i}]" for i in range(rows.shape[1])]
        log_curves(
            recording,
            entity("", f"{STORED}/{_entity_path(key)}"),
            rows.astype(np.float64),
            times,
            style=rr.SeriesLines(names=names, widths=[1.5] * len(names)),
        )


def _entity_path(key: str) -> str:
    """A column's key with what Rerun does not take in a name escaped."""
    return "/".join(rr.escape_entity_path_part(part) for part in key.split("/"))


def _table(name: str, episodes: Sequence[Episode], starts: Sequence[int]) -> str:
    """Markdown: where each episode begins, how long it is and what was asked for."""
    lines = [f"## {name}", "", "| episode | first step | steps | instruction | id |"]
    lines.append("|---|---|---|---|---|")
    for number, (episode, start) in enumerate(zip(episodes, starts, strict=True)):
        words = episode.instruction.replace("|", "/").replace("\n", " ")
        lines.append(
            f"| {number} | {start} | {episode.num_steps} | {words} | {episode.episode_id} |"
        )
    return "\n".join(lines)
