"""The robot action of both environments: RT-1 style, seven numbers with bounds."""

import gymnasium
import numpy as np
from jaxtyping import Float

# A copy of the names in genie_robo.types, whose import of PyTorch would triple the start-up time of
# recording processes.
ACTION_NAMES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper")
ACTION_LOW = np.array([-0.06, -0.06, -0.06, -0.35, -0.35, -0.35, 0.0])
ACTION_HIGH = np.array([0.06, 0.06, 0.06, 0.35, 0.35, 0.35, 1.0])
"""Metres, radians, gripper 1 = open."""


def robot_action_space() -> gymnasium.spaces.Box:
    """All robot actions, as float32."""
    return gymnasium.spaces.Box(ACTION_LOW.astype(np.float32), ACTION_HIGH.astype(np.float32))


def checked_action(action: np.ndarray) -> Float[np.ndarray, " 7"]:
    """The action as float64.

    Raises:
        ValueError: it is not seven finite numbers within the bounds.
    """
    action = np.asarray(action, dtype=np.float64)
    if action.shape != (7,) or not np.isfinite(action).all():
        raise ValueError(
            f"an action is seven finite numbers, {' '.join(ACTION_NAMES)}, but it is {action}"
        )
    for name, value, low, high in zip(ACTION_NAMES, action, ACTION_LOW, ACTION_HIGH, strict=True):
        if not low - 1e-6 <= value <= high + 1e-6:
            raise ValueError(
                f"action {name}={value:.4g} is outside [{low:g}, {high:g}]; clip actions to the "
                f"action space, as gymnasium.wrappers.ClipAction does"
            )
    return np.clip(action, ACTION_LOW, ACTION_HIGH)
