"""An imagined rollout beside what MuJoCo says happens, as a Rerun recording."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rerun as rr
from jaxtyping import Float, Int, UInt8

from genie_robo.sim.replay import Replay
from viz.blueprints.rollout import RolloutLayout, rollout_blueprint
from viz.entities import (
    DIFFERENCE,
    IMAGINED_CAMERA,
    PSNR,
    SUMMARY,
    TRUE_CAMERA,
    entity,
)
from viz.images import FULL_DIFFERENCE, difference, heat_map, log_video
from viz.recording import stable_id, time_columns, write_recording
from viz.scene import eye_on, log_replay
from viz.series import (
    GREY,
    ORANGE,
    TEAL,
    log_curves,
    log_latent_actions,
    log_robot_actions,
)

_CURVE_STYLES = {
    "imagined": ("imagined", ORANGE),
    "copy_last": ("copy last frame", GREY),
    "tokenizer": ("tokenizer alone", TEAL),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutView:
    """Everything that one rollout shows."""

    episode_id: str
    control_hz: float
    """Steps per second, 0 when unknown."""
    true_video: UInt8[np.ndarray, "t h w c"]
    imagined_video: UInt8[np.ndarray, "t h w c"]
    robot_actions: Float[np.ndarray, "t-1 7"]
    latent_actions: Int[np.ndarray, " t-1"]
    num_codes: int
    num_prompt_frames: int
    replay: Replay | None
    """None for episodes that no simulator can replay."""
    psnr: Mapping[str, Float[np.ndarray, " t"]]
    """Decibels by name: imagined, copy_last, tokenizer; what is not finite is left out."""
    summary: str
    """Markdown."""

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together."""
        num_frames = len(self.true_video)
        lengths = {
            "imagined_video": (len(self.imagined_video), num_frames),
            "robot_actions": (len(self.robot_actions), num_frames - 1),
            "latent_actions": (len(self.latent_actions), num_frames - 1),
            **{f"psnr[{name!r}]": (len(v), num_frames) for name, v in self.psnr.items()},
        }
        if self.replay is not None:
            lengths["replay"] = (len(self.replay.positions), num_frames)
        for name, (found, wanted) in lengths.items():
            if found != wanted:
                raise ValueError(
                    f"rollout of episode {self.episode_id}: {name} has {found} steps, but "
                    f"{num_frames} true frames want {wanted}"
                )
        if not 1 <= self.num_prompt_frames < num_frames:
            raise ValueError(
                f"rollout of episode {self.episode_id}: num_prompt_frames="
                f"{self.num_prompt_frames} must be at least 1 and below {num_frames} frames"
            )
        if self.latent_actions.min() < 0 or self.latent_actions.max() >= self.num_codes:
            raise ValueError(
                f"rollout of episode {self.episode_id}: latent actions span "
                f"{self.latent_actions.min()}..{self.latent_actions.max()}, outside the "
                f"{self.num_codes} codes"
            )


def log_rollout(recording: rr.RecordingStream, view: RolloutView, *, root: str = "") -> None:
    """Log one rollout below `root`; several roots share a recording.

    Frame i and the actions that lead from frame i to frame i + 1 lie at step i.
    """
    steps = np.arange(len(view.true_video))
    times = time_columns(steps, control_hz=view.control_hz)
    action_times = time_columns(steps[:-1], control_hz=view.control_hz)
    _log_cameras(recording, view, times, root=root)
    log_robot_actions(recording, view.robot_actions, action_times, root=root)
    log_latent_actions(recording, view.latent_actions, times, num_codes=view.num_codes, root=root)
    _log_psnr(recording, view, root=root)
    if view.replay is not None:
        log_replay(recording, view.replay, times, root=root)
    summary = rr.TextDocument(view.summary, media_type=rr.MediaType.MARKDOWN)
    recording.log(entity(root, SUMMARY), summary, static=True)


def write_rollouts(path: Path, views: Mapping[str, RolloutView], *, name: str) -> Path:
    """Write rollouts by root into one recording with its layout, a tab for each.

    Raises:
        ValueError: there is none, or a root cannot be part of an entity path.
    """
    if not views:
        raise ValueError(f"no rollouts to write to {path}; give at least one")

    def log(recording: rr.RecordingStream) -> None:
        for root, view in views.items():
            log_rollout(recording, view, root=root)

    layouts = [rollout_layout(view, root=root) for root, view in views.items()]
    return write_recording(
        path,
        application_id=stable_id("rollouts", views),
        recording_id=stable_id(name, (view.episode_id for view in views.values())),
        log=log,
        blueprint=rollout_blueprint(layouts),
        name=name,
    )


def rollout_layout(view: RolloutView, *, root: str = "") -> RolloutLayout:
    """What the blueprint needs to know of a rollout."""
    replay = view.replay
    return RolloutLayout(
        root=root,
        episode_id=view.episode_id,
        control_hz=view.control_hz,
        eye=None if replay is None else eye_on(replay.positions.reshape(-1, 3)),
    )


def _log_cameras(
    recording: rr.RecordingStream,
    view: RolloutView,
    times: list[rr.TimeColumn],
    *,
    root: str,
) -> None:
    log_video(recording, entity(root, TRUE_CAMERA), view.true_video, times)
    log_video(recording, entity(root, IMAGINED_CAMERA), view.imagined_video, times)
    changed = difference(view.true_video, view.imagined_video)
    colored = heat_map(changed, full=FULL_DIFFERENCE)
    log_video(recording, entity(root, DIFFERENCE), colored, times)


def _log_psnr(recording: rr.RecordingStream, view: RolloutView, *, root: str) -> None:
    """Log curves of the imagined frames only: a copy of the prompt is perfect on the prompt."""
    for name, decibels in view.psnr.items():
        label, color = _CURVE_STYLES.get(name, (name, TEAL))
        shown = np.isfinite(decibels) & (np.arange(len(decibels)) >= view.num_prompt_frames)
        log_curves(
            recording,
            f"{entity(root, PSNR)}/{name}",
            decibels[shown, None],
            time_columns(np.flatnonzero(shown), control_hz=view.control_hz),
            style=rr.SeriesLines(names=[label], colors=[color], widths=[2.0]),
        )
