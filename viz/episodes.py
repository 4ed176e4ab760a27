"""Episodes of a dataset one after another in one recording, and its layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from jaxtyping import Bool, Float, Shaped

from genie_robo.data.transforms import decode_frames, stored_size
from genie_robo.inference.code_names import code_colors
from genie_robo.sim.replay import GeomShape, Replay
from genie_robo.types import JOINTS, Episode, StoredImage
from genie_robo.viz.entities import (
    CAMERA,
    END_EFFECTOR_PATH,
    END_EFFECTOR_POINT,
    EPISODE,
    EPISODE_TABLE,
    INSTRUCTION,
    PROPRIOCEPTION,
    ROBOT_ACTION,
    SCENE,
    STORED,
    entity,
)
from genie_robo.viz.images import SMALLEST_JPEG, log_encoded, log_jpeg, log_video
from genie_robo.viz.recording import (
    Times,
    log_columns,
    log_markdown,
    stable_id,
    time_columns,
    write_recording,
)
from genie_robo.viz.scene import (
    END_EFFECTOR_COLOR,
    Eye,
    body_positions,
    eye_on,
    log_axes,
    log_changed_scene,
    log_point,
)
from genie_robo.viz.series import (
    JOINT_GROUP,
    LINEAR,
    POSE_NAMES,
    group_limits,
    log_curves,
    log_groups,
    measured_groups,
)
from genie_robo.viz.views import Limits, Part, group_plots, image, playing, plot, space, strip, text

GAP = 1
"""Steps between two episodes. Curves end there, so that no line joins two episodes."""
_PATH_COLOR = tuple(channel // 2 for channel in END_EFFECTOR_COLOR)
_PATH_POINTS = 1.5
"""Width of the end effector's path, in points on the screen."""
_STORED_WIDTH = 1.5
_CAMERAS_IN_A_ROW, _STORED_IN_A_ROW = 4, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownEpisode:
    """An episode, with unmapped columns and the simulator's replay where it has them."""

    episode: Episode
    stored: Mapping[str, Shaped[np.ndarray, "t _"]]
    """Columns of numbers to show as stored, where no mapping reads them."""
    replay: Replay | None
    """None for episodes that no simulator can replay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeLayout:
    """The properties of a dataset that its layout depends on."""

    cameras: tuple[str, ...]
    control_hz: float
    eye: Eye | None
    """None without an end-effector pose."""
    action_groups: tuple[str, ...]
    """Names of the groups of an action that the dataset has."""
    pose_groups: tuple[str, ...]
    stored: tuple[str, ...]
    """Columns of numbers that are shown as stored."""
    limits: Limits
    """Ends of the value axes of actions and poses, by entity."""
    has_table: bool
    """Whether the scene is a replay in the simulator, with its table."""


def write_dataset(path: Path, shown: Sequence[ShownEpisode], *, name: str) -> Path:
    """Write episodes of one dataset in turn on shared timelines, with their layout.

    Episode k begins one step after the end of episode k - 1. All are logged to the same entities,
    so one layout shows any number of them and their curves share an axis.

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
    """Properties for the layout; all episodes of a dataset have the same columns."""
    first = shown[0].episode
    replays = [one.replay for one in shown if one.replay is not None]
    poses = [pose for one in shown if (pose := one.episode.end_effector_pose) is not None]
    points = [body_positions(replay) for replay in replays]
    points = points or [pose[:, :3] for pose in poses]
    return EpisodeLayout(
        cameras=tuple(first.images),
        control_hz=first.control_hz,
        eye=eye_on(np.concatenate(points)) if points else None,
        action_groups=measured_groups(first.action_mask),
        pose_groups=measured_groups(_measured(first)),
        stored=tuple(_escaped(key) for key in shown[0].stored),
        limits=_limits([one.episode for one in shown]),
        has_table=bool(replays),
    )


def _limits(episodes: Sequence[Episode]) -> dict[str, tuple[float, float]]:
    actions = np.concatenate([episode.robot_actions[:-1] for episode in episodes])
    poses = [p for episode in episodes if (p := episode.end_effector_pose) is not None]
    return group_limits(actions, ROBOT_ACTION) | (
        group_limits(np.concatenate(poses), PROPRIOCEPTION) if poses else {}
    )


def dataset_blueprint(layout: EpisodeLayout) -> rrb.Blueprint:
    """Cameras, actions, poses and the strip of episodes; the scene and the texts on the right."""
    rows = _rows(layout)
    texts = [text("", INSTRUCTION, "instruction"), text("", EPISODE_TABLE, "all episodes")]
    right: list[Part] = [rrb.Vertical(*texts, row_shares=[40, 60])]
    if layout.eye is not None:
        name = "MuJoCo replay" if layout.has_table else "end-effector path"
        grid_m = None if layout.has_table else 0.1
        right.insert(0, space("", SCENE, layout.eye, name=name, grid_m=grid_m))
    content = rrb.Horizontal(
        rrb.Vertical(*(row for row, _ in rows), row_shares=[share for _, share in rows]),
        rrb.Vertical(*right, row_shares=[60, 40][-len(right) :]),
        column_shares=[64, 36],
    )
    return playing(content, control_hz=layout.control_hz)


def _rows(layout: EpisodeLayout) -> list[tuple[Part, int]]:
    """Everything that changes with time, top to bottom, each with its share of the height."""
    cameras = [image("", f"{CAMERA}/{_escaped(name)}", name) for name in layout.cameras]
    rows: list[tuple[Part, int]] = [
        (rrb.Grid(*cameras, grid_columns=min(len(cameras), _CAMERAS_IN_A_ROW)), 50)
    ]
    if layout.action_groups:
        plots = group_plots("", ROBOT_ACTION, limits=layout.limits)
        rows.append((rrb.Horizontal(*(plots[name] for name in layout.action_groups)), 25))
    if layout.pose_groups:
        plots = group_plots("", PROPRIOCEPTION, prefix="pose: ", limits=layout.limits)
        rows.append((rrb.Horizontal(*(plots[name] for name in layout.pose_groups)), 25))
    if layout.stored:
        stored = [plot("", f"{STORED}/{key}", f"{key} (as stored)") for key in layout.stored]
        rows.append((rrb.Grid(*stored, grid_columns=min(len(stored), _STORED_IN_A_ROW)), 50))
    rows.append((strip("", EPISODE, "episodes"), 14))
    return rows


def log_dataset(recording: rr.RecordingStream, shown: Sequence[ShownEpisode], *, name: str) -> None:
    """Log episodes in turn, a strip that separates them, and a table of them."""
    episodes = [one.episode for one in shown]
    starts = first_steps(episodes)
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
    _log_strip(recording, episodes, starts)
    log_markdown(recording, entity("", EPISODE_TABLE), _table(name, episodes, starts))


def first_steps(episodes: Sequence[Episode]) -> list[int]:
    """Where each episode begins on the timeline `step`."""
    lengths = [episode.num_steps + GAP for episode in episodes]
    return [0, *np.cumsum(lengths[:-1]).tolist()] if lengths else []


def log_episode(recording: rr.RecordingStream, episode: Episode, *, first_step: int) -> None:
    """Log one episode from `first_step` on.

    JPEG and PNG are stored as the dataset has them, unless their colours are swapped; frames of a
    video are decoded.
    The last step's action is invalid and left out, as are dimensions that the dataset lacks.

    Raises:
        ValueError: a frame is neither JPEG nor PNG.
    """
    steps, hz = first_step + np.arange(episode.num_steps), episode.control_hz
    times, start = time_columns(steps, control_hz=hz), time_columns(steps[:1], control_hz=hz)
    for name, frames in episode.images.items():
        path = entity("", f"{CAMERA}/{_escaped(name)}")
        encoded = [frame for frame in frames if isinstance(frame, bytes)]
        if name in episode.bgr_cameras or len(encoded) < len(frames):
            is_bgr = name in episode.bgr_cameras
            _log_decoded(recording, path, frames, times, is_bgr=is_bgr)
        else:
            log_encoded(recording, path, encoded, times)
    action_times = time_columns(steps[:-1], control_hz=hz)
    actions, mask = episode.robot_actions[:-1], episode.action_mask
    log_groups(
        recording,
        entity("", ROBOT_ACTION),
        actions,
        action_times,
        names=episode.action_names,
        units=episode.action_units,
        mask=mask,
    )
    if episode.end_effector_pose is not None:
        _log_pose(recording, episode, episode.end_effector_pose, times)
        _log_whole_path(recording, episode.end_effector_pose[:, :3], start)
    if episode.joints is not None:
        _log_joints(recording, episode, episode.joints, times)
    log_columns(
        recording,
        entity("", INSTRUCTION),
        start,
        rr.TextDocument.columns(text=[_description(episode)]),
        static=rr.TextDocument.from_fields(media_type=rr.MediaType.MARKDOWN),
    )


def _log_decoded(
    recording: rr.RecordingStream,
    path: str,
    frames: Sequence[StoredImage],
    times: Times,
    *,
    is_bgr: bool,
) -> None:
    """Log images that store blue, green, red, or are in a video; of large ones one at a time."""
    size = stored_size(frames[0])
    if max(size) < SMALLEST_JPEG:
        video = decode_frames(frames, image_size=size, is_bgr=is_bgr)
        log_video(recording, path, video, times)
        return
    decoded = (decode_frames([frame], image_size=size, is_bgr=is_bgr)[0] for frame in frames)
    log_jpeg(recording, path, decoded, times)


def _log_pose(
    recording: rr.RecordingStream, episode: Episode, pose: Float[np.ndarray, "t 7"], times: Times
) -> None:
    log_groups(
        recording,
        entity("", PROPRIOCEPTION),
        pose,
        times,
        names=POSE_NAMES,
        mask=episode.pose_mask,
        interpolation=LINEAR,
    )
    log_axes(recording)
    log_point(recording, entity("", END_EFFECTOR_POINT), pose[:, :3], times)


def _log_joints(
    recording: rr.RecordingStream, episode: Episode, joints: Float[np.ndarray, "t k"], times: Times
) -> None:
    named = zip(episode.action_names[JOINTS], episode.action_units[JOINTS], strict=True)
    log_curves(
        recording,
        entity("", f"{PROPRIOCEPTION}/{JOINT_GROUP}"),
        joints,
        times,
        names=[f"{name} ({unit})" for name, unit in named],
        colors=code_colors(joints.shape[1]),
        interpolation=LINEAR,
    )


def _measured(episode: Episode) -> Bool[np.ndarray, " a"]:
    """Which numbers of the pose are measured, then the joints."""
    num_joints = 0 if episode.joints is None else episode.joints.shape[1]
    return np.concatenate([episode.pose_mask, np.ones(num_joints, bool)])


def _log_whole_path(
    recording: rr.RecordingStream, positions: Float[np.ndarray, "t 3"], start: Times
) -> None:
    """Log the whole path once, at its start: a path per step would grow with the square."""
    style = rr.LineStrips3D.from_fields(colors=[_PATH_COLOR], radii=[-_PATH_POINTS])
    columns = rr.LineStrips3D.columns(strips=[positions])
    log_columns(recording, entity("", END_EFFECTOR_PATH), start, columns, static=style)


def _end_curves(recording: rr.RecordingStream, one: ShownEpisode, start: int) -> None:
    """End the curves of actions at the last step, those of poses at the gap."""
    end = start + one.episode.num_steps
    ends = {ROBOT_ACTION: end - 1, PROPRIOCEPTION: end}
    ends |= {f"{STORED}/{_escaped(key)}": end for key in one.stored}
    for path, step in ends.items():
        times = time_columns(np.array([step]), control_hz=one.episode.control_hz)
        recording.send_columns(entity("", path), times, rr.Clear.columns(is_recursive=[True]))


def _log_strip(
    recording: rr.RecordingStream, episodes: Sequence[Episode], starts: Sequence[int]
) -> None:
    names = [str(number) for number in range(len(episodes))]
    labels = [f"{n} {episode.instruction}".strip() for n, episode in enumerate(episodes)]
    style = rr.StateConfiguration(values=names, labels=labels, colors=code_colors(len(episodes)))
    ends = [start + episode.num_steps for start, episode in zip(starts, episodes, strict=True)]
    steps = np.array([step for pair in zip(starts, ends, strict=True) for step in pair])
    states = rr.StateChange.columns(state=[state for name in names for state in (name, "")])
    times = time_columns(steps, control_hz=episodes[0].control_hz)
    log_columns(recording, entity("", EPISODE), times, states, static=style)


def _log_stored(recording: rr.RecordingStream, one: ShownEpisode, start: int) -> None:
    for key, rows in one.stored.items():
        times = time_columns(start + np.arange(len(rows)), control_hz=one.episode.control_hz)
        names = [f"{key}[{i}]" for i in range(rows.shape[1])]
        path = entity("", f"{STORED}/{_escaped(key)}")
        log_curves(recording, path, rows, times, names=names, width=_STORED_WIDTH)


def _escaped(key: str) -> str:
    """A column's key, with the characters escaped that Rerun does not allow in a path."""
    return "/".join(rr.escape_entity_path_part(part) for part in key.split("/"))


def _description(episode: Episode) -> str:
    rate = f"{episode.control_hz:g} Hz" if episode.control_hz > 0 else "rate unknown"
    instruction = episode.instruction or "(no instruction)"
    return f"## {instruction}\n\nepisode `{episode.episode_id}`, {episode.num_steps} steps, {rate}"


def _table(name: str, episodes: Sequence[Episode], starts: Sequence[int]) -> str:
    """Markdown: first step, length and instruction of each episode."""
    lines = [f"## {name}", "", "| episode | first step | steps | instruction | id |"]
    lines.append("|---|---|---|---|---|")
    for number, (episode, start) in enumerate(zip(episodes, starts, strict=True)):
        words = episode.instruction.replace("|", "/").replace("\n", " ")
        lines.append(
            f"| {number} | {start} | {episode.num_steps} | {words} | {episode.episode_id} |"
        )
    return "\n".join(lines)
