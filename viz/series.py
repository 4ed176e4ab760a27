"""Everything that is a curve or a strip over time: robot actions, poses, latent actions, errors."""

import colorsys
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import rerun as rr
from jaxtyping import Bool, Float, Int

from genie_robo.types import ACTION_NAMES, ACTION_UNITS, GRIPPER
from viz.entities import (
    DECODED,
    LATENT_ACTION,
    LATENT_CHANCE,
    LATENT_INDEX,
    PROPRIOCEPTION,
    ROBOT_ACTION,
    entity,
)
from viz.recording import time_columns
from viz.rollout_view import COPY_LAST, IMAGINED, TOKENIZER, TRUE_FRAMES

RED, GREEN, BLUE = (240, 98, 98), (120, 200, 90), (90, 156, 248)
ORANGE, TEAL, GREY = (255, 160, 40), (60, 200, 190), (150, 150, 158)
PINK, VIOLET = (255, 120, 200), (170, 130, 255)
DECODED_LIGHTER = 0.55
"""Share of white in the colours of decoded robot actions."""


class Group(NamedTuple):
    """Dimensions of a 7-D action or pose that share a unit, hence a plot."""

    name: str
    unit: str
    dimensions: tuple[int, ...]
    colors: tuple[tuple[int, int, int], ...]
    limits: tuple[float, float] | None
    """Ends of the plot's value axis, None to fit the data."""


GROUPS = (
    Group("translation", ACTION_UNITS[0], (0, 1, 2), (RED, GREEN, BLUE), None),
    Group("rotation", ACTION_UNITS[3], (3, 4, 5), (RED, GREEN, BLUE), None),
    Group("gripper", ACTION_UNITS[GRIPPER], (GRIPPER,), (ORANGE,), (-0.1, 1.1)),
)
POSE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


def log_robot_actions(
    recording: rr.RecordingStream,
    actions: Float[np.ndarray, "n 7"],
    times: list[rr.TimeColumn],
    *,
    mask: Bool[np.ndarray, " 7"] | None = None,
    root: str = "",
) -> None:
    """Log the seven series, named with their units; dimensions outside `mask` stay out."""
    for group, shown in _shown(mask):
        log_curves(
            recording,
            f"{entity(root, ROBOT_ACTION)}/{group.name}",
            actions[:, shown],
            times,
            style=_style(group, shown, ACTION_NAMES, held=True),
        )


def log_decoded_actions(
    recording: rr.RecordingStream,
    actions: Float[np.ndarray, "n 7"],
    times: list[rr.TimeColumn],
    *,
    root: str = "",
) -> None:
    """Log the robot actions that latent actions stand for, beside the true ones but paler."""
    names = [f"{name} {DECODED}" for name in ACTION_NAMES]
    for group, shown in _shown(None):
        pale = group._replace(colors=tuple(_lighter(color) for color in group.colors))
        log_curves(
            recording,
            f"{entity(root, ROBOT_ACTION)}/{group.name}/{DECODED}",
            actions[:, shown],
            times,
            style=_style(pale, shown, names, held=True),
        )


def log_pose(
    recording: rr.RecordingStream,
    pose: Float[np.ndarray, "t 7"],
    times: list[rr.TimeColumn],
    *,
    mask: Bool[np.ndarray, " 7"] | None = None,
    root: str = "",
) -> None:
    """Log x y z (m), roll pitch yaw (rad) and gripper (1 = open) of the end effector.

    Numbers outside `mask` are not measured and stay out.
    """
    for group, shown in _shown(mask):
        log_curves(
            recording,
            f"{entity(root, PROPRIOCEPTION)}/{group.name}",
            pose[:, shown],
            times,
            style=_style(group, shown, POSE_NAMES, held=False),
        )


def log_curves(
    recording: rr.RecordingStream,
    path: str,
    values: Float[np.ndarray, "n s"],
    times: list[rr.TimeColumn],
    *,
    style: rr.SeriesLines,
) -> None:
    """Log s series that share an entity."""
    recording.log(path, style, static=True)
    scalars = np.ascontiguousarray(values, dtype=np.float64)
    recording.send_columns(path, times, rr.Scalars.columns(scalars=scalars))


def _shown(mask: Bool[np.ndarray, " 7"] | None) -> Iterator[tuple[Group, list[int]]]:
    """Groups with their dimensions inside the mask; a group without any stays out."""
    valid = np.ones(len(ACTION_NAMES), dtype=bool) if mask is None else mask
    for group in GROUPS:
        if shown := [d for d in group.dimensions if valid[d]]:
            yield group, shown


def _lighter(color: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (round(c + (255 - c) * DECODED_LIGHTER) for c in color)
    return red, green, blue


def _style(
    group: Group, shown: Sequence[int], names: Sequence[str], *, held: bool
) -> rr.SeriesLines:
    """Names with units; what is `held` keeps its value from step to step."""
    mode = rr.components.InterpolationMode
    return rr.SeriesLines(
        names=[f"{names[d]} ({group.unit})" for d in shown],
        colors=[group.colors[group.dimensions.index(d)] for d in shown],
        widths=[2.0] * len(shown),
        interpolation_mode=mode.StepAfter if held else mode.Linear,
    )


SMALLEST_CHANCE = 0.02
"""A code that never becomes this likely gets no curve."""
_GOLDEN_RATIO = 0.618034


def log_latent_actions(
    recording: rr.RecordingStream,
    latent_actions: Int[np.ndarray, " n"],
    times: list[rr.TimeColumn],
    *,
    names: Sequence[str],
    root: str = "",
) -> None:
    """Log the strip of codes, each under its name, and beside it their indices as numbers.

    `times` has one entry more than there are actions: an empty state there ends the strip.
    """
    path = entity(root, LATENT_ACTION)
    values = [str(code) for code in range(len(names))]
    style = rr.StateConfiguration(values=values, labels=names, colors=code_colors(len(names)))
    recording.log(path, style, static=True)
    states = [*(str(int(code)) for code in latent_actions), ""]
    recording.send_columns(path, times, rr.StateChange.columns(state=states))
    index = np.append(latent_actions, latent_actions[-1:]).astype(np.float64)
    style = _steps(["latent action"], [ORANGE])
    log_curves(recording, entity(root, LATENT_INDEX), index[:, None], times, style=style)


def log_chances(
    recording: rr.RecordingStream,
    chances: Float[np.ndarray, "n k"],
    times: list[rr.TimeColumn],
    *,
    names: Sequence[str],
    root: str = "",
) -> None:
    """Log how likely each code was, in the colours of the strip; hopeless ones stay out."""
    shown = np.flatnonzero(chances.max(axis=0) >= SMALLEST_CHANCE)
    colors = code_colors(len(names))
    style = _steps([names[int(code)] for code in shown], [colors[int(code)] for code in shown])
    log_curves(recording, entity(root, LATENT_CHANCE), chances[:, shown], times, style=style)


def code_colors(num_codes: int) -> list[tuple[int, int, int]]:
    """One colour per code; neighbours differ clearly, and code i keeps its colour for any K."""
    colors = []
    for code in range(num_codes):
        hue = (0.08 + code * _GOLDEN_RATIO) % 1.0
        value = 0.92 if code % 2 == 0 else 0.72
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.62, value)
        colors.append((round(255 * red), round(255 * green), round(255 * blue)))
    return colors


def _steps(names: list[str], colors: list[tuple[int, int, int]]) -> rr.SeriesLines:
    return rr.SeriesLines(
        names=names,
        colors=colors,
        widths=[2.0] * len(names),
        interpolation_mode=rr.components.InterpolationMode.StepAfter,
    )


STYLES = {
    IMAGINED: ("imagined", ORANGE),
    COPY_LAST: ("copy last", GREY),
    TOKENIZER: ("tokenizer", TEAL),
    TRUE_FRAMES: ("true frames", TEAL),
}


def log_horizon(
    recording: rr.RecordingStream,
    path: str,
    curves: Mapping[str, Float[np.ndarray, " t"]],
    *,
    num_prompt_frames: int,
    control_hz: float,
) -> None:
    """Log curves of the imagined frames only: a copy of the prompt is perfect on the prompt."""
    for name, values in curves.items():
        label, color = STYLES.get(name, (name, TEAL))
        shown = np.isfinite(values) & (np.arange(len(values)) >= num_prompt_frames)
        log_curves(
            recording,
            f"{path}/{name}",
            values[shown, None],
            time_columns(np.flatnonzero(shown), control_hz=control_hz),
            style=rr.SeriesLines(names=[label], colors=[color], widths=[2.0]),
        )
