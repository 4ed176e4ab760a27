import io
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rlds_files import encode_image, grey, open_table, table_episode, write_rlds

from genie_robo.build import build_datasets, build_training_windows, members
from genie_robo.config import ActionSource, DataConfig, DatasetConfig, Source
from genie_robo.data.dataset import BadEpisodeError
from genie_robo.data.loader import WindowLoader, epoch_order
from genie_robo.data.windows import MixedWindows, WindowDataset, split_episodes
from genie_robo.rotations import relative_rpy
from genie_robo.types import Split

SIZE = (8, 8)


@pytest.fixture(scope="module")
def dataset(table):
    """Episode i has 3 + i steps; frame t has level 10 i + t, action t has dx = t."""
    return open_table(table)


def levels(window) -> list[int]:
    """The grey level of each frame."""
    assert (window.video == window.video[:, :1, :1, :1]).all()
    return window.video[:, 0, 0, 0].tolist()


def test_transitions_line_up_with_frames(dataset):
    """Action i of a window is the one that was taken in frame i."""
    windows = WindowDataset(dataset, [5], num_frames=4, image_size=SIZE)
    assert len(windows) == 5
    window = windows[3]
    assert window.start == 3
    assert window.episode_id == dataset.episode_ids[5]
    assert levels(window) == [53, 54, 55, 56]
    assert window.robot_actions[:, 0].tolist() == [3, 4, 5]
    np.testing.assert_allclose(window.robot_actions[:, 1], [0.3, 0.4, 0.5], atol=1e-6)
    assert window.robot_actions[:, 6].tolist() == [1, 0, 1]
    assert not window.is_pad.any()


def test_actions_between_frames_are_composed(dataset):
    windows = WindowDataset(dataset, [5], num_frames=3, image_size=SIZE, frame_stride=2)
    assert len(windows) == 4
    window = windows[1]
    assert levels(window) == [51, 53, 55]
    assert window.robot_actions[:, 0].tolist() == [1 + 2, 3 + 4]
    np.testing.assert_allclose(window.robot_actions[:, 1], [0.3, 0.7], atol=1e-6)
    assert window.robot_actions[:, 6].tolist() == [0, 0]  # of steps 2 and 4


def test_turns_between_frames_are_composed(tmp_path):
    """Differences of angles, stored or measured, become the turn from frame to frame."""
    episode = table_episode(5)
    angles = np.array([[0.1, 1.5, 0], [0.9, 1.57, 0.8], [-2, 1.5, -2], [0, -1.5, 0], [3, 0, 1]])
    for step, rpy in zip(episode["steps"], angles, strict=True):
        step["observation"]["state"][3:6] = rpy
    differences = np.diff(angles, axis=0, append=angles[-1:])
    for step, difference in zip(episode["steps"], differences, strict=True):
        step["action"][3:6] = difference
    folder = write_rlds(tmp_path, {"train": [[episode]]})
    expected = relative_rpy(angles[[0, 2]], angles[[2, 4]])
    for motion in ("achieved", "pose_change"):
        dataset = open_table(folder, action={"motion": motion})
        window = WindowDataset(dataset, [0], num_frames=3, image_size=SIZE, frame_stride=2)[0]
        np.testing.assert_allclose(window.robot_actions[:, 3:6], expected, atol=1e-5)


def test_a_short_episode_is_padded(dataset):
    windows = WindowDataset(dataset, [1], num_frames=7, image_size=SIZE)
    assert len(windows) == 1
    window = windows[0]
    assert levels(window) == [10, 11, 12, 13, 13, 13, 13]
    assert window.is_pad.tolist() == [False] * 4 + [True] * 3
    assert window.robot_actions[:, 0].tolist() == [0, 1, 2, 0, 0, 0]
    assert not window.robot_actions[3:].any()


def test_a_short_episode_with_a_stride(dataset):
    window = WindowDataset(dataset, [3], num_frames=4, image_size=SIZE, frame_stride=2)[0]
    assert levels(window) == [30, 32, 34, 34]
    assert window.is_pad.tolist() == [False, False, False, True]
    assert window.robot_actions[:, 0].tolist() == [0 + 1, 2 + 3, 0]


def test_a_window_of_one_frame(dataset):
    window = WindowDataset(dataset, [2], num_frames=1, image_size=SIZE)[4]
    assert levels(window) == [24]
    assert window.robot_actions.shape == (0, 7)


def test_a_whole_episode(dataset):
    windows = WindowDataset(dataset, [4, 5], num_frames=2, image_size=SIZE)
    window = windows.whole_episode(1)
    assert levels(window) == list(range(50, 58))
    assert window.robot_actions[:, 0].tolist() == list(range(7))
    strided = WindowDataset(dataset, [4], num_frames=2, image_size=SIZE, frame_stride=3)
    window = strided.whole_episode(0)
    assert levels(window) == [40, 43, 46]
    assert window.robot_actions[:, 0].tolist() == [0 + 1 + 2, 3 + 4 + 5]
    assert not window.is_pad.any()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    episodes=st.permutations(range(10)).map(lambda p: p[:4]),
    num_frames=st.integers(1, 9),
    stride=st.integers(1, 4),
    cache_mb=st.sampled_from([0, 1]),
    data=st.data(),
)
def test_windows_never_cross_episodes(dataset, episodes, num_frames, stride, cache_mb, data):
    windows = WindowDataset(
        dataset,
        episodes,
        num_frames=num_frames,
        image_size=SIZE,
        frame_stride=stride,
        cache_mb=cache_mb,
    )
    expected = [max(1, 3 + e - (num_frames - 1) * stride) for e in episodes]
    assert len(windows) == sum(expected)
    k = data.draw(st.integers(0, len(windows) - 1))
    window = windows[k]
    e = episodes[int(np.searchsorted(np.cumsum(expected), k, side="right"))]
    steps = window.start + stride * np.arange(num_frames)
    last = steps[steps < 3 + e][-1]
    assert window.episode_id == dataset.episode_ids[e]
    assert levels(window) == [10 * e + min(step, last) for step in steps]
    assert window.is_pad.tolist() == (steps >= 3 + e).tolist()
    for i in range(num_frames - 1):
        run = range(steps[i], steps[i + 1])
        assert window.robot_actions[i, 0] == (0 if window.is_pad[i + 1] else sum(run))


def test_the_cache_changes_nothing_but_the_speed(dataset):
    sizes = {"num_frames": 5, "image_size": (6, 10), "frame_stride": 2}
    cached = WindowDataset(dataset, range(10), cache_mb=1, **sizes)
    bare = WindowDataset(dataset, range(10), cache_mb=0, **sizes)
    for _ in range(2):
        for k in range(len(cached)):
            np.testing.assert_array_equal(cached[k].video, bare[k].video)
            np.testing.assert_array_equal(cached[k].robot_actions, bare[k].robot_actions)


def test_cached_episodes_are_not_read_again(table):
    dataset = open_table(table)
    windows = WindowDataset(dataset, [9], num_frames=2, image_size=SIZE)
    other = WindowDataset(dataset, [8], num_frames=2, image_size=SIZE)
    before = windows[0]
    before.video[:] = 0  # what a caller does with a window stays there
    (table / "table-train.tfrecord-00001-of-00002").rename(table / "away")
    try:
        assert levels(windows[5]) == [95, 96]
        assert levels(windows[0]) == [90, 91]
        with pytest.raises(FileNotFoundError):
            other[0]
    finally:
        (table / "away").rename(table / "table-train.tfrecord-00001-of-00002")


def test_the_cache_stays_below_its_bound(tmp_path):
    """A 200 x 200 frame has 120 kB: 1 MB holds one episode of 8 frames, not two."""
    episodes = [table_episode(8, tag=10 * i) for i in range(2)]
    dataset = open_table(write_rlds(tmp_path, {"train": [episodes]}))
    windows = WindowDataset(dataset, [0, 1], num_frames=2, image_size=(200, 200), cache_mb=1)
    for k in range(len(windows)):
        _ = windows[k]
    assert list(windows._cache._episodes) == [0]


def test_another_camera(dataset):
    windows = WindowDataset(dataset, [0], num_frames=2, image_size=SIZE, camera="observation/wrist")
    assert levels(windows[1]) == [101, 102]
    with pytest.raises(KeyError, match=r"there is no camera front in .*primary.*observation/wrist"):
        WindowDataset(dataset, [0], num_frames=2, image_size=SIZE, camera="front")


@pytest.mark.parametrize(
    "wrong", [{"num_frames": 0}, {"num_frames": 2, "frame_stride": 0}, {"episodes": []}]
)
def test_windows_that_cannot_be(dataset, wrong):
    settings = {"episodes": [0], "num_frames": 2, "image_size": SIZE} | wrong
    with pytest.raises(ValueError, match="windows need episodes, and num_frames="):
        WindowDataset(dataset, **settings)


def test_a_window_that_is_not_there(dataset):
    windows = WindowDataset(dataset, [0, 1], num_frames=2, image_size=SIZE)
    for k in (5, -1):
        with pytest.raises(IndexError, match=f"window {k} of 5"):
            windows[k]


@pytest.fixture
def undecodable(tmp_path):
    """Three episodes; the second one's third image starts like a PNG and goes on as noise."""
    images = [encode_image(grey(10 + t)) for t in range(4)]
    images[2] = io.BytesIO(images[2].getvalue()[:30] + b"noise")
    episodes = [table_episode(4, tag=10 * i) for i in range(3)]
    episodes[1] = table_episode(4, tag=10, images=images)
    return write_rlds(tmp_path, {"train": [episodes]})


@pytest.mark.parametrize("cache_mb", [0, 1])
def test_an_undecodable_episode_is_replaced_by_the_next(undecodable, caplog, cache_mb):
    dataset = open_table(undecodable, bad_episode_limit=0.4)
    windows = WindowDataset(dataset, [0, 1, 2], num_frames=4, image_size=SIZE, cache_mb=cache_mb)
    assert [levels(windows[k])[0] for k in (0, 1, 2)] == [0, 20, 20]
    assert levels(windows[1]) == [20, 21, 22, 23]
    assert len(dataset.bad_episodes) == 1
    (record,) = caplog.records
    assert "(record 1 of table-train.tfrecord-00000-of-00001)" in record.getMessage()
    assert "cannot be decoded" in record.getMessage()
    with pytest.raises(BadEpisodeError, match="the image of step 2 cannot be decoded"):
        windows.whole_episode(1)


def test_undecodable_episodes_above_the_limit(undecodable):
    windows = WindowDataset(open_table(undecodable), [0, 1, 2], num_frames=4, image_size=SIZE)
    with pytest.raises(ValueError, match=r"1 of 3 episodes of .* cannot be read, 33.3%, above"):
        windows[1]


def test_a_split_without_any_readable_episode(undecodable):
    dataset = open_table(undecodable, bad_episode_limit=1.0)
    windows = WindowDataset(dataset, [1], num_frames=4, image_size=SIZE)
    with pytest.raises(ValueError, match="none of the 1 episodes of this split can be read"):
        windows[0]


def test_split_known_answer():
    """The same on every machine and in every version, or trained runs lose their test split."""
    ids = [f"episode{i}" for i in range(10)]
    split = split_episodes(ids, val_fraction=0.2, test_fraction=0.3)
    assert split == {
        Split.train: (4, 1, 9, 0, 6),
        Split.val: (3, 2),
        Split.test: (7, 5, 8),
    }


@given(st.lists(st.text(max_size=5), min_size=3, max_size=40, unique=True), st.randoms())
def test_a_split_is_a_partition_whatever_the_order(ids, random):
    split = split_episodes(ids, val_fraction=0.15, test_fraction=0.15)
    assert sorted(sum(split.values(), ())) == list(range(len(ids)))
    assert all(len(side) >= 1 for side in split.values())
    assert len(split[Split.test]) == max(1, round(0.15 * len(ids)))
    shuffled = random.sample(ids, len(ids))
    other = split_episodes(shuffled, val_fraction=0.15, test_fraction=0.15)
    for side in Split:
        assert {shuffled[i] for i in other[side]} == {ids[i] for i in split[side]}


@given(st.integers(3, 30), st.floats(0.05, 0.3))
def test_folds_test_every_episode_once(number, test_fraction):
    ids = [f"episode{i}" for i in range(number)]

    def split(fold):
        return split_episodes(ids, val_fraction=0.15, test_fraction=test_fraction, fold=fold)

    num_test = len(split(0)[Split.test])
    tested = [e for fold in range(number // num_test) for e in split(fold)[Split.test]]
    assert len(tested) == len(set(tested)) > number - num_test
    for fold in range(number // num_test):
        assert sorted(sum(split(fold).values(), ())) == list(range(number))
    with pytest.raises(ValueError, match="would test episodes that an earlier fold tests"):
        split(number // num_test)


def test_a_fold_that_would_wrap_around_is_refused():
    """Ten episodes, three of them for testing: folds 0, 1 and 2 test nine of them."""
    ids = [str(i) for i in range(10)]
    message = "data.fold=3 .* 10 episodes, 3 of them for testing, have folds 0 to 2; give one"
    with pytest.raises(ValueError, match=message):
        split_episodes(ids, val_fraction=0.1, test_fraction=0.3, fold=3)


@pytest.mark.parametrize(
    ("number", "val", "test"), [(2, 0.1, 0.1), (0, 0.1, 0.1), (4, 0.5, 0.5), (10, 0.6, 0.4)]
)
def test_too_few_episodes_to_split(number, val, test):
    ids = [str(i) for i in range(number)]
    with pytest.raises(ValueError, match=f"^{number} episodes cannot be split into train, val and"):
        split_episodes(ids, val_fraction=val, test_fraction=test)


@given(st.integers(0, 500), st.integers(0, 2**31), st.integers(0, 1000))
def test_an_epoch_is_a_permutation_and_nothing_else(num_windows, seed, epoch):
    order = epoch_order(num_windows, seed=seed, epoch=epoch)
    assert sorted(order.tolist()) == list(range(num_windows))
    np.testing.assert_array_equal(order, epoch_order(num_windows, seed=seed, epoch=epoch))


def test_epochs_and_seeds_differ():
    orders = {tuple(epoch_order(50, seed=s, epoch=e)) for s in range(3) for e in range(3)}
    assert len(orders) == 9


def test_a_named_camera_may_be_called_by_its_key(table):
    by_key = WindowDataset(
        open_table(table), [1], num_frames=2, image_size=SIZE, camera="observation/image"
    )
    assert by_key.camera == "primary"
    assert levels(by_key[0]) == [10, 11]


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
