"""What a latent action means to the robot, in a word."""

import numpy as np
from jaxtyping import Float

MOTIONS = ("x", "y", "z", "roll", "pitch", "yaw")
LEVER_M = 0.1
"""Metres from the wrist that a radian is judged at, so that turning compares with moving."""
SMALLEST_SHARE = 0.25
"""Of the farthest that any code moves the robot: below it a code has no direction."""


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
