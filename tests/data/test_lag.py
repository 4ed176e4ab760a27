"""Commands that are stored some steps before or after the motion that they cause."""

from dataclasses import replace

import numpy as np
import pytest
from joint_episodes import ARM
from rlds_files import make_source

from genie_robo.data.actions import to_robot_actions
from genie_robo.data.joints import to_joints
from genie_robo.data.settings import JointsMotion
from genie_robo.data.sources import check_source
from genie_robo.settings import check_numbers

ROWS = np.arange(1.0, 6.0)[:, None] * np.ones(7) / 10
"""Five steps; the action of step t is t + 1 tenths, its gripper too."""


def read(lag, **action):
    source = make_source(action={"lag": lag} | action)
    columns = {"action": ROWS, "observation/state": np.zeros((5, 7))}
    return to_robot_actions(columns, source)[0]


@pytest.mark.parametrize(
    ("lag", "dx", "gripper"),
    [
        (0, [1, 2, 3, 4], [1, 2, 3, 4]),
        # The command of step t moves the robot in step t + 1; before the first one it stays.
        (1, [0, 1, 2, 3], [1, 1, 2, 3]),
        (2, [0, 0, 1, 2], [1, 1, 1, 2]),
        # Stored with the observation that it led to: the last one is valid.
        (-1, [2, 3, 4, 5], [2, 3, 4, 5]),
        (-2, [3, 4, 5, 0], [3, 4, 5, 5]),
        (9, [0, 0, 0, 0], [1, 1, 1, 1]),
    ],
)
def test_known_answers(lag, dx, gripper):
    actions = read(lag)
    np.testing.assert_allclose(10 * actions[:-1, 0], dx, atol=1e-6)
    np.testing.assert_allclose(10 * actions[:-1, 6], gripper, atol=1e-6)
    np.testing.assert_array_equal(actions[-1], 0)


def test_a_late_target_is_relative_to_the_pose_of_the_step_that_it_moves():
    pose = np.zeros((5, 7))
    pose[:, 0] = [0.1, 0.15, 0.2, 0.25, 0.3]
    source = make_source(action={"lag": 1, "motion": "target"})
    actions, _ = to_robot_actions({"action": ROWS, "observation/state": pose}, source)
    np.testing.assert_allclose(actions[:-1, 0], [0, 0.1 - 0.15, 0.2 - 0.2, 0.3 - 0.25], atol=1e-6)


@pytest.mark.parametrize(
    ("motion", "expected"),
    [("delta", [0, 1, 2, 3]), ("target", [1, 1, 2, 3]), ("position", [1, 1, 2, 3])],
)
def test_joints_are_shifted_too(motion, expected):
    action = replace(ARM.action, joints="action[0:1]", joints_motion=JointsMotion(motion), lag=1)
    columns = {"action": 10 * ROWS, "observation/joints": np.zeros((5, 1))}
    joints = to_joints(columns, replace(ARM, action=action))
    np.testing.assert_allclose(joints.commands[:-1, 0], expected)


def test_a_lag_changes_the_fingerprint_and_none_leaves_it():
    assert "lag" not in make_source().reading["action"]
    assert make_source(action={"lag": 1}).reading["action"]["lag"] == 1


def test_poses_have_no_commands_to_shift():
    source = make_source(action={"lag": 1, "motion": "pose_change"})
    with pytest.raises(ValueError, match=r"action\.lag=1 shifts commands, but motion=pose_change"):
        check_source(source, {"observation/image": _camera()})


def _camera():
    from genie_robo.data.features import Feature

    return Feature(kind="image", dtype="uint8", shape=(8, 8, 3), encoding="png")


def test_a_lag_is_at_most_a_hundred_steps():
    with pytest.raises(ValueError, match=r"action\.lag=101 must be from -100 to 100"):
        check_numbers(make_source(action={"lag": 101}))
