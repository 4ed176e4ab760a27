"""Curves and strips over time in a recording: robot actions, poses, latent actions, errors."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import rerun as rr
from jaxtyping import Bool, Float, Int

from genie_robo.inference.code_names import Color, code_colors
from genie_robo.types import ACTION_UNITS, GRIPPER, JOINTS, action_names
from genie_robo.viz.entities import LATENT_ACTION, LATENT_CHANCE, LATENT_INDEX, entity
from genie_robo.viz.recording import Times, log_columns, time_columns
from genie_robo.viz.rollout_view import COPY_LAST, IMAGINED, TOKENIZER, TRUE_FRAMES

RED, GREEN, BLUE = (240, 98, 98), (120, 200, 90), (90, 156, 248)
ORANGE, TEAL, GREY = (255, 160, 40), (60, 200, 190), (150, 150, 158)
PINK, VIOLET = (255, 120, 200), (170, 130, 255)
COLOR_NAMES = {
    **{RED: "red", GREEN: "green", BLUE: "blue", ORANGE: "orange"},
    **{TEAL: "teal", GREY: "grey", PINK: "pink", VIOLET: "violet"},
}
LINE_WIDTH = 2.0
"""Of curves, in points on the screen."""
HELD = rr.components.InterpolationMode.StepAfter
LINEAR = rr.components.InterpolationMode.Linear
MOST_INTERVALS, AXIS_MARGIN = 4, 0.05
"""Of ticks on a value axis: with more the viewer leaves out their numbers where plots are as low as
in a laptop's window. And the space above and below them as a share of the axis."""
SMALLEST_CHANCE = 0.02
"""A code whose probability never reaches this gets no curve."""
HORIZON_STYLES = {
    IMAGINED: ("imagined", ORANGE),
    COPY_LAST: ("copy last", GREY),
    TOKENIZER: ("tokenizer", TEAL),
    TRUE_FRAMES: ("true frames", TEAL),
}
_WHITE_SHARE = 0.55
"""Share of white mixed into the colours of decoded robot actions."""


class Group(NamedTuple):
    """Dimensions of an action or pose that share a unit, hence a plot."""

    name: str
    unit: str
    dimensions: tuple[int, ...]
    colors: tuple[Color, ...]
    limits: tuple[float, float] | None
    """Ends of the plot's value axis, None to fit the data."""
    colored: str = ""
    """The names of the dimensions and their colours; `{0}` is d in changes of the pose.

    A plot may be narrow: RGB is red, green and blue in this order."""


GROUPS = (
    Group(
        "translation",
        ACTION_UNITS[0],
        (0, 1, 2),
        (RED, GREEN, BLUE),
        None,
        "{0}x {0}y {0}z, RGB",
    ),
    Group(
        "rotation",
        ACTION_UNITS[3],
        (3, 4, 5),
        (RED, GREEN, BLUE),
        None,
        "{0}roll {0}pitch {0}yaw, RGB",
    ),
    Group("gripper", ACTION_UNITS[GRIPPER], (GRIPPER,), (ORANGE,), (-0.1, 1.1)),
)
JOINT_GROUP, JOINT_UNIT = "joints", "stored"
"""Name and unit of the plot of the further numbers of an action."""
POSE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


def groups_of(width: int) -> tuple[Group, ...]:
    """The groups of an action of this many numbers."""
    joints = tuple(range(width)[JOINTS])
    if not joints:
        return GROUPS
    return (*GROUPS, Group(JOINT_GROUP, JOINT_UNIT, joints, tuple(code_colors(len(joints))), None))


def axis_limits(values: Float[np.ndarray, "..."]) -> tuple[float, float]:
    """Ends of a value axis that show all finite values and at least two ticks.

    The viewer puts ticks at multiples of a power of ten, as far as their numbers fit.
    """
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    span = high - low or abs(low) or 1.0
    tick = 10.0 ** np.floor(np.log10(span))
    if np.ceil(high / tick) - np.floor(low / tick) > MOST_INTERVALS:
        tick *= 10
    low, high = tick * np.floor(low / tick), tick * np.ceil(high / tick)
    if low == high:
        low, high = low - tick, high + tick
    margin = AXIS_MARGIN * (high - low)
    return float(low - margin), float(high + margin)


def group_limits(values: Float[np.ndarray, "n a"], path: str) -> dict[str, tuple[float, float]]:
    """Ends of the value axes of all groups of actions or poses, by entity below `path`."""
    return {
        f"{path}/{group.name}": group.limits or axis_limits(values[:, list(group.dimensions)])
        for group in groups_of(values.shape[1])
    }


def measured_groups(mask: Bool[np.ndarray, " a"]) -> tuple[str, ...]:
    """Names of the groups that have a dimension inside the mask."""
    return tuple(g.name for g in groups_of(len(mask)) if mask[list(g.dimensions)].any())


def log_groups(
    recording: rr.RecordingStream,
    path: str,
    values: Float[np.ndarray, "n a"],
    times: Times,
    *,
    names: Sequence[str] | None = None,
    units: Sequence[str] | None = None,
    mask: Bool[np.ndarray, " a"] | None = None,
    interpolation: rr.components.InterpolationMode = HELD,
    below: str = "",
) -> None:
    """Log a series for each dimension, grouped by unit below `path`; those outside `mask` are not.

    Robot actions other than the true ones get entities of this name below those, and paler colours.
    """
    names = names or action_names(values.shape[1])
    for group in groups_of(values.shape[1]):
        shown = [d for d in group.dimensions if mask is None or mask[d]]
        if not shown:
            continue
        labels = [f"{names[d]} {below}" if below else names[d] for d in shown]
        colors = [group.colors[group.dimensions.index(d)] for d in shown]
        log_curves(
            recording,
            f"{path}/{group.name}/{below}" if below else f"{path}/{group.name}",
            values[:, shown],
            times,
            names=[
                f"{label} ({units[d] if units else group.unit})"
                for label, d in zip(labels, shown, strict=True)
            ],
            colors=[_lighter(color) for color in colors] if below else colors,
            interpolation=interpolation,
        )


def log_latent_actions(
    recording: rr.RecordingStream,
    latent_actions: Int[np.ndarray, " n"],
    times: Times,
    *,
    names: Sequence[str],
    root: str,
) -> None:
    """Log the codes as a strip of named states, and their indices as numbers.

    `times` has one entry more than there are actions: an empty state there ends the strip.
    """
    values = [str(code) for code in range(len(names))]
    style = rr.StateConfiguration(values=values, labels=names, colors=code_colors(len(names)))
    states = rr.StateChange.columns(state=[*(str(int(code)) for code in latent_actions), ""])
    log_columns(recording, entity(root, LATENT_ACTION), times, states, static=style)
    log_curves(
        recording,
        entity(root, LATENT_INDEX),
        np.append(latent_actions, latent_actions[-1:])[:, None],
        times,
        names=["latent action"],
        colors=[ORANGE],
        interpolation=HELD,
    )


def log_chances(
    recording: rr.RecordingStream,
    chances: Float[np.ndarray, "n k"],
    times: Times,
    *,
    names: Sequence[str],
    root: str,
) -> None:
    """Log the probability of each code, in the colours of the strip; unlikely ones are left out."""
    shown = np.flatnonzero(chances.max(axis=0) >= SMALLEST_CHANCE).tolist()
    colors = code_colors(len(names))
    log_curves(
        recording,
        entity(root, LATENT_CHANCE),
        chances[:, shown],
        times,
        names=[names[code] for code in shown],
        colors=[colors[code] for code in shown],
        interpolation=HELD,
    )


def log_horizon(
    recording: rr.RecordingStream,
    path: str,
    curves: Mapping[str, Float[np.ndarray, " t"]],
    *,
    num_prompt_frames: int,
    control_hz: float,
) -> None:
    """Log curves over the imagined frames only: on the prompt a copy of it is perfect."""
    for name, values in curves.items():
        label, color = HORIZON_STYLES.get(name, (name, TEAL))
        shown = np.isfinite(values) & (np.arange(len(values)) >= num_prompt_frames)
        times = time_columns(np.flatnonzero(shown), control_hz=control_hz)
        curve = values[shown, None]
        log_curves(recording, f"{path}/{name}", curve, times, names=[label], colors=[color])


def log_curves(
    recording: rr.RecordingStream,
    path: str,
    values: Float[np.ndarray, "n s"] | Int[np.ndarray, "n s"],
    times: Times,
    *,
    names: Sequence[str],
    colors: Sequence[Color] | None = None,
    width: float = LINE_WIDTH,
    interpolation: rr.components.InterpolationMode | None = None,
) -> None:
    """Log s series that share an entity."""
    style = rr.SeriesLines(
        names=names,
        colors=colors,
        widths=[width] * len(names),
        interpolation_mode=interpolation,
    )
    scalars = np.ascontiguousarray(values, dtype=np.float64)
    log_columns(recording, path, times, rr.Scalars.columns(scalars=scalars), static=style)


def _lighter(color: Color) -> Color:
    red, green, blue = (round(c + (255 - c) * _WHITE_SHARE) for c in color)
    return red, green, blue
