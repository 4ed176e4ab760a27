"""Episodes of a dataset in a Rerun recording, one alone or one after another, and their layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from jaxtyping import Bool, Float, Shaped

from genie_robo.data.transforms import decode_frames
from genie_robo.sim.replay import GeomShape, Replay
from genie_robo.types import Episode
from viz.entities import (
    CAMERA,
    END_EFFECTOR_PATH,
    END_EFFECTOR_POINT,
    EPISODE,
    EPISODE_TABLE,
    INSTRUCTION,
    PROPRIOCEPTION,
    ROBOT_ACTION,
    STORED,
    entity,
)
from viz.images import log_encoded, log_video
from viz.recording import stable_id, time_columns, write_recording
from viz.scene import END_EFFECTOR_COLOR, Eye, eye_on, log_axes, log_changed_scene, log_point
from viz.series import GROUPS, code_colors, log_curves, log_pose, log_robot_actions
from viz.views import axis, camera, groups, plot, scene, side_panels, time_panel

ALL_GROUPS = tuple(group.name for group in GROUPS)
_CAMERAS_IN_A_ROW = 4
_COLUMNS_IN_A_ROW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeLayout:
    """What the layout of dataset episodes depends on."""

    root: str
    cameras: tuple[str, ...]
    control_hz: float
    eye: Eye | None
    """None without an end-effector pose."""
    action_groups: tuple[str, ...] = ALL_GROUPS
    """Names of the groups of an action that the dataset has."""
    pose_groups: tuple[str, ...] = ALL_GROUPS
    stored: tuple[str, ...] = ()
    """Columns of numbers that are shown as they are stored."""
    has_table: bool = False
    """Whether the scene has a table and all else that a simulator knows."""


def episode_blueprint(layout: EpisodeLayout) -> rrb.Blueprint:
    """Cameras above actions above poses; beside them the path in 3D and the instruction."""
    words = rrb.TextDocumentView(origin=entity(layout.root, INSTRUCTION), name="instruction")
    return _blueprint(layout, _rows(layout), words)


def dataset_blueprint(layout: EpisodeLayout) -> rrb.Blueprint:
    """The same for all episodes in turn, with a strip that tells them apart and a table of them."""
    root = layout.root
    strip = rrb.StateTimelineView(
        origin=entity(root, EPISODE), name="episodes, one after another", time_view=axis()
    )
    table = rrb.TextDocumentView(origin=entity(root, EPISODE_TABLE), name="all episodes")
    words = rrb.TextDocumentView(origin=entity(root, INSTRUCTION), name="instruction")
    rows = [*_rows(layout), (strip, 14)]
    return _blueprint(layout, rows, rrb.Vertical(words, table, row_shares=[40, 60]))


def _rows(layout: EpisodeLayout) -> list[tuple[rrb.View | rrb.Container, int]]:
    """What moves with time, from top to bottom, each with its share of the height."""
    root = layout.root
    cameras = [camera(root, f"{CAMERA}/{name}", name) for name in layout.cameras]
    found: list[tuple[rrb.View | rrb.Container, int]] = [
        (rrb.Grid(*cameras, grid_columns=min(len(cameras), _CAMERAS_IN_A_ROW)), 50)
    ]
    if layout.action_groups:
        found.append((_groups(layout, ROBOT_ACTION, layout.action_groups), 25))
    if layout.eye is not None and layout.pose_groups:
        found.append((_groups(layout, PROPRIOCEPTION, layout.pose_groups, prefix="pose: "), 25))
    if layout.stored:
        plots = [plot(root, f"{STORED}/{name}", f"{name} (as stored)") for name in layout.stored]
        found.append((rrb.Grid(*plots, grid_columns=min(len(plots), _COLUMNS_IN_A_ROW)), 50))
    return found


def _groups(
    layout: EpisodeLayout, path: str, names: Sequence[str], *, prefix: str = ""
) -> rrb.Horizontal:
    """A plot for each unit that the dataset has."""
    every = zip(GROUPS, groups(layout.root, path, prefix=prefix).contents, strict=True)
    return rrb.Horizontal(*(view for group, view in every if group.name in names))


def _blueprint(
    layout: EpisodeLayout,
    rows: Sequence[tuple[rrb.View | rrb.Container, int]],
    words: rrb.View | rrb.Container,
) -> rrb.Blueprint:
    aside: list[rrb.View | rrb.Container] = [words]
    if layout.eye is not None:
        name = "what MuJoCo says" if layout.has_table else "end-effector path"
        aside.insert(0, scene(layout.root, layout.eye, name=name, has_table=layout.has_table))
    content = rrb.Horizontal(
        rrb.Vertical(*(row for row, _ in rows), row_shares=[share for _, share in rows]),
        rrb.Vertical(*aside, row_shares=[60, 40][-len(aside) :]),
        column_shares=[64, 36],
    )
    return rrb.Blueprint(content, time_panel(layout.control_hz), *side_panels(), auto_views=False)


_PATH_COLOR = tuple(channel // 2 for channel in END_EFFECTOR_COLOR)
_PATH_POINTS = 1.5
"""Width of the end effector's path, in points on the screen."""


def log_episode(
    recording: rr.RecordingStream, episode: Episode, *, root: str = "", first_step: int = 0
) -> None:
    """Log one episode below `root`, from `first_step` on.

    Frames are stored as the dataset has them, without decoding, unless their colours are swapped.
    The last step's action is invalid and left out, as are dimensions that the dataset lacks.

    Raises:
        ValueError: a frame is neither JPEG nor PNG.
    """
    steps = first_step + np.arange(episode.num_steps)
    times = time_columns(steps, control_hz=episode.control_hz)
    for name, frames in episode.images.items():
        path = entity(root, f"{CAMERA}/{name}")
        if name in episode.bgr_cameras:
            video = decode_frames(frames, image_size=None, is_bgr=True)
            log_video(recording, path, video, times)
        else:
            log_encoded(recording, path, frames, times)
    log_robot_actions(
        recording,
        episode.robot_actions[:-1],
        time_columns(steps[:-1], control_hz=episode.control_hz),
        mask=episode.action_mask,
        root=root,
    )
    start = time_columns(steps[:1], control_hz=episode.control_hz)
    if episode.end_effector_pose is not None:
        positions = episode.end_effector_pose[:, :3]
        log_pose(recording, episode.end_effector_pose, times, mask=episode.pose_mask, root=root)
        log_axes(recording, root=root)
        _log_whole_path(recording, entity(root, END_EFFECTOR_PATH), positions, start)
        log_point(recording, entity(root, END_EFFECTOR_POINT), positions, times)
    markdown = rr.TextDocument.from_fields(media_type=rr.MediaType.MARKDOWN)
    recording.log(entity(root, INSTRUCTION), markdown, static=True)
    words = rr.TextDocument.columns(text=[_description(episode)])
    recording.send_columns(entity(root, INSTRUCTION), start, words)


def write_episode(path: Path, episode: Episode) -> Path:
    """Write one episode as a recording with its layout."""
    layout = episode_layout(episode)
    return write_recording(
        path,
        application_id=stable_id("episode", (*episode.images, str(layout.eye is not None))),
        recording_id=episode.episode_id,
        log=lambda recording: log_episode(recording, episode),
        blueprint=episode_blueprint(layout),
        name=f"episode {episode.episode_id}",
    )


def episode_layout(episode: Episode, *, root: str = "") -> EpisodeLayout:
    """What the blueprint needs to know of an episode."""
    pose = episode.end_effector_pose
    return EpisodeLayout(
        root=root,
        cameras=tuple(episode.images),
        control_hz=episode.control_hz,
        eye=None if pose is None else eye_on(pose[:, :3]),
        action_groups=_measured(episode.action_mask),
        pose_groups=_measured(episode.pose_mask),
    )


def _measured(mask: Bool[np.ndarray, " 7"]) -> tuple[str, ...]:
    """Names of the groups that have a dimension inside the mask."""
    return tuple(group.name for group in GROUPS if mask[list(group.dimensions)].any())


def _log_whole_path(
    recording: rr.RecordingStream,
    path: str,
    positions: Float[np.ndarray, "t 3"],
    start: list[rr.TimeColumn],
) -> None:
    """Log the whole way of a point once, at its start: linear in the episode's length."""
    style = rr.LineStrips3D.from_fields(colors=[_PATH_COLOR], radii=[-_PATH_POINTS])
    recording.log(path, style, static=True)
    recording.send_columns(path, start, rr.LineStrips3D.columns(strips=[positions]))


def _description(episode: Episode) -> str:
    rate = f"{episode.control_hz:g} Hz" if episode.control_hz > 0 else "rate unknown"
    instruction = episode.instruction or "(no instruction)"
    return f"## {instruction}\n\nepisode `{episode.episode_id}`, {episode.num_steps} steps, {rate}"


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
