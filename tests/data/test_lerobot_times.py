"""Which frame of a video a step gets: the nearest in time, and of its own episode."""

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

from genie_robo.data.dataset import EpisodeDataset
from genie_robo.data.lerobot import LeRobotDataset
from genie_robo.data.transforms import decode_frames
from genie_robo.data.video import ScannedVideo
from genie_robo.types import VideoFrame


def frames(dataset: EpisodeDataset, i: int = 0) -> np.ndarray:
    return decode_frames(dataset[i].images["primary"], image_size=None)


def at_rate(folder, fps):
    change_json(folder / "meta/info.json", lambda info: info.update(fps=fps))


def set_times(file, times):
    table = pq.read_table(file)
    place = table.column_names.index("timestamp")
    write_table(file, table.set_column(place, "timestamp", pa.array(times, pa.float32())))


def set_episodes(folder, name, values):
    table = pq.read_table(folder / V3_EPISODES)
    place = table.column_names.index(name)
    write_table(folder / V3_EPISODES, table.set_column(place, name, pa.array(values)))


def test_frames_that_have_the_uneven_times_of_the_steps(tmp_path):
    times = np.array([0, 0.033, 0.045, 0.100])
    demo = make_demo(4, times=times)
    folder = write_v2(tmp_path, [demo])
    at_rate(folder, 30)
    write_video(v2_video(folder, 0), demo.video, times=times)
    np.testing.assert_array_equal(frames(LeRobotDataset(folder, LEROBOT_SOURCE)), demo.video)


@pytest.mark.parametrize(("rate", "fps"), [(30, 10), (60, 30), (50, 10), (20, 10)])
@pytest.mark.parametrize("write", [write_v2, write_v3])
def test_a_video_with_more_frames_than_steps(tmp_path, write, rate, fps):
    demos = [make_demo(9, seed=seed, times=np.arange(9) / fps) for seed in range(2)]
    folder = write(tmp_path, demos)
    at_rate(folder, fps)
    shown = [np.repeat(demo.video, rate // fps, axis=0) for demo in demos]
    for video in shown:  # in between, frames that no step has
        video[np.arange(len(video)) % (rate // fps) > 0] //= 2
    if write is write_v3:
        for name, first in (("from_timestamp", 0), ("to_timestamp", 1)):
            values = (first + np.arange(2)) * 9 / fps
            set_episodes(folder, f"videos/{CAMERA}/{name}", values)
        write_video(folder / V3_VIDEO, np.concatenate(shown), rate=rate)
    else:
        for number, video in enumerate(shown):
            write_video(v2_video(folder, number), video, rate=rate)
    dataset = LeRobotDataset(folder, LEROBOT_SOURCE)
    for i, demo in enumerate(demos):
        np.testing.assert_array_equal(frames(dataset, i), demo.video)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(-1, 0), (0, 0), (0.049, 0), (0.06, 1), (0.1, 1), (0.29, 3), (0.3, 3), (9, 3), (0.15, 1)],
)
def test_the_nearest_frame_of_a_scan(wanted, expected):
    video = ScannedVideo(np.array([0, 0.1, 0.2, 0.3]), tuple("abcd"), "")
    assert video.nearest(np.array([float(wanted)])).tolist() == [expected]
    one = ScannedVideo(np.array([0.1]), ("a",), "")
    assert one.nearest(np.array([float(wanted)])).tolist() == [0]


def test_a_decoder_takes_the_frames_that_a_scan_finds(tmp_path):
    rng = np.random.default_rng(0)
    times = (np.arange(40) + rng.uniform(-0.45, 0.45, 40)).clip(0) / FPS
    demo = make_demo(40)
    write_video(tmp_path / "video.mp4", demo.video, times=times, gop=6)
    wanted = np.sort(rng.uniform(0, 4, 60))
    nearest = np.abs(times[:, None] - wanted).argmin(axis=0)
    near = np.abs(times[nearest] - wanted) < 0.1
    for order in (np.flatnonzero(near), rng.permutation(np.flatnonzero(near))):
        stored = [VideoFrame(tmp_path / "video.mp4", wanted[i], 0.1) for i in order]
        np.testing.assert_array_equal(
            decode_frames(stored, image_size=None), demo.video[nearest[order]]
        )


def test_frames_of_the_next_episode_are_not_taken(tmp_path):
    demos = [make_demo(9, seed=seed) for seed in range(3)]
    folder = write_v3(tmp_path, demos)
    cut = [demos[0].video[:7], demos[1].video, demos[2].video]
    write_video(folder / V3_VIDEO, np.concatenate(cut))
    starts, stops = np.array([0, 0.7, 1.6]), np.array([0.7, 1.6, 2.5])
    set_episodes(folder, f"videos/{CAMERA}/from_timestamp", starts)
    set_episodes(folder, f"videos/{CAMERA}/to_timestamp", stops)
    with pytest.raises(ValueError, match=r"has no frame for 2 of 9 steps, the first at 0.700 s"):
        LeRobotDataset(folder, LEROBOT_SOURCE)
    dataset = LeRobotDataset(folder, LEROBOT_SOURCE, bad_episode_limit=0.5)
    for i in range(2):
        np.testing.assert_array_equal(frames(dataset, i), demos[i + 1].video)


def test_an_episode_without_its_end_is_read(tmp_path):
    demos = [make_demo(9, seed=seed) for seed in range(2)]
    folder = write_v3(tmp_path, demos)
    name = f"videos/{CAMERA}/to_timestamp"
    table = pq.read_table(folder / V3_EPISODES)
    write_table(folder / V3_EPISODES, table.drop_columns([name]))
    without = LeRobotDataset(folder, LEROBOT_SOURCE)
    write_table(folder / V3_EPISODES, table)
    set_episodes(folder, name, [None, 1.8])
    assert LeRobotDataset(folder, LEROBOT_SOURCE).episode_ids == without.episode_ids
    np.testing.assert_array_equal(frames(without, 1), demos[1].video)
    set_episodes(folder, name, [0.9, float("nan")])
    with pytest.raises(ValueError, match=f"stops at nan s of {CAMERA}"):
        LeRobotDataset(folder, LEROBOT_SOURCE)


@pytest.mark.parametrize(
    "times", [np.zeros(9), np.repeat(np.arange(5) / FPS, 2)[:9], np.arange(9)[::-1] / FPS]
)
def test_times_that_do_not_increase(tmp_path, times):
    folder = write_v2(tmp_path / "videos", [make_demo(9, times=times)])
    with pytest.raises(ValueError, match=f"{CAMERA} cannot be used: the times of its steps"):
        LeRobotDataset(folder, LEROBOT_SOURCE)
    folder = write_v2(tmp_path / "images", [make_demo(9, times=times)], images="image")
    assert LeRobotDataset(folder, LEROBOT_SOURCE).lengths.tolist() == [9]


def test_images_need_no_times(tmp_path):
    folder = write_v2(tmp_path, [make_demo(9)], images="image")
    table = pq.read_table(v2_table(folder, 0))
    write_table(v2_table(folder, 0), table.drop_columns(["timestamp"]))
    assert LeRobotDataset(folder, LEROBOT_SOURCE).lengths.tolist() == [9]


def test_a_video_that_is_not_used_needs_no_times(tmp_path):
    folder = write_v2(tmp_path, [make_demo(9, times=np.zeros(9))], images="image")

    def add(info):
        info["features"]["observation.images.wrist"] = info["features"][CAMERA] | {"dtype": "video"}

    change_json(folder / "meta/info.json", add)
    assert LeRobotDataset(folder, LEROBOT_SOURCE).lengths.tolist() == [9]
    source = replace(LEROBOT_SOURCE, cameras={"wrist": "observation.images.wrist"})
    with pytest.raises(ValueError, match="wrist cannot be used"):
        LeRobotDataset(folder, source)


def test_a_clock_that_is_slower_than_the_video(tmp_path):
    """As many frames as steps, but the times make another assignment than their order."""
    folder = write_v2(tmp_path, [make_demo(60, times=np.arange(60) / (FPS * 1.01))])
    with pytest.raises(ValueError, match=r"as many frames as steps, but by their times the steps"):
        LeRobotDataset(folder, LEROBOT_SOURCE)
    set_times(v2_table(folder, 0), np.arange(60) / (FPS * 0.99))
    with pytest.raises(ValueError, match=r"has no frame for \d of 60 steps"):
        LeRobotDataset(folder, LEROBOT_SOURCE)
