"""Robot actions and poses over time in a recording."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import rerun as rr
from jaxtyping import Bool, Float

from genie_robo.types import ACTION_NAMES, ACTION_UNITS, GRIPPER
from viz.entities import DECODED, PROPRIOCEPTION, ROBOT_ACTION, entity

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
