"""Names and colours of latent actions, the same in every figure, recording and page.

A code is named by its number, hence uniquely, and by the direction of its mean robot action.
"""

import colorsys
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from genie_robo.types import ACTION_NAMES, GRIPPER, JOINTS, action_names

MOTIONS = ("x", "y", "z", "roll", "pitch", "yaw")
LEVER_M = 0.1
"""Lever arm that converts rotations (rad) to distances (m), to compare them with translations."""
SMALLEST_SHARE = 0.25
"""A code that moves less than this share of the largest motion is still."""
DIAGONAL = 1 / 3
"""An axis is part of the direction from this share of the largest component on."""
STILL, OPEN, CLOSE = "still", "open", "close"
GRIPPER_MARGIN = 0.25
"""The gripper of a still code is open or closed within this margin, and differs by as much from
the mean of all codes."""
_GOLDEN_RATIO = 0.618034

Color = tuple[int, int, int]


@runtime_checkable
class LabelledCodes(Protocol):
    """The robot actions of each code."""

    @property
    def counts(self) -> Int[np.ndarray, " k"]:
        """Labelled transitions per code."""
        ...

    def mean(self, latent_actions: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n a"]:
        """The mean robot action of each code; of one without labels the mean of all."""
        ...


def dictionary_names(dictionary: LabelledCodes, joint_names: Sequence[str] = ()) -> tuple[str, ...]:
    """The name of each code of an action map."""
    counts = dictionary.counts
    means = dictionary.mean(np.arange(len(counts)))
    return code_names(np.where(counts[:, None] > 0, means, np.nan), joint_names)


def code_names(means: Float[np.ndarray, "k a"], joint_names: Sequence[str] = ()) -> tuple[str, ...]:
    """Every code's number and the direction of its mean robot action, as in `3 +x` or `6 +x-y`.

    A still code is `2 still`, or `2 open` or `2 close` where its gripper command differs from the
    other codes'. A row of NaN, a code without labels, has its number only. Where no end effector
    moves, the joint that moves most gives the direction, as in `3 +joint2`.
    """
    motions, axes = means[:, : len(MOTIONS)] * ([1.0] * 3 + [LEVER_M] * 3), MOTIONS
    share = DIAGONAL
    if not np.nan_to_num(motions).any() and means.shape[1] > len(ACTION_NAMES):
        motions, axes = means[:, JOINTS], action_names(means.shape[1], joint_names)[JOINTS]
        share = 1.0
    lengths = np.linalg.norm(motions, axis=1)
    is_known = np.isfinite(lengths)
    farthest = lengths[is_known].max(initial=0.0)
    grippers = means[:, GRIPPER]
    usual = grippers[is_known].mean() if is_known.any() else 0.0
    names = []
    for code, motion in enumerate(motions):
        if not is_known[code]:
            names.append(str(code))
        elif farthest == 0 or lengths[code] < SMALLEST_SHARE * farthest:
            names.append(f"{code} {_still(grippers[code], usual)}")
        else:
            names.append(f"{code} {_direction(motion, axes, share)}")
    return tuple(names)


def _direction(motion: Float[np.ndarray, " a"], axes: Sequence[str], share: float) -> str:
    """The axes whose component is at least this share of the largest, with their signs."""
    parts = np.abs(motion)
    return "".join(
        f"{'+' if value > 0 else '-'}{axis}"
        for axis, value, part in zip(axes, motion, parts, strict=True)
        if part >= share * parts.max()
    )


def _still(gripper: float, usual: float) -> str:
    if abs(gripper - usual) < GRIPPER_MARGIN:
        return STILL
    if gripper >= 1 - GRIPPER_MARGIN:
        return OPEN
    return CLOSE if gripper <= GRIPPER_MARGIN else STILL


def code_colors(num_codes: int) -> list[Color]:
    """One colour per code; neighbours differ clearly, and code i has the same colour for any K."""
    colors = []
    for code in range(num_codes):
        hue = (0.08 + code * _GOLDEN_RATIO) % 1.0
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.62, 0.92 if code % 2 == 0 else 0.72)
        colors.append((round(255 * red), round(255 * green), round(255 * blue)))
    return colors
