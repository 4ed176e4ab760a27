"""Every action family as one 7-D end-effector action, and arithmetic on such actions.

Rotations are roll, pitch and yaw about the fixed axes x, y and z, in this order: the matrix is
Rz(yaw) Ry(pitch) Rx(roll). Deltas are in the robot's base frame, so they multiply from the left.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from genie_robo.data.sources import Source
from genie_robo.types import ACTION_NAMES, GRIPPER

_ROTATION = slice(3, 6)
_TRANSLATION = slice(0, 3)
_RELATIVE_THRESHOLD = 0.1
"""Relative gripper commands below it hold."""
_QUATERNION_POSE_SIZE = 8


def to_robot_actions(
    columns: Mapping[str, np.ndarray], source: Source
) -> tuple[Float[np.ndarray, "t 7"], Bool[np.ndarray, " 7"]]:
    """The 7-D actions of an episode, and which dimensions the dataset has.

    The action in the last step is never valid and comes back as zeros.

    Raises:
        ValueError: An action is not finite.
    """
    parts = [columns[key] for key in source.action_keys]
    rows = np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
    valid = rows[:-1].astype(np.float32)
    if not np.isfinite(valid).all():
        step = int(np.argwhere(~np.isfinite(valid))[0, 0])
        raise ValueError(f"the action of step {step} is not finite")
    valid[:, GRIPPER] = open_gripper(valid[:, GRIPPER], source.gripper)
    actions = np.concatenate([valid, np.zeros((1, len(ACTION_NAMES)), np.float32)])
    return actions, np.ones(len(ACTION_NAMES), bool)


def to_pose(columns: Mapping[str, np.ndarray], source: Source) -> Float[np.ndarray, "t 7"] | None:
    """X y z roll pitch yaw gripper (1 = open) per step, or None without proprioception.

    The measured gripper of a dataset with relative gripper commands counts closedness.

    Raises:
        ValueError: A pose is not finite.
    """
    if not source.pose:
        return None
    parts = [columns[key] for key in source.pose]
    pose = np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
    if not np.isfinite(pose).all():
        step = int(np.argwhere(~np.isfinite(pose))[0, 0])
        raise ValueError(f"the pose of step {step} is not finite")
    if pose.shape[1] == _QUATERNION_POSE_SIZE:
        angles = matrix_to_rpy(quaternion_to_matrix(pose[:, 3:7].astype(np.float64)))
        pose = np.concatenate([pose[:, :3], angles, pose[:, 7:]], axis=1)
    pose = pose.astype(np.float32)
    measured = "open_one" if source.gripper == "open_one" else "closed_one"
    pose[:, GRIPPER] = open_gripper(pose[:, GRIPPER], measured)
    return pose


def open_gripper(values: Float[np.ndarray, " t"], convention: str) -> Float[np.ndarray, " t"]:
    """Gripper numbers of a dataset as openness in [0, 1].

    Relative commands are integrated: the last command that is not zero holds. Before the first
    one the gripper is in the opposite state; without any command it is open.
    """
    if convention == "relative_close":
        return _integrate_gripper(values)
    clipped = np.clip(values, 0.0, 1.0)
    return clipped if convention == "open_one" else 1.0 - clipped


def _integrate_gripper(values: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    is_command = np.abs(values) > _RELATIVE_THRESHOLD
    if not is_command.any():
        return np.ones_like(values)
    is_open = values < 0
    number = np.where(is_command, np.arange(len(values)), -1)
    last_command = np.maximum.accumulate(number)
    first = int(np.argmax(is_command))
    opened = np.where(last_command < 0, not is_open[first], is_open[last_command])
    return opened.astype(values.dtype)


def achieved_deltas(
    end_effector_pose: Float[np.ndarray, "t 7"],
) -> Float[np.ndarray, "t-1 7"]:
    """The motion between measured poses: differences of x y z, of angles, and the next gripper.

    Angle differences are wrapped to (-pi, pi].
    """
    change = np.diff(end_effector_pose, axis=0)
    change[:, _ROTATION] = wrap_angle(change[:, _ROTATION])
    change[:, GRIPPER] = end_effector_pose[1:, GRIPPER]
    return change


def compose_actions(
    actions: Float[np.ndarray, "n 7"], stride: int, *, angles_add: bool = False
) -> Float[np.ndarray, "m 7"]:
    """One action for each run of `stride` actions; a rest that is shorter is dropped.

    Translations add, rotations compose in the base frame, the last gripper counts.

    Args:
        actions: One per step.
        stride: Steps in one composed action, 1 or more.
        angles_add: The angles are differences of a pose's angles, as in achieved deltas: they
            add instead, so that composing equals the difference over `stride` steps.
    """
    if stride == 1:
        return actions
    runs = actions[: len(actions) // stride * stride].reshape(-1, stride, actions.shape[1])
    composed = runs[:, -1].copy()
    composed[:, _TRANSLATION] = runs[:, :, _TRANSLATION].sum(axis=1)
    if angles_add:
        composed[:, _ROTATION] = wrap_angle(runs[:, :, _ROTATION].sum(axis=1))
        return composed
    rotations = rpy_to_matrix(runs[:, :, _ROTATION].astype(np.float64))
    total = rotations[:, 0]
    for step in range(1, stride):
        total = rotations[:, step] @ total
    composed[:, _ROTATION] = matrix_to_rpy(total)
    return composed


def wrap_angle(angles: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """The same angles in (-pi, pi]."""
    return np.asarray(np.pi - np.mod(np.pi - angles, 2 * np.pi), dtype=angles.dtype)


def rpy_to_matrix(rpy: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3 3"]:
    """Rz(yaw) Ry(pitch) Rx(roll)."""
    (sr, sp, sy), (cr, cp, cy) = np.moveaxis(np.sin(rpy), -1, 0), np.moveaxis(np.cos(rpy), -1, 0)
    rows = (
        (cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr),
        (sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr),
        (-sp, cp * sr, cp * cr),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_rpy(matrix: Float[np.ndarray, "*n 3 3"]) -> Float[np.ndarray, "*n 3"]:
    """Inverse of `rpy_to_matrix` for pitch in [-pi/2, pi/2]."""
    roll = np.arctan2(matrix[..., 2, 1], matrix[..., 2, 2])
    pitch = np.arcsin(np.clip(-matrix[..., 2, 0], -1.0, 1.0))
    yaw = np.arctan2(matrix[..., 1, 0], matrix[..., 0, 0])
    return np.stack([roll, pitch, yaw], axis=-1)


def quaternion_to_matrix(xyzw: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 3 3"]:
    """Rotation matrices of quaternions x y z w, which need not have length one."""
    x, y, z, w = np.moveaxis(xyzw / np.linalg.norm(xyzw, axis=-1, keepdims=True), -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
