"""Actions that are made with the robot's pose: targets, changes of pose, the state's gripper."""

import numpy as np
import pytest
from rlds_files import make_source
from scipy.spatial.transform import Rotation

from genie_robo.data.actions import achieved_deltas, compose_actions, to_robot_actions
from genie_robo.data.sources import action_parts
from genie_robo.rotations import matrix_to_rpy
from genie_robo.types import GRIPPER


def test_a_target_becomes_the_motion_towards_it():
    """From a pose turned a quarter about z to one turned half about z: a quarter about z."""
    pose = [[1, 1, 1, 0, 0, np.pi / 2, 0]] * 2
    target = [[1.5, 1, 0.5, 0, 0, np.pi, 1], [0] * 7]
    source = make_source(action={"motion": "target"})
    columns = {"action": np.array(target), "observation/state": np.array(pose)}
    actions, mask = to_robot_actions(columns, source)
    np.testing.assert_allclose(actions[0], [0.5, 0, -0.5, 0, 0, np.pi / 2, 1], atol=1e-6)
    assert mask.all()


@pytest.mark.parametrize("wants", [True, False])
def test_a_target_has_the_gripper_that_is_wanted_or_none(wants):
    target = np.array([[1.5, 1, 0.5, 0, 0, 0, 1], [0] * 7], float)
    pose = np.zeros((2, 7))
    action = {"motion": "target"} | ({} if wants else {"gripper": ""})
    source = make_source(action=action)
    columns = {"action": target, "observation/state": pose}
    actions, mask = to_robot_actions(columns, source)
    assert mask[GRIPPER] == wants
    assert actions[0, GRIPPER] == (1.0 if wants else 0.0)


def test_a_target_turn_is_in_the_base_frame():
    """The pose is turned about z, the target turned further about the base's x axis."""
    first = Rotation.from_euler("z", 0.8)
    second = Rotation.from_euler("x", 0.3) * first
    pose = np.concatenate([np.zeros(3), first.as_euler("xyz"), [0]])
    target = np.concatenate([np.zeros(3), second.as_euler("xyz"), [0]])
    columns = {"action": np.stack([target] * 2), "observation/state": np.stack([pose] * 2)}
    actions, _ = to_robot_actions(columns, make_source(action={"motion": "target"}))
    np.testing.assert_allclose(actions[0, 3:6], [0.3, 0, 0], atol=1e-6)


def test_pose_changes_stand_in_for_joint_commands():
    pose = np.zeros((3, 7))
    pose[:, 0] = [0, 0.1, 0.3]
    pose[:, 5] = [3.1, -3.1, -3.0]
    pose[:, 6] = [1, 1, 0]
    source = make_source(action={"motion": "pose_change"})
    actions, mask = to_robot_actions({"observation/state": pose}, source)
    turn = 2 * np.pi - 6.2
    expected = [[0.1, 0, 0, 0, 0, turn, 1], [0.2, 0, 0, 0, 0, 0.1, 0], [0] * 7]
    np.testing.assert_allclose(actions, expected, atol=1e-6)
    assert mask.all()
    assert source.is_achieved
    assert action_parts(source) == {}


def test_a_gripper_from_the_state():
    source = make_source(action={"gripper": "observation/state[6]", "gripper_format": "closed_one"})
    state = np.zeros((3, 7))
    state[:, 6] = [1, 0, 1]
    columns = {"action": np.ones((3, 7)), "observation/state": state}
    actions, _ = to_robot_actions(columns, source)
    assert actions[:, 6].tolist() == [0, 1, 0]


@pytest.mark.parametrize("pitch", [0.0, 1.2, np.pi / 2, -np.pi / 2])
def test_differences_of_angles_become_turns(pitch):
    """Stored differences of angles near a pole are large; the turns between the poses are not."""
    rng = np.random.default_rng(0)
    turns = Rotation.from_rotvec(rng.normal(size=(30, 3)) * 0.01)
    turns = turns * Rotation.from_euler("xyz", [0.3, pitch, -1.0])
    pose = np.zeros((30, 7))
    pose[:, 3:6] = matrix_to_rpy(turns.as_matrix())
    action = np.zeros((30, 7))
    action[:-1, 3:6] = np.diff(pose[:, 3:6], axis=0)
    source = make_source(action={"motion": "achieved"})
    actions, mask = to_robot_actions({"action": action, "observation/state": pose}, source)
    assert mask.all()
    expected = (turns[1:] * turns[:-1].inv()).as_rotvec()
    np.testing.assert_allclose(actions[:-1, 3:6], expected, atol=2e-3)
    np.testing.assert_allclose(actions[:-1], achieved_deltas(pose), atol=1e-6)
    longer = compose_actions(actions[:-1].astype(float), 3)
    np.testing.assert_allclose(longer, achieved_deltas(pose[::3])[: len(longer)], atol=1e-6)
