"""93 episodes of a Unitree G1 in LeRobot v2.1, with videos in h264, and one original in AV1."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from lerobot_files import LEROBOT_SOURCE

from genie_robo.data.formats import open_dataset
from genie_robo.data.lerobot import LeRobotDataset
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
    assert found.source == replace(G1, control_hz=30.0)
    assert found.facts.problems == []
    names = [action.name for action in found.facts.actions]
    assert (len(names), names[0]) == (26, "joint0 kLeftShoulderPitch")
