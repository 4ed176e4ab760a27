from collections import Counter

import numpy as np
import pytest
from rlds_files import open_table, table_episode, write_rlds

from genie_robo.build import build_datasets, build_training_windows, members
from genie_robo.config import ActionSource, DataConfig, DatasetConfig, Source
from genie_robo.data.loader import WindowLoader
from genie_robo.data.mixture import MixedWindows
from genie_robo.data.windows import WindowDataset


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two datasets: six episodes of 9 steps, three of 20."""
    root = tmp_path_factory.mktemp("mixture")
    return [
        write_rlds(root, {"train": [[table_episode(9, tag=t) for t in range(6)]]}, name="short"),
        write_rlds(root, {"train": [[table_episode(20, tag=t) for t in (90, 100, 110)]]}),
    ]


@pytest.fixture(scope="module")
def parts(folders):
    return [
        WindowDataset(open_table(f), range(n), num_frames=4, image_size=(8, 8), frame_stride=s)
        for f, n, s in zip(folders, (6, 3), (1, 2), strict=True)
    ]


def config(folders, **changes) -> DataConfig:
    source = Source(camera="observation/image", control_hz=6.0)
    flat = Source(
        camera="observation/image",
        cameras={"wrist": "observation/wrist"},
        action=ActionSource(translation="action[0:2]", rotation="", gripper=""),
        control_hz=3.0,
    )
    other = DatasetConfig(path=str(folders[1]), source=flat, **changes.pop("other", {}))
    sizes = {"image_height": 8, "image_width": 8}
    return DataConfig(path=str(folders[0]), source=source, mix={"other": other}, **sizes, **changes)


def test_windows_are_numbered_through(parts):
    mixed = MixedWindows(parts, [0.0, 0.0])
    assert len(mixed) == len(parts[0]) + len(parts[1]) == 36 + 42
    for k in (0, 35):
        np.testing.assert_array_equal(mixed[k].video, parts[0][k].video)
    np.testing.assert_array_equal(mixed[36].video, parts[1][0].video)
    with pytest.raises(IndexError, match="window 78 of 78"):
        mixed[78]


def test_without_weights_an_epoch_shows_every_window_once(parts):
    loader = WindowLoader(MixedWindows(parts, [0.0, 0.0]), batch_size=13, seed=0, world_size=2)
    shown = [k for batch in range(3) for k in loader.window_numbers(26 * batch)]
    other = WindowLoader(
        MixedWindows(parts, [0.0, 0.0]), batch_size=13, seed=0, rank=1, world_size=2
    )
    shown += [k for batch in range(3) for k in other.window_numbers(26 * batch)]
    assert sorted(shown) == list(range(78))


def test_weights_give_the_shares(parts):
    loader = WindowLoader(MixedWindows(parts, [3.0, 1.0]), batch_size=100, seed=0)
    counts = Counter(k < 36 for batch in range(10) for k in loader.window_numbers(100 * batch))
    assert counts == {True: 750, False: 250}


def test_a_mixture_resumes_to_the_same_next_batch(parts):
    windows = MixedWindows(parts, [1.0, 2.0])
    straight = iter(WindowLoader(windows, batch_size=7, seed=5))
    wanted = [next(straight).episode_ids for _ in range(9)][6:]
    straight.close()
    resumed = WindowLoader(windows, batch_size=7, seed=5)
    resumed.load_state_dict(
        WindowLoader(windows, batch_size=7, seed=5).state_dict() | {"position": 7 * 6}
    )
    stream = iter(resumed)
    assert [next(stream).episode_ids for _ in range(3)] == wanted
    stream.close()


@pytest.mark.parametrize("weights", [[1.0, 0.0], [-1.0, 1.0]])
def test_weights_for_some_only(parts, weights):
    with pytest.raises(ValueError, match=r"data\.weight of the mixed datasets is .* or none of th"):
        MixedWindows(parts, weights)


def test_datasets_of_different_rates_and_action_dimensions_share_a_batch(folders):
    mixed = config(folders, target_hz=3.0, weight=1.0, other={"weight": 1.0})
    windows = build_training_windows(mixed, build_datasets(mixed), num_frames=4)
    assert [part.frame_stride for part in windows.parts] == [2, 1]
    stream = iter(WindowLoader(windows, batch_size=20, seed=0))
    batch = next(stream)
    stream.close()
    assert {tuple(mask) for mask in batch.action_mask.int().tolist()} == {
        (1, 1, 1, 1, 1, 1, 1),
        (1, 1, 0, 0, 0, 0, 0),
    }
    assert not batch.robot_actions[~batch.action_mask[:, 2], :, 2:].any()


def test_several_cameras_give_windows_of_their_own(folders):
    mixed = config(folders, other={"views": ("primary", "wrist")})
    windows = build_training_windows(mixed, build_datasets(mixed), num_frames=4)
    assert [part.camera for part in windows.parts] == ["primary", "primary", "wrist"]
    assert len(windows.parts[1]) == len(windows.parts[2])
    assert windows.parts[2][0].video[:, 0, 0, 0].tolist() == [100, 101, 102, 103]
    elbow = config(folders, other={"views": ("elbow",)})
    datasets = build_datasets(elbow)
    with pytest.raises(KeyError, match="there is no camera elbow"):
        build_training_windows(elbow, datasets, num_frames=4)


def test_the_first_dataset_has_no_name(folders):
    assert list(members(config(folders))) == ["", "other"]


def test_fingerprints_tell_windows_apart(parts):
    one = MixedWindows(parts, [0.0, 0.0]).fingerprint
    assert one == MixedWindows(parts, [1.0, 1.0]).fingerprint
    assert one != MixedWindows(parts[:1], [0.0]).fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_hz": 3.0, "frame_stride": 2}, "give one of target_hz and frame_stride"),
        ({"target_hz": 3.0, "source": Source(camera="x")}, "which is 0.0"),
        ({"views": ()}, "name at least one camera"),
    ],
)
def test_contradictions(changes, message):
    with pytest.raises(ValueError, match=message):
        DatasetConfig(path="x", **changes)


@pytest.mark.parametrize(
    ("hz", "target", "stride"), [(15, 3, 5), (5, 3, 2), (3, 10, 1), (10, 4, 2)]
)
def test_a_rate_chooses_the_nearest_stride(hz, target, stride):
    source = Source(camera="x", control_hz=float(hz))
    assert DatasetConfig(path="x", source=source, target_hz=float(target)).stride == stride
