"""Real robot episodes: BridgeData as its authors wrote it, and converted Franka episodes."""

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice

import numpy as np
import pytest
import simplejpeg
from omegaconf import OmegaConf

from genie_robo.build import build_dataset, build_windows
from genie_robo.config import DataConfig
from genie_robo.config_file import conf_dir
from genie_robo.config_tree import from_tree, to_tree
from genie_robo.data.actions import achieved_deltas
from genie_robo.data.loader import WindowLoader
from genie_robo.data.transforms import decode_frames
from genie_robo.types import Split

pytestmark = pytest.mark.real_data


def data_config(name: str, path) -> DataConfig:
    """The configuration that `data=NAME data.path=PATH` composes."""
    difference = OmegaConf.load(conf_dir() / "data" / f"{name}.yaml")
    merged = OmegaConf.merge(to_tree(DataConfig), difference, {"path": str(path)})
    config = from_tree(merged)
    assert isinstance(config, DataConfig)
    return config


@pytest.fixture(scope="module")
def bridge_dataset(bridge):
    return build_dataset(data_config("bridge_dataset", bridge))


@pytest.fixture(scope="module")
def droid_dataset(droid):
    return build_dataset(data_config("droid_ee_delta", droid))


def test_bridge_train_and_val_hold_the_same_episodes(bridge_dataset):
    assert len(bridge_dataset) == 25
    assert bridge_dataset.num_duplicates == 25
    assert bridge_dataset.lengths.tolist() == [10] * 25
    assert len({episode.instruction for episode in bridge_dataset}) == 4


def test_bridge_first_episode(bridge_dataset):
    episode = bridge_dataset[0]
    assert episode.control_hz == 5.0
    assert set(episode.images) == {
        "primary",
        "secondary",
        "observation/image_2",
        "observation/image_3",
    }
    assert episode.end_effector_pose is not None
    assert np.abs(episode.robot_actions[:, :3]).max() < 0.05
    assert not episode.robot_actions[-1].any()
    heights = episode.end_effector_pose[:, 2]
    assert (heights > 0).all()
    assert (heights < 0.4).all()


def test_bridge_cameras(bridge_dataset):
    """The fourth camera is blank; the first sees something, and it moves."""
    for episode in bridge_dataset:
        blank = decode_frames(episode.images["observation/image_3"], image_size=(64, 64))
        assert blank.max() == 0
        frames = decode_frames(episode.images["primary"], image_size=(64, 64)).astype(float)
        assert frames.std() > 20
        assert np.abs(np.diff(frames, axis=0)).mean() > 0.5


def test_bridge_commands_line_up_with_the_motion(bridge_dataset):
    """The command of step t correlates most with the motion from t to t+1, then with the next."""
    commands = np.stack([episode.robot_actions[2:6, :3] for episode in bridge_dataset])
    motion = np.stack([achieved_deltas(e.end_effector_pose)[:, :3] for e in bridge_dataset])
    correlation = {
        lag: np.corrcoef(commands.ravel(), motion[:, 2 + lag : 6 + lag].ravel())[0, 1]
        for lag in (-1, 0, 1, 2)
    }
    assert correlation[0] == pytest.approx(0.928, abs=0.005)
    assert correlation[1] == pytest.approx(0.902, abs=0.005)
    assert max(correlation[-1], correlation[2]) < 0.75


def test_droid_actions_are_the_achieved_motion(droid_dataset):
    """Stored actions equal the differences of poses, the gripper included."""
    assert len(droid_dataset) == 13
    assert droid_dataset.lengths.sum() == 1433
    for episode in droid_dataset:
        assert episode.end_effector_pose is not None
        expected = achieved_deltas(episode.end_effector_pose)
        np.testing.assert_allclose(episode.robot_actions[:-1], expected, atol=2e-6)


def test_droid_gripper_is_open_at_one(droid_dataset):
    """Every episode begins with an open gripper; those that pick something close it."""
    grippers = [episode.end_effector_pose[:, 6] for episode in droid_dataset]
    assert [gripper[0] for gripper in grippers] == [1.0] * 13
    picks = ["pick" in episode.instruction for episode in droid_dataset]
    assert sum(picks) >= 3
    assert all(g.min() < 0.5 for g, pick in zip(grippers, picks, strict=True) if pick)


def test_droid_images_are_scaled_down(droid_dataset):
    episode = droid_dataset[0]
    small = decode_frames(episode.images["primary"][:3], image_size=(64, 64))
    full = decode_frames(episode.images["primary"][:3], image_size=(192, 320))
    blocks = full.reshape(3, 64, 3, 64, 5, 3).mean(axis=(2, 4))
    assert np.abs(small - blocks).mean() < 3


@pytest.mark.parametrize(
    ("name", "folder", "num_frames"),
    [("bridge_dataset", "bridge", 4), ("droid_ee_delta", "droid", 16)],
)
def test_batches_of_every_split(name, folder, num_frames, request):
    config = replace(data_config(name, request.getfixturevalue(folder)), frame_stride=2)
    dataset = build_dataset(config)
    seen = set()
    for split in Split:
        windows = build_windows(config, dataset, split, num_frames=num_frames)
        stream = iter(WindowLoader(windows, batch_size=8, seed=0))
        for batch in islice(stream, 2):
            assert batch.video.shape == (8, num_frames, 64, 64, 3)
            assert batch.robot_actions.isfinite().all()
            assert batch.video.float().std() > 20
        stream.close()
        ids = {dataset.episode_ids[i] for i in windows.episodes}
        assert not ids & seen
        seen |= ids
    assert seen == set(dataset.episode_ids)


@pytest.mark.slow
def test_tensorflow_reads_the_same_steps(bridge_dataset):
    """The official reading of the tfrecord files, in a process of its own."""
    if find_spec("tensorflow") is None:
        pytest.skip("the extra `tf` is not installed")
    program = f"""
import sys, numpy as np, tensorflow_datasets as tfds
builder = tfds.builder_from_directory({str(bridge_dataset.folder)!r})
for episode in builder.as_dataset(split="train").take(2):
    for step in episode["steps"].as_numpy_iterator():
        sys.stdout.buffer.write(step["action"].tobytes())
        sys.stdout.buffer.write(step["observation"]["image_0"].tobytes())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    record = np.dtype([("action", np.float32, 7), ("image", np.uint8, (64, 64, 3))])
    for theirs, ours in zip(
        np.frombuffer(done.stdout, record).reshape(2, 10), bridge_dataset[:2], strict=True
    ):
        actions = theirs["action"].copy()
        actions[:, 6] = actions[:, 6].clip(0, 1)
        np.testing.assert_array_equal(ours.robot_actions[:-1], actions[:-1])
        # TensorFlow decodes JPEG with a fast, less exact transform.
        frames = [simplejpeg.decode_jpeg(b, "RGB", fastdct=True) for b in ours.images["primary"]]
        difference = np.abs(np.stack(frames).astype(int) - theirs["image"])
        assert difference.mean() < 0.1
