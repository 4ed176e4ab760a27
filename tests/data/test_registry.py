"""Every public layout in conf/data/: three stored steps, and what must come out of them."""

from pathlib import Path

import numpy as np
import pytest
from oxe_cases import CASES, Case, instructed, numbers
from oxe_layouts import EXTERNAL, LAYOUTS, write_layout
from test_data_conf import load

from genie_robo.data.rlds import RldsDataset
from genie_robo.data.windows import WindowDataset


def open_as(name: str, folder: Path) -> RldsDataset:
    """Read a folder as the dataset's file in conf/data/ says."""
    return RldsDataset(folder, load(name).source)


@pytest.fixture(params=CASES, scope="module")
def opened(request, tmp_path_factory) -> tuple[Case, RldsDataset]:
    """An episode of three steps and one of its first two."""
    name = request.param
    episodes = [instructed(name, "pick it", 3), instructed(name, "leave it", 2)]
    folder = write_layout(tmp_path_factory.mktemp("oxe"), name, episodes)
    return CASES[name], open_as(name, folder)


def test_every_layout_has_a_case():
    assert list(CASES) == list(LAYOUTS)


def test_episodes_come_out_as_computed_by_hand(opened):
    case, dataset = opened
    still = [0.0] * 7
    assert dataset.lengths.tolist() == [3, 2]
    assert len(dataset.bad_episodes) == 0
    for episode, num_steps in zip(dataset, (3, 2), strict=True):
        actions = [*numbers(case.actions)[: num_steps - 1], still]
        np.testing.assert_allclose(episode.robot_actions, actions, atol=1e-6)
        pose = numbers(case.pose)[:num_steps]
        np.testing.assert_allclose(episode.end_effector_pose, pose, atol=1e-6)
        assert "".join(map(str, episode.action_mask.astype(int))) == case.mask
        assert "".join(map(str, episode.pose_mask.astype(int))) == case.pose_mask
    assert [episode.instruction for episode in dataset] == ["pick it", "leave it"]


def test_all_cameras_decode(opened):
    _, dataset = opened
    for camera in dataset.source.camera_keys:
        windows = WindowDataset(dataset, [0], num_frames=2, image_size=(8, 8), camera=camera)
        assert windows[0].video.shape == (2, 8, 8, 3)


def test_swapped_colours_come_out_as_rgb(tmp_path):
    name = f"stanford_hydra{EXTERNAL}"
    folder = write_layout(tmp_path, name, [instructed(name, "pick it", 3)])
    dataset = open_as(name, folder)
    frames = WindowDataset(dataset, [0], num_frames=3, image_size=(8, 8))[0].video
    assert frames[:, 0, 0].tolist() == [[10, 20, 200], [10, 20, 100], [10, 20, 50]]
    wrist = WindowDataset(dataset, [0], num_frames=2, image_size=(8, 8), camera="wrist")[0].video
    assert wrist[:, 7, 7].tolist() == [[70, 80, 90]] * 2


@pytest.mark.parametrize(
    ("entry", "folder", "error", "wanted", "there"),
    [
        (
            "bridge",
            "bridge_dataset",
            KeyError,
            "data.source.camera wants observation/image, which this dataset does not have",
            "observation/image_0 (uint8[256,256,3] jpeg image)",
        ),
        (
            "bridge_dataset",
            "bridge",
            KeyError,
            "data.source.camera wants observation/image_0, which",
            "observation/image (uint8[480,640,3] image)",
        ),
        (
            "fractal20220817_data",
            "kuka",
            KeyError,
            "data.source.pose.position wants observation/base_pose_tool_reached, which",
            "observation/clip_function_input/base_pose_tool_reached (float32[7])",
        ),
        (
            f"furniture_bench{EXTERNAL}",
            f"stanford_hydra{EXTERNAL}",
            ValueError,
            "data.source.action.gripper=action[7:8] must be 1 numbers",
            "action is float32[7]",
        ),
    ],
)
def test_another_version_of_a_dataset(tmp_path, entry, folder, error, wanted, there):
    """The entry and features.json disagree: the message names both sides."""
    episode = instructed(folder, "pick it", 3)
    written = write_layout(tmp_path, folder, [episode])
    with pytest.raises(error) as caught:
        open_as(entry, written)
    message = str(caught.value.args[0])
    assert wanted in message
    assert there in message
