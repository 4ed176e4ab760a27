"""The robot action of both environments: RT-1 style, seven numbers with bounds, then joints."""

from collections.abc import Sequence

import gymnasium
import numpy as np
from jaxtyping import Float

# A copy of the names in genie_robo.types, whose import of PyTorch would triple the start-up time of
# recording processes.
ACTION_NAMES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper")
ACTION_LOW = np.array([-0.06, -0.06, -0.06, -0.35, -0.35, -0.35, 0.0])
ACTION_HIGH = np.array([0.06, 0.06, 0.06, 0.35, 0.35, 0.35, 1.0])
"""Metres, radians, gripper 1 = open."""


def robot_action_space(
    joint_range: Float[np.ndarray, "2 k"] | None = None,
) -> gymnasium.spaces.Box:
    """All robot actions, as float32; joints, where there are any, between their low and high."""
    low, high = np.zeros((2, 0)) if joint_range is None else joint_range
    return gymnasium.spaces.Box(
        np.concatenate([ACTION_LOW, low]).astype(np.float32),
        np.concatenate([ACTION_HIGH, high]).astype(np.float32),
    )


def checked_action(
    action: np.ndarray, *, names: Sequence[str] = ACTION_NAMES
) -> Float[np.ndarray, " a"]:
    """The action as float64; joints have no bounds here, a model clips them to those it has seen.

    Args:
        action: The end effector's seven numbers, then those of the joints.
        names: Of all of them.

    Raises:
        ValueError: it is not as many finite numbers, or the end effector's are out of bounds.
    """
    action = np.asarray(action, dtype=np.float64)
    if action.shape != (len(names),) or not np.isfinite(action).all():
        raise ValueError(
            f"an action is {len(names)} finite numbers, {' '.join(names)}, but it is {action}"
        )
    tool, joints = np.split(action, [len(ACTION_NAMES)])
    for name, value, low, high in zip(ACTION_NAMES, tool, ACTION_LOW, ACTION_HIGH, strict=True):
        if not low - 1e-6 <= value <= high + 1e-6:
            raise ValueError(
                f"action {name}={value:.4g} is outside [{low:g}, {high:g}]; clip actions to the "
                f"action space, as gymnasium.wrappers.ClipAction does"
            )
    return np.concatenate([np.clip(tool, ACTION_LOW, ACTION_HIGH), joints])
