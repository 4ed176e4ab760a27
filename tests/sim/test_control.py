import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_robo.sim.control import ArmController, matrix_to_rpy, quat_to_matrix, rpy_to_quat
from genie_robo.sim.scene import BoxSpec, SceneSpec, num_substeps
from genie_robo.sim.tabletop import Tabletop

ANGLES = st.floats(-1.5, 1.5)


def controller(env) -> ArmController:
    return ArmController(env.model, env.robot, num_substeps=num_substeps(3.0))


@given(ANGLES, ANGLES, ANGLES)
def test_angles_survive_the_round_trip(roll, pitch, yaw):
    rpy = np.array([roll, pitch, yaw])
    assert np.allclose(matrix_to_rpy(quat_to_matrix(rpy_to_quat(rpy))), rpy, atol=1e-6)


def test_angles_turn_about_the_fixed_axes():
    matrix = quat_to_matrix(rpy_to_quat(np.array([0.0, 0.0, np.pi / 2])))
    assert np.allclose(matrix @ [1, 0, 0], [0, 1, 0])
    matrix = quat_to_matrix(rpy_to_quat(np.array([np.pi / 2, 0.0, np.pi / 2])))
    # Roll first: y becomes z, which yaw leaves alone.
    assert np.allclose(matrix @ [0, 1, 0], [0, 0, 1])


def test_inverse_kinematics_reaches_the_whole_workspace(env):
    arm, robot = controller(env), env.robot
    corners = itertools.product(*zip(robot.workspace_low, robot.workspace_high, strict=True))
    for corner in corners:
        for yaw in (-0.8, 0.0, 0.8):
            rotation = quat_to_matrix(rpy_to_quat(np.array([0.2, -0.2, yaw])))
            result = arm.solve(np.array(corner), rotation, guess=np.array(robot.home))
            assert result.is_reached
            assert result.position_error < 1e-4


def test_inverse_kinematics_tells_when_it_fails(env):
    result = controller(env).solve(
        np.array([2.0, 0.0, 0.0]), np.eye(3), guess=np.array(env.robot.home)
    )
    assert not result.is_reached
    assert result.position_error > 1.0


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [-1, 1])
def test_motion_happens_within_its_step(env, axis, sign):
    height = 0.1 - env.pose[2]
    env.advance(np.array([0, 0, np.clip(height, -0.06, 0.06), 0, 0, 0, 1.0]))
    before = env.pose
    action = np.array([0, 0, 0, 0, 0, 0, 1.0])
    action[axis] = sign * 0.04
    env.advance(action)
    assert np.allclose(env.pose[:3] - before[:3], action[:3], atol=0.002)


def test_turns_happen_within_their_step(env):
    before = env.pose
    env.advance(np.array([0, 0, 0, 0, 0, 0.3, 1.0]))
    assert env.pose[5] - before[5] == pytest.approx(0.3, abs=0.02)


def test_gripper_closes_and_opens_within_a_step(env):
    env.advance(np.array([0, 0, 0, 0, 0, 0, 0.0]))
    assert env.pose[6] < 0.05
    env.advance(np.array([0, 0, 0, 0, 0, 0, 1.0]))
    assert env.pose[6] > 0.95


def test_tool_stays_in_the_workspace(env):
    for _ in range(8):
        env.advance(np.array([0.05, -0.05, -0.05, 0.3, 0, 0.3, 0.0]))
    low, high = np.array(env.robot.workspace_low), np.array(env.robot.workspace_high)
    assert (env.pose[:3] > low - 0.005).all()
    assert (env.pose[:3] < high + 0.005).all()
    assert (np.abs(env.pose[3:6]) < np.array(env.robot.rotation_limit) + 0.05).all()


def test_a_blocked_arm_does_not_wind_up():
    box = BoxSpec(
        color="red",
        rgba=(1.0, 0.0, 0.0, 1.0),
        half_size=(0.05, 0.05, 0.03),
        position=(0.0, 0.0),
        yaw=0.0,
    )
    env = Tabletop(scene=SceneSpec(robot="arm", task="explore", boxes=(box,)))
    down, up = np.zeros(7), np.zeros(7)
    down[2], up[2] = -0.05, 0.04
    for _ in range(8):
        env.advance(down)
    pressed = env.pose[2]
    assert pressed == pytest.approx(0.06, abs=0.02)
    env.advance(up)
    assert env.pose[2] - pressed == pytest.approx(0.03, abs=0.012)
