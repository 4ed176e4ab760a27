"""LeRobot folders that are incomplete, damaged or hostile."""

import json
import logging
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from json_edits import change_json
from lerobot_files import (
    CAMERA,
    FPS,
    LEROBOT_SOURCE,
    V3_EPISODES,
    V3_VIDEO,
    make_demo,
    v2_table,
    v2_video,
    write_table,
    write_v2,
    write_v3,
    write_video,
)

from genie_robo.data.dataset import BadEpisodeError
from genie_robo.data.lerobot import LeRobotDataset, build_lerobot_index
from genie_robo.data.lerobot_layout import open_lerobot_schema
from genie_robo.data.windows import WindowDataset

DEMOS = [make_demo(8 + i, seed=i) for i in range(3)]


@pytest.fixture
def folder(tmp_path):
    return write_v2(tmp_path / "demos", DEMOS)


def opened(folder, **changes):
    source = replace(LEROBOT_SOURCE, **changes)
    return LeRobotDataset(folder, source, bad_episode_limit=0.5)


def cut(path, share=0.5):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def cut_behind_header(path):
    """A cut download of a file whose header comes first lacks its last frames."""
    write_video(path, DEMOS[1].video, movflags="faststart")
    cut(path, 0.7)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "is missing: there is no episode_000001.mp4"),
        (cut, "cannot be opened"),
        (cut_behind_header, r"has no frame for \d of 9 steps"),
        (lambda path: path.write_bytes(b""), "has zero bytes"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
        (lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"), "cannot be opened"),
        (
            lambda path: write_video(path, DEMOS[1].video[:6]),
            r"has no frame for 3 of 9 steps, the first at 0.600 s .* has 6 frames",
        ),
    ],
)
def test_a_bad_video_makes_its_episode_bad(folder, caplog, damage, reason):
    damage(v2_video(folder, 1))
    for _ in range(2):
        caplog.clear()
        dataset = opened(folder)
        assert dataset.lengths.tolist() == [8, 10]
        (message,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert "(episode 1 in episode_000001.parquet)" in message
        with pytest.raises(ValueError, match=reason):
            LeRobotDataset(folder, LEROBOT_SOURCE)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "is missing"),
        (cut, "cannot be opened"),
        (lambda path: path.write_bytes(b"PAR1" + bytes(40) + b"PAR1"), "cannot be opened"),
        (
            lambda path: write_table(path, pq.read_table(path).slice(0, 5)),
            "has 5 rows of the episode 1, but the list of episodes says 9",
        ),
        (
            lambda path: write_table(path, pq.read_table(path).drop_columns(["timestamp"])),
            "has no column timestamp",
        ),
        (
            lambda path: write_table(path, pq.read_table(path).drop_columns(["action"])),
            "action is missing: episode_000001.parquet has no such column",
        ),
        (
            lambda path: replace_column(path, "action", [[1.0, 2.0]] * 9),
            "action holds 18 values, not 3 for every step",
        ),
        (lambda path: replace_column(path, "action", [None] * 9), "has steps without a value"),
        (lambda path: replace_column(path, "action", ["a"] * 9), "values, not 3|holds string"),
        (
            lambda path: replace_column(path, "action", [[1.0, 2.0, float("nan")]] * 9),
            "has values that are not finite",
        ),
        (
            lambda path: replace_column(path, "timestamp", [float("nan")] * 9),
            "times of its steps are not finite",
        ),
    ],
)
def test_a_bad_table_makes_its_episode_bad(folder, damage, reason):
    damage(v2_table(folder, 1))
    assert opened(folder).lengths.tolist() == [8, 10]
    with pytest.raises(ValueError, match=reason):
        LeRobotDataset(folder, LEROBOT_SOURCE)


def replace_column(path, name, values):
    table = pq.read_table(path)
    index = table.column_names.index(name)
    write_table(path, table.set_column(index, name, pa.array(values)))


def test_a_camera_that_is_not_used_may_be_missing(folder):
    def add(info):
        info["features"]["observation.images.wrist"] = info["features"][CAMERA]

    change_json(folder / "meta/info.json", add)
    dataset = LeRobotDataset(folder, LEROBOT_SOURCE)
    assert set(dataset[0].images) == {"primary"}
    source = replace(LEROBOT_SOURCE, cameras={"wrist": "observation.images.wrist"})
    with pytest.raises(ValueError, match=r"observation.images.wrist is missing"):
        LeRobotDataset(folder, source)


def test_paths_of_pictures_are_no_pictures(tmp_path):
    write_v2(tmp_path, DEMOS, images="image")
    for number, demo in enumerate(DEMOS):
        pictures = [{"bytes": None, "path": "a.png"}] * len(demo.video)
        replace_column(v2_table(tmp_path, number), CAMERA, pictures)
    with pytest.raises(ValueError, match="3 of 3 episodes"):
        LeRobotDataset(tmp_path, LEROBOT_SOURCE)


def test_large_videos_are_refused_before_they_are_decoded(folder):
    windows = WindowDataset(
        opened(folder), range(3), num_frames=2, image_size=(8, 8), max_image_pixels=200
    )
    with pytest.raises(BadEpisodeError, match=r"16 x 16 pixels, above data.max_image_pixels=200"):
        windows.whole_episode(0)


def test_frames_that_turn_out_damaged_skip_the_episode(folder):
    dataset = opened(folder)
    path = v2_video(folder, 0)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    data[start : start + len(data) // 3] = bytes(len(data) // 3)
    path.write_bytes(data)
    windows = WindowDataset(dataset, range(3), num_frames=2, image_size=(8, 8), cache_mb=0)
    assert windows[0].episode_id == dataset.episode_ids[1]
    assert len(dataset.bad_episodes) == 1


@pytest.mark.parametrize("write", [write_v2, write_v3])
def test_times_are_matched_within_half_a_period(tmp_path, write):
    rng = np.random.default_rng(0)
    times = np.arange(9) / FPS
    times[1:] += rng.uniform(-0.04, 0.04, 8)
    demos = [make_demo(9, seed=i, times=times if i == 1 else None) for i in range(3)]
    dataset = opened(write(tmp_path / "demos", demos))
    windows = WindowDataset(dataset, range(3), num_frames=9, image_size=(16, 16))
    np.testing.assert_array_equal(windows[1].video, demos[1].video)
    index = build_lerobot_index(open_lerobot_schema(tmp_path / "demos"), keys=[CAMERA])
    largest = pytest.approx(np.abs(times - np.arange(9) / FPS).max(), abs=1e-6)
    assert index.jitter_s == {CAMERA: largest, "timestamp": largest}


def test_a_time_behind_the_last_frame_is_bad(tmp_path):
    times = np.arange(9) / FPS
    times[-1] += 0.06
    folder = write_v2(tmp_path, [*DEMOS, make_demo(9, seed=5, times=times)])
    assert len(opened(folder)) == 3
    with pytest.raises(ValueError, match=r"has no frame for 1 of 9 steps, the first at 0.860 s"):
        LeRobotDataset(folder, LEROBOT_SOURCE)


def test_columns_that_are_not_used_may_lack_values(folder):
    for number, demo in enumerate(DEMOS):
        table = pq.read_table(v2_table(folder, number))
        remark = pa.array([None, "a", *[None] * (len(demo.video) - 2)])
        write_table(v2_table(folder, number), table.append_column("remark", remark))
    assert len(LeRobotDataset(folder, LEROBOT_SOURCE)) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codebase_version": "v1.6"}, "says codebase_version 'v1.6'; genie_robo reads v2.0"),
        ({"codebase_version": None}, "says codebase_version 'None'"),
        ({"fps": 0}, "says fps=0"),
        ({"fps": "30"}, "says fps='30'"),
        ({"fps": 1e9}, "says fps="),
        ({"features": {}}, "describes no features"),
        ({"features": [1]}, "describes no features"),
        ({"data_path": None}, "lacks data_path"),
        ({"data_path": "../{episode_index}.parquet"}, "not a file in the dataset's folder"),
        ({"data_path": "/etc/passwd"}, "not a file in the dataset's folder"),
        ({"video_path": "a/../../{video_key}"}, "not a file in the dataset's folder"),
        ({"video_path": "a\\b"}, "not a file in the dataset's folder"),
        ({"video_path": "a\x00b"}, "not a file in the dataset's folder"),
        ({"data_path": "{other}.parquet"}, r"has the unknown field \{other\}"),
        ({"chunks_size": 0}, "says chunks_size=0"),
    ],
)
def test_hostile_info(folder, change, message):
    change_json(folder / "meta/info.json", lambda info: info.update(change))
    with pytest.raises(ValueError, match=message):
        opened(folder)


def test_templates_are_no_formats(folder):
    template = "{episode_index.__class__.__init__}{0!r}{episode_index:999999999d}"
    change_json(folder / "meta/info.json", lambda info: info.update(data_path=template))
    with pytest.raises(ValueError, match="3 of 3 episodes"):
        opened(folder)


def test_a_key_that_leads_out_of_the_folder(folder):
    def rename(info):
        info["features"]["../../../x"] = info["features"].pop(CAMERA)

    change_json(folder / "meta/info.json", rename)
    with pytest.raises(ValueError, match="not a file in the dataset's folder"):
        opened(folder, camera="../../../x")


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        (3, "its type 'nothing' is unknown"),
        ({"dtype": "float32", "shape": ["a"]}, "its shape is not a list of positive numbers"),
        ({"dtype": "float32", "shape": [0]}, "its shape is not a list of positive numbers"),
        ({"dtype": "complex64", "shape": [3]}, "its type 'complex64' is unknown"),
        ({"dtype": "image", "shape": [3]}, "it is no colour image"),
    ],
)
def test_columns_that_cannot_be_read_are_refused_where_they_are_used(folder, described, reason):
    change_json(folder / "meta/info.json", lambda i: i["features"].update(extra=described))
    assert opened(folder).features["extra"].why_unreadable == reason
    action = replace(LEROBOT_SOURCE.action, joints="extra[0:3]")
    with pytest.raises(ValueError, match=reason):
        opened(folder, action=action)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "is damaged in line 4"),
        ("[1]", "is damaged in line 4: it is no object"),
        ('{"episode_index": -1, "length": 3}', "has episode_index=-1"),
        ('{"episode_index": 4}', "has length=None"),
        ("[" * 100_000, "is damaged in line 4"),
    ],
)
def test_a_damaged_list_of_episodes(folder, line, message):
    with (folder / "meta/episodes.jsonl").open("a") as file:
        file.write(line)
    with pytest.raises(ValueError, match=message):
        opened(folder)


@pytest.mark.parametrize("name", ["meta/episodes.jsonl", "meta/info.json"])
def test_missing_metadata(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError):
        opened(folder)


def test_no_episodes(folder):
    (folder / "meta/episodes.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="holds no episodes"):
        opened(folder)


@pytest.mark.parametrize("start", [float("nan"), -1.0, None])
def test_v3_with_a_damaged_list_of_episodes(tmp_path, start):
    folder = write_v3(tmp_path, DEMOS)
    replace_column(folder / V3_EPISODES, f"videos/{CAMERA}/from_timestamp", [0.0, start, 1.7])
    with pytest.raises(ValueError, match="starts at"):
        opened(folder)
    shutil.rmtree(folder / "meta/episodes")
    with pytest.raises(FileNotFoundError, match="complete the download"):
        opened(folder)


def test_v3_with_a_cut_video_keeps_the_episodes_that_are_there(tmp_path):
    folder = write_v3(tmp_path, DEMOS)
    video = np.concatenate([demo.video for demo in DEMOS])[:20]
    write_video(folder / V3_VIDEO, video)
    assert opened(folder).lengths.tolist() == [8, 9]


def test_tables_that_announce_too_much(folder, monkeypatch):
    monkeypatch.setattr("genie_robo.data.parquet._MAX_BYTES", 100)
    with pytest.raises(ValueError, match="above 100"):
        opened(folder)
    monkeypatch.setattr("genie_robo.data.parquet._MAX_ROWS", 5)
    with pytest.raises(ValueError, match="rows"):
        LeRobotDataset(write_v2(folder.parent / "other", DEMOS), LEROBOT_SOURCE)


def test_nothing_outside_the_folder_is_written(folder, cache_home):
    before = sorted(folder.rglob("*"))
    opened(folder)
    assert sorted(folder.rglob("*")) == before
    assert json.loads(next((cache_home / "genie_robo").iterdir()).read_text())["episodes"]
