"""Numbers over time in a recording: robot actions, latent actions and named curves."""

import colorsys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import rerun as rr
from jaxtyping import Bool, Float, Int

from genie_robo.types import ACTION_NAMES, ACTION_UNITS, GRIPPER
from viz.entities import LATENT_ACTION, LATENT_INDEX, PROPRIOCEPTION, ROBOT_ACTION, entity

RED, GREEN, BLUE = (240, 98, 98), (120, 200, 90), (90, 156, 248)
ORANGE, TEAL, GREY = (255, 160, 40), (60, 200, 190), (150, 150, 158)
_GOLDEN_RATIO = 0.618034


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


def log_latent_actions(
    recording: rr.RecordingStream,
    latent_actions: Int[np.ndarray, " n"],
    times: list[rr.TimeColumn],
    *,
    num_codes: int,
    root: str = "",
) -> None:
    """Log the strip of codes and, beside it, their indices as numbers.

    `times` has one entry more than there are actions: an empty state there ends the strip.
    """
    path = entity(root, LATENT_ACTION)
    names = [str(code) for code in range(num_codes)]
    style = rr.StateConfiguration(values=names, labels=names, colors=code_colors(num_codes))
    recording.log(path, style, static=True)
    states = [*(str(int(code)) for code in latent_actions), ""]
    recording.send_columns(path, times, rr.StateChange.columns(state=states))
    index = np.append(latent_actions, latent_actions[-1:]).astype(np.float64)
    log_curves(
        recording,
        entity(root, LATENT_INDEX),
        index[:, None],
        times,
        style=rr.SeriesLines(
            names=["latent action"],
            colors=[ORANGE],
            widths=[2.0],
            interpolation_mode=rr.components.InterpolationMode.StepAfter,
        ),
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


def code_colors(num_codes: int) -> list[tuple[int, int, int]]:
    """One colour per code; neighbours differ clearly, and code i keeps its colour for any K."""
    colors = []
    for code in range(num_codes):
        hue = (0.08 + code * _GOLDEN_RATIO) % 1.0
        value = 0.92 if code % 2 == 0 else 0.72
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.62, value)
        colors.append((round(255 * red), round(255 * green), round(255 * blue)))
    return colors


def _shown(mask: Bool[np.ndarray, " 7"] | None) -> Iterator[tuple[Group, list[int]]]:
    """Groups with their dimensions inside the mask; a group without any stays out."""
    valid = np.ones(len(ACTION_NAMES), dtype=bool) if mask is None else mask
    for group in GROUPS:
        if shown := [d for d in group.dimensions if valid[d]]:
            yield group, shown


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
