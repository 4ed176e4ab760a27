"""Names of latent actions: the direction of their mean robot action."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from genie_robo.types import ACTION_NAMES, JOINTS, action_names

MOTIONS = ("x", "y", "z", "roll", "pitch", "yaw")
LEVER_M = 0.1
"""Lever arm that converts rotations (rad) to distances (m), to compare them with translations."""
SMALLEST_SHARE = 0.25
"""A code that moves less than this share of the largest motion has no direction."""


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
    """The name of each code of an action map; without labels its number.

    For a code without labels the dictionary's mean is that of all codes, so it has no direction.
    """
    counts = dictionary.counts
    means = dictionary.mean(np.arange(len(counts)))
    return code_names(np.where(counts[:, None] > 0, means, 0.0), joint_names)


def code_names(means: Float[np.ndarray, "k a"], joint_names: Sequence[str] = ()) -> tuple[str, ...]:
    """Every code's number and the main direction of its mean robot action, as in `3 +x`.

    A code without a clear direction has its number only. The gripper is ignored: it is a position,
    not a change. Where no end effector moves the joints give the direction, as in `3 +joint2`.
    """
    motions, axes = means[:, : len(MOTIONS)] * ([1.0] * 3 + [LEVER_M] * 3), MOTIONS
    if not motions.any() and means.shape[1] > len(ACTION_NAMES):
        motions, axes = means[:, JOINTS], action_names(means.shape[1], joint_names)[JOINTS]
    farthest = np.abs(motions).max()
    names = []
    for code, motion in enumerate(motions):
        most = int(np.abs(motion).argmax())
        is_clear = farthest > 0 and abs(motion[most]) >= SMALLEST_SHARE * farthest
        sign = "+" if motion[most] > 0 else "-"
        names.append(f"{code} {sign}{axes[most]}" if is_clear else str(code))
    return tuple(names)
