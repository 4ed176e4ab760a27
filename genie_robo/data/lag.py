"""Commands that a dataset stores some steps before or after the motion that they cause."""

import numpy as np
from jaxtyping import Bool, Shaped


def shift_commands(rows: Shaped[np.ndarray, "t n"], lag: int) -> Shaped[np.ndarray, "t n"]:
    """The command of step t is the stored one of step t - lag, or else the nearest one.

    The stored command of the last step is used only with a negative lag, where it is valid.
    """
    return rows[np.clip(np.arange(len(rows)) - lag, 0, len(rows) - 1)]


def has_command(num_steps: int, lag: int) -> Bool[np.ndarray, " t"]:
    """Whether there is a stored command of step t - lag."""
    stored = np.arange(num_steps) - lag
    return (stored >= 0) & (stored < num_steps)
