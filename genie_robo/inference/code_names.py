"""What a latent action means to the robot, in a word."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

MOTIONS = ("x", "y", "z", "roll", "pitch", "yaw")
LEVER_M = 0.1
"""Metres from the wrist that a radian is judged at, so that turning compares with moving."""
SMALLEST_SHARE = 0.25
"""Of the farthest that any code moves the robot: below it a code has no direction."""


@runtime_checkable
class LabelledCodes(Protocol):
    """What is known of the robot actions of each code."""

    @property
    def counts(self) -> Int[np.ndarray, " k"]:
        """Labelled transitions per code."""
        ...

    def mean(self, latent_actions: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n 7"]:
        """The mean robot action of each code; of one without labels the mean of all."""
        ...


def dictionary_names(dictionary: LabelledCodes) -> tuple[str, ...]:
    """What to call each code of an action map.

    A code without labels keeps its number: the dictionary answers with the mean of all, which says
    nothing about it.
    """
    counts = dictionary.counts
    means = dictionary.mean(np.arange(len(counts)))
    return code_names(np.where(counts[:, None] > 0, means, 0.0))


def code_names(means: Float[np.ndarray, "k 7"]) -> tuple[str, ...]:
    """Every code's number, and the direction that its mean robot action goes most, as in `3 +x`.

    A code that hardly moves the robot, or was seen with all kinds of motion, keeps its number
    alone. The gripper, which is told where to be and not how to change, gives no direction.
    """
    motions = means[:, : len(MOTIONS)] * ([1.0] * 3 + [LEVER_M] * 3)
    farthest = np.abs(motions).max()
    names = []
    for code, motion in enumerate(motions):
        most = int(np.abs(motion).argmax())
        is_clear = farthest > 0 and abs(motion[most]) >= SMALLEST_SHARE * farthest
        sign = "+" if motion[most] > 0 else "-"
        names.append(f"{code} {sign}{MOTIONS[most]}" if is_clear else str(code))
    return tuple(names)
