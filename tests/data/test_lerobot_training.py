"""Windows, splits and statistics of LeRobot folders, alone and mixed with RLDS."""

from dataclasses import replace

import numpy as np
import pytest
from lerobot_files import (
    BOTH_CAMERAS,
    FPS,
    LEROBOT_SOURCE,
    WRIST,
    Demo,
    encode_png,
    make_demo,
    with_wrist,
    write_v2,
    write_v3,
)
from rlds_files import make_source

from genie_robo.build import build_datasets, build_training_windows, build_windows
from genie_robo.data.lerobot import LeRobotDataset
from genie_robo.data.settings import DataConfig, DatasetConfig
from genie_robo.data.statistics import ALL, dataset_statistics
from genie_robo.data.transforms import decode_frames
from genie_robo.data.windows import split_episodes
from genie_robo.types import Split

DEMOS = [with_wrist(make_demo(8 + i, seed=i)) for i in range(7)]
KINDS = {
    "v2.1 video": lambda root: write_v2(root, DEMOS),
    "v2.1 image": lambda root: write_v2(root, DEMOS, images="image"),
    "v3.0 video": lambda root: write_v3(root, DEMOS),
    "v3.0 image": lambda root: write_v3(root, DEMOS, images="image"),
}


def demo_of(dataset: LeRobotDataset, episode_id: str) -> Demo:
    """The demo that an episode was written from, by its length."""
    return DEMOS[int(dataset.lengths[dataset.episode_ids.index(episode_id)]) - 8]


def config(folder, **changes) -> DataConfig:
    size = {"image_height": 16, "image_width": 16}
    return DataConfig(path=str(folder), **({"source": BOTH_CAMERAS} | size | changes))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrist", ["wrist", WRIST])
def test_two_cameras_give_windows_of_their_own(tmp_path, kind, wrist):
    """One by its name, or by its key where no source names it; its files are cut in other ways."""
    source = BOTH_CAMERAS if wrist == "wrist" else LEROBOT_SOURCE
    data = config(KINDS[kind](tmp_path), views=("primary", wrist), source=source)
    datasets = build_datasets(data)
    windows = build_training_windows(data, datasets, num_frames=4)
    assert [part.camera for part in windows.parts] == ["primary", wrist]
    top, side = windows.parts
    assert len(top) == len(side) > 20
    for k in range(0, len(top), 5):
        one, other = top[k], side[k]
        demo = demo_of(datasets[""], one.episode_id)
        assert (one.episode_id, one.start) == (other.episode_id, other.start)
        np.testing.assert_array_equal(one.video, demo.video[one.start : one.start + 4])
        small = [encode_png(frame) for frame in demo.wrist[one.start : one.start + 4]]
        scaled = decode_frames(small, image_size=(16, 16))
        np.testing.assert_array_equal(other.video, scaled)


@pytest.mark.parametrize("kind", KINDS)
def test_splits_and_statistics(tmp_path, kind):
    data = config(KINDS[kind](tmp_path))
    dataset = LeRobotDataset(tmp_path, BOTH_CAMERAS)
    fractions = {"val_fraction": data.val_fraction, "test_fraction": data.test_fraction}
    split = split_episodes(dataset.episode_ids, **fractions)
    assert {side.value: len(found) for side, found in split.items()} == {
        "train": 5,
        "val": 1,
        "test": 1,
    }
    found = dataset_statistics(dataset, **fractions)
    for name, members in [*((side.value, split[side]) for side in Split), (ALL, range(7))]:
        demos = [demo_of(dataset, dataset.episode_ids[i]) for i in members]
        commands = np.concatenate([(demo.action - demo.state)[:-1] for demo in demos])
        moved = np.concatenate([np.diff(demo.state, axis=0) for demo in demos])
        stats = found.splits[name]
        assert (stats.num_episodes, stats.num_transitions) == (len(demos), len(commands))
        assert stats.commanded.mask.tolist() == [False] * 7 + [True] * 3
        for rows, values in ((commands, stats.commanded), (moved, stats.achieved)):
            np.testing.assert_allclose(values.mean[7:], rows.mean(axis=0), atol=1e-6)
            np.testing.assert_allclose(values.std[7:], rows.std(axis=0), atol=1e-6)
            np.testing.assert_allclose(values.max[7:], rows.max(axis=0), atol=1e-6)
    windows = {side: build_windows(data, dataset, side, num_frames=4) for side in Split}
    assert {side: windows[side].episodes for side in Split} == split


def test_a_mixture_with_rlds_has_the_windows_of_both(tmp_path, table):
    folder = write_v3(tmp_path / "demos", DEMOS)
    other = DatasetConfig(path=str(table), source=make_source(control_hz=5.0), target_hz=5.0)
    source = replace(LEROBOT_SOURCE, control_hz=float(FPS))
    data = config(folder, source=source, target_hz=5.0, mix={"rlds": other})
    datasets = build_datasets(data)
    windows = build_training_windows(data, datasets, num_frames=3)
    assert [part.frame_stride for part in windows.parts] == [2, 1]
    assert len(windows) == sum(map(len, windows.parts))
    first = windows[0]
    demo = demo_of(datasets[""], first.episode_id)
    np.testing.assert_array_equal(first.video, demo.video[first.start : first.start + 5 : 2])
    last = demo.action[first.start + 1] - demo.state[first.start]
    np.testing.assert_allclose(first.robot_actions[0, 7:], last, atol=1e-6)
    behind = windows[len(windows.parts[0])]
    assert behind.episode_id in datasets["rlds"].episode_ids
    assert (first.robot_actions.shape, behind.robot_actions.shape) == ((2, 10), (2, 7))
