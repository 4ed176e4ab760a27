"""End-effector deltas to joint commands: damped least squares, smooth position commands."""

from typing import NamedTuple

import mujoco
import numpy as np
from jaxtyping import Float

from genie_robo.rotations import matrix_to_rpy
from genie_robo.sim.robots import Robot
from genie_robo.sim.scene import TARGET_BODY

MOVE_SHARE = 0.5
"""Share of a control step in which the command travels; the rest lets the arm settle."""
MAX_ITERATIONS = 60
"""Most steps of the inverse kinematics for one goal."""


class InverseKinematics(NamedTuple):
    """Joint angles for a tool pose, and how far from it they end."""

    joints: Float[np.ndarray, " j"]
    position_error: float
    """Metres."""
    rotation_error: float
    """Radians."""

    @property
    def is_reached(self) -> bool:
        """Within 2 mm and about one degree."""
        return self.position_error < 2e-3 and self.rotation_error < 0.02


def rpy_to_quat(rpy: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 4"]:
    """Roll, pitch, yaw about the fixed x, y, z axes (rad) to a unit quaternion w x y z."""
    quat = np.zeros(4)
    mujoco.mju_euler2Quat(quat, np.asarray(rpy, dtype=np.float64), "XYZ")
    return quat


def quat_to_matrix(quat: Float[np.ndarray, " 4"]) -> Float[np.ndarray, "3 3"]:
    """Unit quaternion w x y z to a rotation matrix."""
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quat)
    return matrix.reshape(3, 3)


class ArmController:
    """Moves one robot's tool; stateless.

    The commanded pose is that of a mocap body and the joint command is `ctrl`, so both are part of
    MuJoCo's integration state and a restored state continues exactly.
    """

    def __init__(self, model: mujoco.MjModel, robot: Robot, *, num_substeps: int) -> None:
        self._model = model
        self._num_substeps = num_substeps
        self._robot = robot
        self._scratch = mujoco.MjData(model)
        joints = [model.joint(name) for name in robot.joints]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._dofs = np.array([joint.dofadr[0] for joint in joints])
        self._limits = np.array([joint.range for joint in joints])
        self._motors = np.array([model.actuator(name).id for name in robot.joints])
        self._fingers = np.array([model.actuator(name).id for name in robot.fingers])
        self._finger_qpos = int(model.joint(robot.open_joints[0][0]).qposadr[0])
        self._site = model.site(robot.tool_site).id
        self._mocap = int(model.body(TARGET_BODY).mocapid[0])

    def solve(
        self,
        position: Float[np.ndarray, " 3"],
        rotation: Float[np.ndarray, "3 3"],
        *,
        guess: Float[np.ndarray, " j"],
    ) -> InverseKinematics:
        """Damped least squares from `guess`, within the joint limits.

        Source: Wampler 1986, with constant damping and a bounded step.
        """
        data, joints = self._scratch, np.array(guess, dtype=np.float64)
        jacobian = np.zeros((6, self._model.nv))
        error = self._pose_error(joints, position, rotation)
        for _ in range(MAX_ITERATIONS):
            if np.linalg.norm(error[:3]) < 1e-5 and np.linalg.norm(error[3:]) < 1e-4:
                break
            mujoco.mj_comPos(self._model, data)
            mujoco.mj_jacSite(self._model, data, jacobian[:3], jacobian[3:], self._site)
            reduced = jacobian[:, self._dofs]
            step = reduced.T @ np.linalg.solve(reduced @ reduced.T + 1e-4 * np.eye(6), error)
            step *= min(1.0, 0.3 / max(float(np.abs(step).max()), 1e-9))
            joints = np.clip(joints + step, self._limits[:, 0], self._limits[:, 1])
            error = self._pose_error(joints, position, rotation)
        return InverseKinematics(
            joints=joints,
            position_error=float(np.linalg.norm(error[:3])),
            rotation_error=float(np.linalg.norm(error[3:])),
        )

    def _pose_error(
        self,
        joints: Float[np.ndarray, " j"],
        position: Float[np.ndarray, " 3"],
        rotation: Float[np.ndarray, "3 3"],
    ) -> Float[np.ndarray, " 6"]:
        data = self._scratch
        data.qpos[self._qpos] = joints
        mujoco.mj_kinematics(self._model, data)
        difference = rotation @ data.site_xmat[self._site].reshape(3, 3).T
        quat, turn = np.zeros(4), np.zeros(3)
        mujoco.mju_mat2Quat(quat, difference.ravel())
        mujoco.mju_quat2Vel(turn, quat, 1.0)
        return np.concatenate([position - data.site_xpos[self._site], turn])

    def place(self, data: mujoco.MjData, position: Float[np.ndarray, " 3"]) -> None:
        """Put the arm at rest with its tool at a position, upright and open, and hold it there."""
        result = self.solve(position, np.eye(3), guess=np.array(self._robot.home))
        assert result.is_reached, f"start {position} is out of reach: {result}"
        data.qpos[self._qpos] = result.joints
        data.ctrl[self._motors] = result.joints
        data.ctrl[self._fingers] = self._robot.finger_open
        for joint, opened in self._robot.open_joints:
            data.qpos[self._model.joint(joint).qposadr] = opened
        data.mocap_pos[self._mocap] = position
        data.mocap_quat[self._mocap] = (1, 0, 0, 0)

    def pose(self, data: mujoco.MjData) -> Float[np.ndarray, " 7"]:
        """Pose of the tool: x y z (m), roll pitch yaw (rad), gripper (1 = open)."""
        robot = self._robot
        opening = (data.qpos[self._finger_qpos] - robot.finger_closed) / (
            robot.finger_open - robot.finger_closed
        )
        rotation = data.site_xmat[self._site].reshape(3, 3)
        return np.concatenate(
            [data.site_xpos[self._site], matrix_to_rpy(rotation), [np.clip(opening, 0, 1)]]
        )

    def command(self, data: mujoco.MjData, action: Float[np.ndarray, " 7"]) -> None:
        """Execute one 7-D action: step the physics while the joint command travels to the goal.

        The commanded pose moves on from the last commanded one, kept within 1 cm of where the
        tool really is (a blocked arm does not wind up) and inside the workspace. When the goal
        cannot be reached the last reachable command is held.
        """
        position, rpy = self._next_target(data, action)
        start = data.ctrl[self._motors].copy()
        result = self.solve(position, quat_to_matrix(rpy_to_quat(rpy)), guess=start)
        goal = start
        if result.is_reached:
            goal = result.joints
            data.mocap_pos[self._mocap] = position
            data.mocap_quat[self._mocap] = rpy_to_quat(rpy)
        robot = self._robot
        data.ctrl[self._fingers] = robot.finger_closed + action[6] * (
            robot.finger_open - robot.finger_closed
        )
        for k in range(self._num_substeps):
            share = min(1.0, (k + 1) / (MOVE_SHARE * self._num_substeps))
            smooth = share * share * (3 - 2 * share)
            data.ctrl[self._motors] = start + smooth * (goal - start)
            mujoco.mj_step(self._model, data)

    def _next_target(
        self, data: mujoco.MjData, action: Float[np.ndarray, " 7"]
    ) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
        robot, actual = self._robot, self.pose(data)
        commanded = data.mocap_pos[self._mocap]
        anchor = actual[:3] + np.clip(commanded - actual[:3], -0.01, 0.01)
        position = np.clip(anchor + action[:3], robot.workspace_low, robot.workspace_high)
        turned = quat_to_matrix(rpy_to_quat(action[3:6])) @ quat_to_matrix(
            data.mocap_quat[self._mocap]
        )
        limit = np.array(robot.rotation_limit)
        return position, np.clip(matrix_to_rpy(turned), -limit, limit)
