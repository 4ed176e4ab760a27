"""An episode of any dataset as a Rerun recording: cameras, actions, pose and instruction."""

from pathlib import Path

import numpy as np
import rerun as rr
from jaxtyping import Bool, Float

from genie_robo.data.transforms import decode_frames
from genie_robo.types import Episode
from viz.blueprints.episode import EpisodeLayout, episode_blueprint
from viz.entities import CAMERA, END_EFFECTOR_PATH, END_EFFECTOR_POINT, INSTRUCTION, entity
from viz.images import log_encoded, log_video
from viz.recording import stable_id, time_columns, write_recording
from viz.scene import END_EFFECTOR_COLOR, eye_on, log_axes, log_point
from viz.series import GROUPS, log_pose, log_robot_actions

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
    for camera, frames in episode.images.items():
        path = entity(root, f"{CAMERA}/{camera}")
        if camera in episode.bgr_cameras:
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
