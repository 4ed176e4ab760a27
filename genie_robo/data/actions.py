"""Every action family as an end-effector action and joint commands, and arithmetic on such actions.

Rotations are roll, pitch and yaw about the fixed axes x, y and z, see `genie_robo.rotations`.
Deltas are turns in the robot's base frame, R_after R_before^T, so they multiply from the left.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from genie_robo.data.joints import check_finite, to_joints
from genie_robo.data.kinematics import open_kinematics
from genie_robo.data.lag import has_command, shift_commands
from genie_robo.data.settings import Gripper, Motion, RotationFormat, Source
from genie_robo.data.sources import action_parts, joint_parts, pose_parts
from genie_robo.rotations import matrix_to_rpy, relative_rpy, rpy_to_matrix
from genie_robo.types import ACTION_NAMES, END_EFFECTOR, GRIPPER, JOINTS, ROTATION, XYZ, Episode

_YAW = 5
_RELATIVE_THRESHOLD = 0.1
"""Relative gripper commands of a smaller size hold the gripper."""

MaskedActions = tuple[Float[np.ndarray, "t a"], Bool[np.ndarray, " a"]]
"""Rows named by `action_names`, and which dimensions a dataset has; the others are 0."""


def to_robot_actions(columns: Mapping[str, np.ndarray], source: Source) -> MaskedActions:
    """The actions of an episode: the motion from step t to t + 1, the gripper, then the joints.

    The action in the last step is never valid and comes back as zeros.

    Raises:
        ValueError: An action, or a pose it is computed from, is not finite.
    """
    parts = [_end_effector(columns, source)] if source.has_end_effector else []
    if joints := to_joints(columns, source):
        commands = joints.commands[:-1]
        parts = parts or [_no_motion(len(commands))]
        parts.append((commands, np.ones(commands.shape[1], bool)))
    rows, mask = (np.concatenate(found, axis=-1) for found in zip(*parts, strict=True))
    last = np.zeros((1, len(mask)), np.float32)
    return np.concatenate([rows.astype(np.float32), last]), mask


def to_pose(columns: Mapping[str, np.ndarray], source: Source) -> MaskedActions | None:
    """X y z roll pitch yaw gripper (1 = open) per step, or None without proprioception.

    Raises:
        ValueError: A pose, or a joint that it is computed from, is not finite.
    """
    if not source.has_pose:
        return None
    parts = {name: part.take(columns) for name, part in pose_parts(source).items()}
    _check_finite(parts, "pose")
    rotation_format = source.pose.rotation_format
    if source.pose.urdf:
        joints = joint_parts(source)["pose"].take(columns)
        check_finite("measured joint", joints)
        kinematics = open_kinematics(source.pose)
        parts["position"], parts["rotation"] = kinematics.poses(joints)
        rotation_format = RotationFormat.rpy
    metres, radians = source.pose_scales
    parts["position"] = parts["position"] * metres
    if "rotation" in parts and not rotation_format.is_whole_turn:
        parts["rotation"] = parts["rotation"] * radians
    renamed = {"translation": parts.pop("position"), **parts}
    rows, mask = _join(renamed, rotation_format, source.pose.gripper_format)
    return rows.astype(np.float32), mask


def to_pose_starts(
    columns: Mapping[str, np.ndarray], source: Source, action_mask: Bool[np.ndarray, " a"]
) -> Float[np.ndarray, "t 7"] | None:
    """The pose that the end-effector action of each step is relative to, for targets.

    Zero in the dimensions that the action lacks; None where the actions of steps add up.
    """
    if source.action.motion is not Motion.target or not source.has_end_effector:
        return None
    pose, _ = _required_pose(columns, source)
    return pose.astype(np.float64) * action_mask[END_EFFECTOR]


def _end_effector(columns: Mapping[str, np.ndarray], source: Source) -> MaskedActions:
    """Seven numbers for all steps but the last."""
    if source.action.motion is Motion.pose_change:
        return _pose_changes(columns, source)
    return _stored_actions(columns, source)


def _no_motion(num_rows: int) -> MaskedActions:
    """Of an end effector that a dataset does not have."""
    return np.zeros((num_rows, len(ACTION_NAMES))), np.zeros(len(ACTION_NAMES), bool)


def _stored_actions(columns: Mapping[str, np.ndarray], source: Source) -> MaskedActions:
    """Actions of all steps but the last, as deltas of one step."""
    action = source.action
    taken = {name: part.take(columns) for name, part in action_parts(source).items()}
    parts = {name: shift_commands(rows, action.lag)[:-1] for name, rows in taken.items()}
    _check_finite(parts, "action")
    seconds = 1 / source.control_hz if action.motion is Motion.velocity else 1.0
    if "translation" in parts:
        parts["translation"] = parts["translation"] * action.translation_scale * seconds
    if "rotation" in parts and not action.rotation_format.is_whole_turn:
        # check_source refuses a whole turn with a scale or a rate.
        parts["rotation"] = parts["rotation"] * action.rotation_scale * seconds
    rows, mask = _join(parts, action.rotation_format, action.gripper_format)
    if action.motion is Motion.target:
        pose, measured = _required_pose(columns, source)
        measured[GRIPPER] = True  # commanded, so it does not need a measured gripper
        mask &= measured
        rows = _relative_to(pose[:-1].astype(np.float64), rows) * mask
    if source.angles_are_differences:
        pose, _ = _required_pose(columns, source)
        before = pose[:-1, ROTATION].astype(np.float64)
        rows[:, ROTATION] = relative_rpy(before, before + rows[:, ROTATION])
    # Steps before the first command or after the last one are no motion.
    rows[~has_command(len(rows) + 1, action.lag)[:-1], :GRIPPER] = 0.0
    return rows, mask


def _pose_changes(columns: Mapping[str, np.ndarray], source: Source) -> MaskedActions:
    pose, measured = _required_pose(columns, source)
    return achieved_deltas(pose) * measured, measured


def _required_pose(columns: Mapping[str, np.ndarray], source: Source) -> MaskedActions:
    pose = to_pose(columns, source)
    assert pose is not None, "check_source refuses a target or pose_change without a pose"
    return pose


def _relative_to(
    pose: Float[np.ndarray, "n 7"], target: Float[np.ndarray, "n 7"]
) -> Float[np.ndarray, "n 7"]:
    """The motion from a pose to a target; the gripper is the target's."""
    rows = target.copy()
    rows[:, XYZ] -= pose[:, XYZ]
    rows[:, ROTATION] = relative_rpy(pose[:, ROTATION], target[:, ROTATION])
    return rows


def _join(
    parts: Mapping[str, Float[np.ndarray, "n k"]],
    rotation_format: RotationFormat,
    gripper_format: Gripper,
) -> MaskedActions:
    """Write the parts into their columns of the 7-D action."""
    (num_rows,) = {len(part) for part in parts.values()}
    rows, mask = _no_motion(num_rows)
    if "translation" in parts:
        size = parts["translation"].shape[1]
        rows[:, :size], mask[:size] = parts["translation"], True
    if "rotation" in parts:
        rows[:, ROTATION] = to_rpy(parts["rotation"], rotation_format)
        mask[_YAW if rotation_format is RotationFormat.yaw else ROTATION] = True
    if "gripper" in parts:
        rows[:, GRIPPER] = open_gripper(parts["gripper"][:, 0], gripper_format)
        mask[GRIPPER] = True
    return rows, mask


def to_rpy(
    values: Float[np.ndarray, "n k"], rotation_format: RotationFormat
) -> Float[np.ndarray, "n 3"]:
    """Roll, pitch and yaw of rotations in one of the stored formats.

    Args:
        values: Three angles, an axis times its angle, a quaternion of any length but zero, two
            columns or rows of a matrix, or one yaw angle.
        rotation_format: How they are stored.

    Raises:
        ValueError: A quaternion has length zero, or two columns or rows are parallel.
    """
    values = np.asarray(values, np.float64)
    match rotation_format:
        case RotationFormat.rpy:
            return values
        case RotationFormat.yaw:
            return np.pad(values, ((0, 0), (2, 0)))
        case RotationFormat.axis_angle:
            return matrix_to_rpy(Rotation.from_rotvec(values).as_matrix())
        case RotationFormat.quaternion_wxyz:
            return matrix_to_rpy(_from_quaternion(np.roll(values, -1, axis=1)))
        case RotationFormat.rotation_6d:
            return matrix_to_rpy(_from_two_columns(values))
        case RotationFormat.rotation_6d_rows:
            return matrix_to_rpy(np.swapaxes(_from_two_columns(values), -1, -2))
        case _:
            return matrix_to_rpy(_from_quaternion(values))


def _from_quaternion(xyzw: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 3 3"]:
    lengths = np.linalg.norm(xyzw, axis=1)
    if not lengths.all():
        raise ValueError(f"the quaternion of step {int(np.argmin(lengths))} has length zero")
    return Rotation.from_quat(xyzw).as_matrix()


def _from_two_columns(values: Float[np.ndarray, "n 6"]) -> Float[np.ndarray, "n 3 3"]:
    """Matrices with these first two columns, made orthonormal.

    Source: Zhou et al. 2019, eq. 15 (Gram-Schmidt).
    """
    first, second = values[:, :3], values[:, 3:]
    normal = np.cross(first, second)
    sizes = np.linalg.norm(normal, axis=1)
    if not sizes.all():
        raise ValueError(
            f"the 6-D rotation of step {int(np.argmin(sizes))} has two parallel or zero vectors"
        )
    x = first / np.linalg.norm(first, axis=1, keepdims=True)
    z = normal / sizes[:, None]
    return np.stack([x, np.cross(z, x), z], axis=-1)


def _check_finite(parts: Mapping[str, np.ndarray], what: str) -> None:
    for values in parts.values():
        if not np.isfinite(values).all():
            step = int(np.argwhere(~np.isfinite(values))[0, 0])
            raise ValueError(f"the {what} of step {step} is not finite")


def open_gripper(values: Float[np.ndarray, " t"], convention: Gripper) -> Float[np.ndarray, " t"]:
    """Gripper numbers of a dataset as openness in [0, 1].

    Relative commands are integrated: the last command that is not zero holds. Before the first
    one the gripper is in the opposite state; without any command it is open.
    """
    if convention is Gripper.relative_close:
        return _integrate_gripper(values)
    clipped = np.clip(values, 0.0, 1.0)
    return clipped if convention is Gripper.open_one else 1.0 - clipped


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
    """The motion between measured poses: differences of x y z, turns, and the next gripper."""
    change = np.diff(end_effector_pose, axis=0)
    angles = end_effector_pose[:, ROTATION].astype(np.float64)
    change[:, ROTATION] = relative_rpy(angles[:-1], angles[1:])
    change[:, GRIPPER] = end_effector_pose[1:, GRIPPER]
    return change


def achieved_motion(episode: Episode, *, stride: int = 1) -> MaskedActions | None:
    """The measured motion from frame to frame, of the width of the actions.

    None where neither the end effector nor a joint is measured.
    """
    pose, joints = episode.end_effector_pose, episode.joints
    return measured_motion(
        None if pose is None else pose[::stride],
        None if joints is None else joints[::stride],
        pose_mask=episode.pose_mask,
        action_dim=len(episode.action_mask),
    )


def measured_motion(
    pose: Float[np.ndarray, "m 7"] | None,
    joints: Float[np.ndarray, "m k"] | None,
    *,
    pose_mask: Bool[np.ndarray, " 7"],
    action_dim: int,
) -> MaskedActions | None:
    """The motion between measured poses and joints, each None where it is not measured."""
    if pose is None:
        if joints is None:
            return None
        pose, pose_mask = _no_motion(len(joints))
    num_joints = action_dim - len(ACTION_NAMES)
    moved = np.zeros((len(pose) - 1, num_joints)) if joints is None else np.diff(joints, axis=0)
    rows = np.concatenate([achieved_deltas(pose), moved.astype(pose.dtype)], axis=1)
    return rows, np.concatenate([pose_mask, np.full(num_joints, joints is not None)])


def episode_actions(episode: Episode, *, stride: int) -> Float[np.ndarray, "m a"]:
    """The actions from frame to frame of a whole episode, at every `stride` steps."""
    last = (episode.num_steps - 1) // stride * stride
    return compose_actions(
        episode.robot_actions[:last], stride, episode.joint_starts, episode.pose_starts
    )


def compose_actions(
    actions: Float[np.ndarray, "n a"],
    stride: int,
    joint_starts: Float[np.ndarray, "n2 k"] | None = None,
    pose_starts: Float[np.ndarray, "n3 7"] | None = None,
) -> Float[np.ndarray, "m a"]:
    """One action for every `stride` actions; a shorter remainder is dropped.

    Translations add, rotations compose in the base frame, the last gripper command is kept. Joints,
    and an end effector with `pose_starts`, go from where the first action starts to where the last
    one sends them.

    Args:
        actions: One per step.
        stride: Steps in one composed action, 1 or more.
        joint_starts: What the joint commands of each step are relative to, where there are any.
        pose_starts: The pose that the end-effector action of each step is relative to; None where
            the motions of steps follow each other.
    """
    if stride == 1:
        return actions
    runs = actions[: len(actions) // stride * stride].reshape(-1, stride, actions.shape[1])
    composed = runs[:, -1].copy()
    if pose_starts is None:
        composed[:, :GRIPPER] = _sum_motions(runs)
    else:
        starts = pose_starts[: len(runs) * stride].reshape(len(runs), stride, -1)
        moved = _relative_to(starts[:, 0], starts[:, -1])
        composed[:, :GRIPPER] = _sum_motions(np.stack([moved, runs[:, -1, END_EFFECTOR]], axis=1))
    if actions.shape[1] > len(ACTION_NAMES):
        assert joint_starts is not None, "joint commands of an episode come with their starts"
        starts = joint_starts[: len(runs) * stride].reshape(len(runs), stride, -1)
        composed[:, JOINTS] += starts[:, -1] - starts[:, 0]
    return composed


def _sum_motions(runs: Float[np.ndarray, "m n a"]) -> Float[np.ndarray, "m 6"]:
    """The translation and the turn of `n` motions, one after the other."""
    rotations = rpy_to_matrix(runs[:, :, ROTATION].astype(np.float64))
    total = rotations[:, 0]
    for step in range(1, runs.shape[1]):
        total = rotations[:, step] @ total
    return np.concatenate([runs[:, :, XYZ].sum(axis=1), matrix_to_rpy(total)], axis=1)
