"""93 episodes of a Unitree G1 in LeRobot v2.1, with videos in h264, and one original in AV1."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from lerobot_files import LEROBOT_SOURCE

from genie_robo.data.formats import open_dataset
from genie_robo.data.joint_names import joint_groups
from genie_robo.data.lerobot import LeRobotDataset
from genie_robo.data.settings import Motion
from genie_robo.data.transforms import decode_frames
from genie_robo.data.video import scan_video
from genie_robo.data.windows import WindowDataset
from genie_robo.inspection.facts import inspect_dataset
from genie_robo.types import VideoFrame

pytestmark = pytest.mark.real_data

CAMERA = "observation.images.cam_high"
G1 = replace(
    LEROBOT_SOURCE,
    camera=CAMERA,
    action=replace(LEROBOT_SOURCE.action, joints="action[0:26]"),
    pose=replace(LEROBOT_SOURCE.pose, joints="observation.state[0:26]"),
)


@pytest.fixture(scope="module")
def dataset(g1) -> LeRobotDataset:
    found = open_dataset(g1, G1)
    assert isinstance(found, LeRobotDataset)
    return found


def decode_all(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_every_episode_is_read(dataset):
    assert (len(dataset), dataset.lengths.sum()) == (93, 32485)
    assert (len(dataset.bad_episodes), dataset.num_duplicates) == (0, 0)
    episode = dataset[0]
    assert episode.instruction == "Pick up the yellow bottle on the table."
    assert episode.control_hz == 30
    assert episode.robot_actions.shape == (393, 33)
    assert dataset.features["action"].names[7] == "kRightShoulderPitch"
    assert dataset.action_names[7:] == episode.action_names[7:] == dataset.features["action"].names
    groups = joint_groups(episode.joint_names)
    assert {group: len(names) for group, names in groups.items()} == {
        "left_arm": 7,
        "right_arm": 7,
        "left_hand": 6,
        "right_hand": 6,
    }


def test_joints_alone_give_the_way_of_the_wrist(g1, tmp_path):
    """Seven joints of a row of links that is as long as the arm: its wrist moves as far."""
    axes = ["0 1 0", "1 0 0", "0 0 1", "0 1 0", "1 0 0", "0 1 0", "0 0 1"]
    words = "shoulder_pitch shoulder_roll shoulder_yaw elbow wrist_roll wrist_pitch wrist_yaw"
    names = [f"right_{word}" for word in words.split()]
    joints = [
        f'<link name="{name}_link"/><joint name="{name}_joint" type="revolute">'
        f'<parent link="{above}"/><child link="{name}_link"/>'
        f'<origin xyz="0 0 -0.06"/><axis xyz="{axis}"/></joint>'
        for name, above, axis in zip(
            names, ["torso_link", *(f"{name}_link" for name in names)], axes, strict=False
        )
    ]
    file = tmp_path / "arm.urdf"
    file.write_text(f'<robot><link name="torso_link"/>{"".join(joints)}</robot>')
    action = replace(G1.action, motion=Motion.pose_change)
    pose = replace(G1.pose, urdf=str(file), link="right_wrist_yaw_link")
    dataset = open_dataset(g1, replace(G1, action=action, pose=pose))
    episode = dataset[0]
    assert episode.action_mask.tolist() == [True] * 6 + [False] + [True] * 26
    reach = np.linalg.norm(episode.end_effector_pose[:, :3], axis=1)
    assert reach.max() < 0.06 * 7 + 1e-6
    assert 0.03 < np.ptp(episode.end_effector_pose[:, :3], axis=0).max() < 0.3
    assert 0.001 < np.abs(episode.robot_actions[:-1, :3]).max() < 0.05


def test_windows_have_the_frames_of_a_whole_pass(dataset):
    windows = WindowDataset(
        dataset, [0], num_frames=5, image_size=(96, 128), frame_stride=6, cache_mb=0
    )
    whole = decode_all(dataset[0].images["primary"][0].file)
    assert len(whole) == 393
    for start in (200, 3, 368):
        np.testing.assert_array_equal(windows[start].video, whole[start : start + 25 : 6])


def test_the_original_in_av1(g1):
    (path,) = (g1 / "original_av1").glob("*.mp4")
    steps = [0, 1, 100, 101, 107, 220]
    frames = [VideoFrame(path, step / 30, 0.5 / 30) for step in steps]
    assert len(scan_video(path).times_s) == 221
    np.testing.assert_array_equal(
        decode_frames(frames, image_size=(480, 640)), decode_all(path)[steps]
    )


def test_the_proposal_is_the_source(g1):
    found = inspect_dataset(g1)
    assert found.source == found.index.schema.complete(G1)
    assert replace(found.source.action, joint_names=()) == G1.action
    assert found.facts.problems == []
    names = [action.name for action in found.facts.actions]
    assert (len(names), names[0]) == (26, "kLeftShoulderPitch")
    (note,) = [note.text for note in found.facts.notes if note.kind == "urdf"]
    assert note.endswith("data.source.pose.urdf=FILE data.source.pose.link=LINK")
