"""Episodes of LeRobot folders are those of RLDS, window for window."""

import io
import json
import pickle
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow_datasets as tfds
from lerobot_files import (
    CAMERA,
    FPS,
    JOINT_NAMES,
    LEROBOT_SOURCE,
    encode_png,
    make_demo,
    v2_table,
    write_table,
    write_v2,
    write_v3,
)
from rlds_files import write_rlds

from genie_robo.build import build_dataset
from genie_robo.data.formats import open_dataset
from genie_robo.data.lerobot import LeRobotDataset
from genie_robo.data.lerobot_layout import open_lerobot_schema
from genie_robo.data.metadata import open_folder
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.settings import DatasetConfig
from genie_robo.data.windows import WindowDataset
from genie_robo.types import VideoFrame

F = tfds.features
DEMOS = [make_demo(5 + i, seed=i) for i in range(4)]
RLDS_SOURCE = replace(
    LEROBOT_SOURCE,
    camera="observation/image",
    pose=replace(LEROBOT_SOURCE.pose, joints="observation/state[0:3]"),
    instruction=("language_instruction",),
    control_hz=float(FPS),
)
KINDS = {
    "v2.0 video": lambda root: write_v2(root, DEMOS, version="v2.0"),
    "v2.1 video": lambda root: write_v2(root, DEMOS),
    "v2.1 image": lambda root: write_v2(root, DEMOS, images="image"),
    "v3.0 video": lambda root: write_v3(root, DEMOS),
    "v3.0 image": lambda root: write_v3(root, DEMOS, images="image"),
}


@pytest.fixture(scope="module", params=KINDS)
def lerobot(request, tmp_path_factory) -> LeRobotDataset:
    folder = KINDS[request.param](tmp_path_factory.mktemp("lerobot") / "demos")
    return LeRobotDataset(folder, LEROBOT_SOURCE)


@pytest.fixture(scope="module")
def rlds(tmp_path_factory) -> RldsDataset:
    features = F.FeaturesDict(
        {
            "steps": F.Dataset(
                {
                    "observation": {
                        "image": F.Image(shape=(16, 16, 3), encoding_format="png"),
                        "state": F.Tensor(shape=(3,), dtype=np.float32),
                    },
                    "action": F.Tensor(shape=(3,), dtype=np.float32),
                    "language_instruction": F.Text(),
                }
            )
        }
    )
    episodes = [
        {
            "steps": [
                {
                    "observation": {"image": io.BytesIO(encode_png(frame)), "state": state},
                    "action": action,
                    "language_instruction": demo.task,
                }
                for frame, state, action in zip(demo.video, demo.state, demo.action, strict=True)
            ]
        }
        for demo in DEMOS
    ]
    root = tmp_path_factory.mktemp("rlds")
    return RldsDataset(write_rlds(root, {"train": [episodes]}, features=features), RLDS_SOURCE)


@pytest.mark.parametrize("cache_mb", [0, 10])
@pytest.mark.parametrize("stride", [1, 2])
def test_windows_are_those_of_rlds(lerobot, rlds, cache_mb, stride):
    settings = {
        "num_frames": 3,
        "image_size": (12, 8),
        "frame_stride": stride,
        "cache_mb": cache_mb,
    }
    ours, theirs = (WindowDataset(d, range(4), **settings) for d in (lerobot, rlds))
    assert len(ours) == len(theirs)
    for k in np.random.default_rng(0).permutation(len(ours)):
        one, other = ours[int(k)], theirs[int(k)]
        assert one.start == other.start
        for name in ("video", "robot_actions", "action_mask", "is_pad"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_an_episode_has_the_fields_of_rlds(lerobot, rlds):
    assert (len(lerobot), lerobot.num_duplicates, lerobot.num_short) == (4, 0, 0)
    assert lerobot.lengths.tolist() == rlds.lengths.tolist() == [5, 6, 7, 8]
    for ours, theirs in zip(lerobot, rlds, strict=True):
        assert (ours.num_steps, ours.instruction) == (theirs.num_steps, theirs.instruction)
        assert ours.control_hz == lerobot.source.control_hz == FPS
        np.testing.assert_array_equal(ours.joints, theirs.joints)
        np.testing.assert_array_equal(ours.joint_starts, theirs.joint_starts)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b", "c"], ("a", "b", "c")),
        ({"motors": ["a", "b", "c"]}, ("a", "b", "c")),
        ({"left": ["a", "b"], "right": {"axes": ["a"]}}, ("left.a", "left.b", "right.a")),
        ([["a"], ["b", "c"]], ("a", "b", "c")),
        ({"b": 1, "a": 0, "c": 2}, ("a", "b", "c")),
        (["a", "b"], ()),
        (["a", "b", None], ()),
        (None, ()),
        ("abc", ()),
        ({"a": [1, 2, 3]}, ()),
    ],
)
def test_names_of_numbers_in_every_layout(tmp_path, names, expected):
    folder = write_v2(tmp_path / "demos", [make_demo()])
    info = json.loads((folder / "meta/info.json").read_text())
    info["features"]["action"]["names"] = names
    (folder / "meta/info.json").write_text(json.dumps(info))
    assert open_lerobot_schema(folder).features["action"].names == expected


def test_columns_keep_their_names(lerobot):
    assert set(lerobot.features) >= {CAMERA, "observation.state", "action", "task", "timestamp"}
    assert lerobot.cameras == (CAMERA,)
    assert lerobot.features["action"].names == JOINT_NAMES


def test_an_episode_has_one_id_in_every_version(tmp_path):
    ids = [
        LeRobotDataset(KINDS[kind](tmp_path / kind), LEROBOT_SOURCE).episode_ids
        for kind in ("v2.0 video", "v2.1 video")
    ]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 4
    pictures = [
        LeRobotDataset(KINDS[kind](tmp_path / kind), LEROBOT_SOURCE).episode_ids
        for kind in ("v2.1 image", "v3.0 image")
    ]
    assert pictures[0] == pictures[1]


def test_episodes_may_lie_across_row_groups(tmp_path, lerobot):
    write_v3(tmp_path, DEMOS)
    table = tmp_path / "data/chunk-000/file-000.parquet"
    write_table(table, pq.read_table(table), row_group_size=4)
    dataset = LeRobotDataset(tmp_path, LEROBOT_SOURCE)
    for i in (2, 0, 3, 1):
        np.testing.assert_array_equal(dataset[i].joints, lerobot[i].joints)


def test_equal_episodes_are_used_once(tmp_path):
    dataset = LeRobotDataset(write_v2(tmp_path, [*DEMOS, DEMOS[1]]), LEROBOT_SOURCE)
    assert (len(dataset), dataset.num_duplicates) == (4, 1)


def test_the_format_is_found(tmp_path, lerobot, rlds):
    for dataset in (lerobot, rlds):
        config = DatasetConfig(path=str(dataset.folder), source=dataset.source)
        assert build_dataset(config).episode_ids == dataset.episode_ids
    write_v2(tmp_path / "a/b", DEMOS)
    assert open_folder(tmp_path).folder == tmp_path / "a/b"
    write_v2(tmp_path / "a/c", DEMOS)
    with pytest.raises(ValueError, match="holds 2 LeRobot datasets"):
        open_folder(tmp_path)
    with pytest.raises(ValueError, match="names splits of RLDS"):
        open_dataset(tmp_path / "a/b", LEROBOT_SOURCE, rlds_splits=["train"])
    with pytest.raises(FileNotFoundError, match="is no LeRobot dataset"):
        LeRobotDataset(rlds.folder, LEROBOT_SOURCE)
    with pytest.raises(FileNotFoundError, match="it is a LeRobot dataset"):
        RldsDataset(tmp_path / "a/b", LEROBOT_SOURCE)


def test_a_rate_of_the_source_goes_first(tmp_path):
    source = replace(LEROBOT_SOURCE, control_hz=3.0)
    assert LeRobotDataset(write_v2(tmp_path, DEMOS), source)[0].control_hz == 3.0


def test_the_second_opening_reads_the_cache(tmp_path, monkeypatch):
    first = LeRobotDataset(write_v2(tmp_path, DEMOS), LEROBOT_SOURCE)
    monkeypatch.setattr("genie_robo.data.lerobot._scan", None)
    again = LeRobotDataset(tmp_path, LEROBOT_SOURCE)
    assert (again.episode_ids, again.fingerprint) == (first.episode_ids, first.fingerprint)


@pytest.mark.parametrize("content", ["", "{}", '{"stamp": 1}', "[1]"])
def test_a_damaged_cache_is_made_anew(tmp_path, cache_home, content):
    first = LeRobotDataset(write_v2(tmp_path, DEMOS), LEROBOT_SOURCE)
    (file,) = (cache_home / "genie_robo").glob("lerobot_*.json")
    file.write_text(content)
    assert LeRobotDataset(tmp_path, LEROBOT_SOURCE).episode_ids == first.episode_ids


def test_a_changed_file_is_read_again(tmp_path):
    before = LeRobotDataset(write_v2(tmp_path, DEMOS), LEROBOT_SOURCE).episode_ids
    write_v2(tmp_path, [make_demo(9, seed=77), *DEMOS[1:]])
    after = LeRobotDataset(tmp_path, LEROBOT_SOURCE).episode_ids
    assert before[0] != after[0]
    assert before[1:] == after[1:]


def test_images_are_read_by_other_processes(lerobot):
    windows = WindowDataset(lerobot, range(4), num_frames=3, image_size=(16, 16), cache_mb=0)
    copy = pickle.loads(pickle.dumps(windows))
    np.testing.assert_array_equal(copy[3].video, windows[3].video)


def test_frames_of_a_video_are_places(tmp_path):
    images = LeRobotDataset(write_v3(tmp_path, DEMOS), LEROBOT_SOURCE)[1].images["primary"]
    assert all(isinstance(image, VideoFrame) for image in images)
    assert [round(image.time_s * FPS) for image in images] == list(range(5, 11))


def test_tables_with_no_task_index_take_the_task_of_the_episode(tmp_path):
    folder = write_v2(tmp_path, DEMOS)
    for number in range(4):
        table = pq.read_table(v2_table(folder, number)).drop_columns(["task_index"])
        pq.write_table(table, v2_table(folder, number))
    found = [episode.instruction for episode in LeRobotDataset(folder, LEROBOT_SOURCE)]
    assert found == [demo.task for demo in DEMOS]
