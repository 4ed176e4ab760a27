"""Absolute targets over several steps, and their unit."""

import numpy as np
import pytest
from rlds_files import make_source, open_table, table_episode, write_rlds

from genie_robo.data.actions import (
    achieved_motion,
    compose_actions,
    episode_actions,
    to_pose,
    to_pose_starts,
    to_robot_actions,
)
from genie_robo.data.windows import WindowDataset
from genie_robo.rotations import relative_rpy

TARGET = {"motion": "target"}


def following(num_steps=21, *, lag=8, step_m=0.01):
    """A target that moves by `step_m` and turns by 0.02 rad a step; the robot is `lag` behind."""
    target = np.zeros((num_steps, 7))
    target[:, 0] = step_m * (np.arange(num_steps) + 1 + lag)
    target[:, 4:6] = 0.02 * (np.arange(num_steps) + 1 + lag)[:, None]
    target[:, 6] = np.arange(num_steps) % 2
    pose = np.zeros((num_steps, 7))
    pose[:, 0] = step_m * np.arange(num_steps)
    pose[:, 4:6] = 0.02 * np.arange(num_steps)[:, None]
    return {"action": target, "observation/state": pose}


def composed(columns, source, stride):
    actions, mask = to_robot_actions(columns, source)
    starts = to_pose_starts(columns, source, mask)
    return compose_actions(actions[:-1].astype(np.float64), stride, pose_starts=starts)


def test_the_lag_of_a_controller_counts_once_per_window_step():
    """Five steps: from the first pose to the last target, 5 + 8 steps; not 5 times 1 + 8."""
    columns = following()
    motion = composed(columns, make_source(action=TARGET), 5)
    assert motion.shape == (4, 7)
    np.testing.assert_allclose(motion[:, 0], 0.01 * (5 + 8), atol=1e-6)
    first, last = columns["observation/state"][0:20:5], columns["action"][4:20:5]
    turns = relative_rpy(first[:, 3:6], last[:, 3:6])
    np.testing.assert_allclose(motion[:, 3:6], turns, atol=1e-6)
    np.testing.assert_array_equal(motion[:, 6], columns["action"][4:20:5, 6])


def test_one_step_is_target_minus_pose_as_before():
    columns = following()
    source = make_source(action=TARGET)
    assert composed(columns, source, 1)[:, 0] == pytest.approx(0.01 * (1 + 8))


def test_targets_that_are_reached_are_the_achieved_motion_at_any_stride():
    columns = following(lag=0)
    pose, _ = to_pose(columns, make_source())
    motion = composed(columns, make_source(action=TARGET), 4)
    np.testing.assert_allclose(motion[:, 0], np.diff(pose[::4, 0]), atol=1e-6)


def test_unmeasured_turns_stay_masked():
    source = make_source(action=TARGET, pose={"rotation": ""})
    motion = composed(following(), source, 5)
    assert not motion[:, 3:6].any()
    assert motion[0, 0] == pytest.approx(0.13, abs=1e-6)


def test_windows_and_whole_episodes_compose_alike(tmp_path):
    columns = following()
    episode = table_episode(21, actions=columns["action"].astype(np.float32))
    for step, pose in zip(episode["steps"], columns["observation/state"], strict=True):
        step["observation"]["state"] = pose.astype(np.float32)
    dataset = open_table(write_rlds(tmp_path, {"train": [[episode]]}), action=TARGET)
    windows = WindowDataset(dataset, [0], num_frames=3, image_size=(8, 8), frame_stride=5)
    expected = 0.01 * (5 + 8)
    np.testing.assert_allclose(windows[7].robot_actions[:, 0], expected, atol=1e-6)
    np.testing.assert_allclose(episode_actions(dataset[0], stride=5)[:, 0], expected, atol=1e-6)


def test_deltas_still_add_up():
    source = make_source()
    _, mask = to_robot_actions(following(), source)
    assert to_pose_starts(following(), source, mask) is None


@pytest.mark.parametrize("motion", ["target", "pose_change"])
def test_a_scale_is_that_of_the_target_and_the_pose(motion):
    """Millimetres and degrees: the same motion in metres and radians."""
    metres = following()
    stored = {key: rows * ([1000] * 3 + [180 / np.pi] * 3 + [1]) for key, rows in metres.items()}
    scales = {"translation_scale": 0.001, "rotation_scale": np.pi / 180}
    source = make_source(action={"motion": motion} | scales)
    expected, _ = to_robot_actions(metres, make_source(action={"motion": motion}))
    actions, _ = to_robot_actions(stored, source)
    np.testing.assert_allclose(actions, expected, atol=1e-6)
    pose, _ = to_pose(stored, source)
    np.testing.assert_allclose(pose[:, :6], metres["observation/state"][:, :6], atol=1e-6)


def test_the_scale_of_a_command_leaves_a_pose_as_it_is():
    columns = following()
    scaled, _ = to_pose(columns, make_source(action={"translation_scale": 0.1}))
    np.testing.assert_allclose(scaled[:, 0], columns["observation/state"][:, 0], atol=1e-6)


def test_achieved_motion_of_a_dataset_is_in_metres(tmp_path):
    columns = following()
    episode = table_episode(21)
    for step, pose in zip(episode["steps"], columns["observation/state"], strict=True):
        step["observation"]["state"] = (pose * 1000).astype(np.float32)
    folder = write_rlds(tmp_path, {"train": [[episode]]})
    scale = {"translation_scale": 0.001, "rotation": ""}
    dataset = open_table(folder, action=TARGET | scale, pose={"rotation": "", "gripper": ""})
    motion, _ = achieved_motion(dataset[0])
    np.testing.assert_allclose(motion[:, 0], 0.01, atol=1e-6)
