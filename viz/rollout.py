"""An imagined rollout next to the true one, as a Rerun recording."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rerun as rr
from jaxtyping import Float, Int, UInt8

from genie_robo.types import action_names
from genie_robo.viz.entities import (
    CHANGED_TOKENS,
    DECODED,
    DIFFERENCE,
    ENTROPY_MAP,
    GEOMS,
    IMAGINED_ACTION,
    IMAGINED_CAMERA,
    IMAGINED_PATH,
    LATENT_CHANCE,
    POSE_ERROR,
    PSNR,
    ROBOT_ACTION,
    SUMMARY,
    TRUE_CAMERA,
    TRUST,
    UNCERTAINTY,
    entity,
)
from genie_robo.viz.images import (
    FULL_DIFFERENCE,
    FULL_ENTROPY,
    HEAT_MAP_QUALITY,
    difference,
    heat_map,
    image_format,
    log_exact,
    log_video,
)
from genie_robo.viz.recording import Times, log_markdown, stable_id, time_columns, write_recording
from genie_robo.viz.rollout_blueprint import ComparisonLayout, RolloutLayout, rollout_blueprint
from genie_robo.viz.rollout_view import IMAGINED, Curves, RolloutView, TokenMaps
from genie_robo.viz.scene import (
    Eye,
    body_positions,
    eye_on,
    log_axes,
    log_imagined_path,
    log_replay,
)
from genie_robo.viz.series import (
    BLUE,
    ORANGE,
    TEAL,
    axis_limits,
    group_limits,
    log_chances,
    log_groups,
    log_horizon,
    log_latent_actions,
    measured_groups,
)

KEPT, IMAGINED_ONLY, TRUE_ONLY, BOTH = range(4)
"""Classes of tokens: in which video a token differs from the frame before."""
_CLASSES = (
    (KEPT, "kept", (16, 16, 20)),
    (IMAGINED_ONLY, "changes in the imagined frame only", ORANGE),
    (TRUE_ONLY, "changes in the true frame only", BLUE),
    (BOTH, "changes in both", TEAL),
)


def write_rollouts(path: Path, views: Mapping[str, RolloutView], *, name: str) -> Path:
    """Write rollouts by root into one recording with its layout, a tab for each episode.

    Several roots EPISODE/MODEL of one episode are models side by side: their truth, which must be
    the same, is logged once below EPISODE.

    Raises:
        ValueError: there is none, a root cannot be part of an entity path, or models of one
            episode have different truths.
    """
    if not views:
        raise ValueError(f"no rollouts to write to {path}; give at least one")
    episodes = by_episode(views)
    layouts = [_layout(root, models) for root, models in episodes.items()]

    def log(recording: rr.RecordingStream) -> None:
        for root, models in episodes.items():
            log_truth(recording, next(iter(models.values())), root=root)
            for model_root, view in models.items():
                log_imagined(recording, view, root=model_root)

    return write_recording(
        path,
        application_id=stable_id("rollouts", [layout.shape for layout in layouts]),
        recording_id=stable_id(name, (view.episode_id for view in views.values())),
        log=log,
        blueprint=rollout_blueprint(layouts),
        name=name,
    )


def log_truth(recording: rr.RecordingStream, view: RolloutView, *, root: str) -> None:
    """Log the ground truth: camera, robot actions, scene.

    Frame i and the actions that lead from frame i to frame i + 1 are logged at step i.
    """
    times, _ = _times(view)
    if view.true_video is not None:
        log_video(recording, entity(root, TRUE_CAMERA), view.true_video, times)
    _log_actions(recording, view, view.robot_actions, root=root)
    if view.replay is not None:
        log_replay(recording, view.replay, times, root=root)
    elif view.read_path is not None:
        log_axes(recording, root=root)


def log_imagined(recording: rr.RecordingStream, view: RolloutView, *, root: str) -> None:
    """Log the imagined frames, tokens and actions of a model, and its errors."""
    times, action_times = _times(view)
    log_video(recording, entity(root, IMAGINED_CAMERA), view.imagined_video, times)
    if view.true_video is not None:
        changed = difference(view.true_video, view.imagined_video)
        colored = heat_map(changed, full=FULL_DIFFERENCE)
        log_video(recording, entity(root, DIFFERENCE), colored, times, quality=HEAT_MAP_QUALITY)
    if view.tokens is not None:
        log_token_maps(recording, view.tokens, times, root=root)
    if view.latent_actions is not None:
        log_latent_actions(recording, view.latent_actions, times, names=view.names, root=root)
    if view.code_chances is not None:
        log_chances(recording, view.code_chances, action_times, names=view.names, root=root)
    _log_actions(recording, view, view.decoded_actions, root=root, below=DECODED)
    _log_actions(recording, view, view.imagined_actions, root=root, below=IMAGINED_ACTION)
    if view.read_path is not None:
        log_imagined_path(recording, view.read_path.positions, times, root=root)
    for path, curves in _errors(view).items():
        log_horizon(
            recording,
            entity(root, path),
            curves,
            num_prompt_frames=view.num_prompt_frames,
            control_hz=view.control_hz,
        )
    log_markdown(recording, entity(root, SUMMARY), view.summary)


def _log_actions(
    recording: rr.RecordingStream,
    view: RolloutView,
    actions: Float[np.ndarray, "t-1 a"] | None,
    *,
    root: str,
    below: str = "",
) -> None:
    """Log robot actions, if there are any; `below` names those that are not the true ones."""
    if actions is not None:
        log_groups(
            recording,
            entity(root, ROBOT_ACTION),
            actions,
            _times(view)[1],
            names=action_names(actions.shape[1], view.joint_names),
            mask=view.action_mask,
            below=below,
        )


def _errors(view: RolloutView) -> dict[str, Curves]:
    """Curves over the horizon by entity; empty where the view has none."""
    return {
        PSNR: view.psnr,
        POSE_ERROR: {} if view.read_path is None else view.read_path.error_mm,
        UNCERTAINTY: {} if view.uncertainty is None else {IMAGINED: view.uncertainty},
        TRUST: {} if view.trust is None else {IMAGINED: view.trust},
    }


def _times(view: RolloutView) -> tuple[Times, Times]:
    """Times of the frames, and of the actions."""
    steps, hz = np.arange(len(view.imagined_video)), view.control_hz
    return time_columns(steps, control_hz=hz), time_columns(steps[:-1], control_hz=hz)


def log_token_maps(
    recording: rr.RecordingStream, maps: TokenMaps, times: Times, *, root: str
) -> None:
    """Log a pixel per token: the class of its change, and its entropy as a heat map."""
    path = entity(root, CHANGED_TOKENS)
    static = rr.SegmentationImage.from_fields(format=image_format(*maps.grid))
    # In one row: two static rows of an entity make one chunk or two, depending on timing.
    recording.log(path, static, rr.AnnotationContext(list(_CLASSES)), static=True)
    changed = changes(maps.tokens, maps.true_tokens)
    recording.send_columns(path, times, rr.SegmentationImage.columns(buffer=changed))
    colored = heat_map(maps.entropy.reshape(-1, *maps.grid), full=FULL_ENTROPY)
    log_exact(recording, entity(root, ENTROPY_MAP), colored, times)


def changes(
    tokens: Int[np.ndarray, "t s"], true_tokens: Int[np.ndarray, "t s"] | None
) -> UInt8[np.ndarray, "t s"]:
    """Class of each token: whether it differs from the frame before; none does in the first frame.

    Equality with the true tokens would be less informative: among a thousand tokens many look
    alike, so even good imagined frames rarely have exactly the true ones.
    """
    classes = _moved(tokens) * np.uint8(IMAGINED_ONLY)
    if true_tokens is not None:
        classes = classes + _moved(true_tokens) * np.uint8(TRUE_ONLY)
    return classes


def _moved(tokens: Int[np.ndarray, "t s"]) -> UInt8[np.ndarray, "t s"]:
    return (np.diff(tokens, axis=0, prepend=tokens[:1]) != 0).astype(np.uint8)


def by_episode(views: Mapping[str, RolloutView]) -> dict[str, dict[str, RolloutView]]:
    """Views by root, those of several models of one episode together under the episode's root.

    Raises:
        ValueError: models of one episode have different truths.
    """
    parents = [root.rpartition("/")[0] for root in views]
    episodes: dict[str, dict[str, RolloutView]] = {}
    for (root, view), parent in zip(views.items(), parents, strict=True):
        is_compared = parent and parents.count(parent) > 1
        episodes.setdefault(parent if is_compared else root, {})[root] = view
    for root, models in episodes.items():
        _check_truth(root, list(models.values()))
    return episodes


def _check_truth(root: str, views: list[RolloutView]) -> None:
    first, *others = views
    for view in others:
        same = all(
            np.array_equal(np.asarray(getattr(first, part)), np.asarray(getattr(view, part)))
            for part in ("true_video", "control_hz", "num_prompt_frames")
        )
        if not same:
            raise ValueError(
                f"models of episode {root} have different truths, so they cannot be compared: give "
                "them the same prompt, horizon and robot actions, or roots of their own"
            )


def _action_groups(view: RolloutView) -> tuple[str, ...]:
    actions = view.decoded_actions if view.robot_actions is None else view.robot_actions
    if actions is None:
        return ()
    mask = np.ones(actions.shape[1], bool) if view.action_mask is None else view.action_mask
    return measured_groups(mask)


def rollout_layout(view: RolloutView, *, root: str = "") -> RolloutLayout:
    """The properties of a rollout that its layout depends on."""
    has = {
        TRUE_CAMERA: view.true_video is not None,
        CHANGED_TOKENS: view.tokens is not None,
        ROBOT_ACTION: view.robot_actions is not None,
        DECODED: view.decoded_actions is not None,
        LATENT_CHANCE: view.code_chances is not None,
        GEOMS: view.replay is not None,
        IMAGINED_PATH: view.read_path is not None,
        **{path: bool(curves) for path, curves in _errors(view).items()},
    }
    return RolloutLayout(
        root=root,
        episode_id=view.episode_id,
        control_hz=view.control_hz,
        eye=_eye(view),
        parts=frozenset(part for part, is_there in has.items() if is_there),
        action_groups=_action_groups(view),
        limits=_limits(view),
    )


def _limits(view: RolloutView) -> dict[str, tuple[float, float]]:
    """Ends of the value axes of curves, by entity."""
    every = (view.robot_actions, view.decoded_actions, view.imagined_actions)
    shown = [actions for actions in every if actions is not None]
    limits = group_limits(np.concatenate(shown), ROBOT_ACTION) if shown else {}
    return limits | {
        path: axis_limits(np.concatenate([c[view.num_prompt_frames :] for c in curves.values()]))
        for path, curves in _errors(view).items()
        if curves
    }


def _eye(view: RolloutView) -> Eye | None:
    """On the whole robot, the objects and the path of the imagined tool."""
    points = [] if view.read_path is None else [view.read_path.positions]
    if view.replay is not None:
        points += [view.replay.end_effector, body_positions(view.replay)]
    return eye_on(np.concatenate(points)) if points else None


def _layout(root: str, models: Mapping[str, RolloutView]) -> RolloutLayout | ComparisonLayout:
    layouts = tuple(rollout_layout(view, root=own) for own, view in models.items())
    return layouts[0] if root in models else ComparisonLayout(root=root, models=layouts)
