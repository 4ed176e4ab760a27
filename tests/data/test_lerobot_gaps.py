"""Windows of episodes in which time is missing, such as rows that were left out."""

import numpy as np
import pytest
from lerobot_files import FPS, LEROBOT_SOURCE, make_demo, v2_video, write_v2, write_video

from genie_robo.data.lerobot import LeRobotDataset
from genie_robo.data.windows import WindowDataset


def missing(demo, steps):
    """A recording of which some rows were left out, and their frames."""
    kept = np.setdiff1d(np.arange(len(demo.video)), steps)
    return demo._replace(
        video=demo.video[kept],
        state=demo.state[kept],
        action=demo.action[kept],
        times=kept / FPS,
    )


@pytest.fixture
def dataset(tmp_path) -> LeRobotDataset:
    """20 steps without a gap, 16 with 10 s missing behind step 6, and 20 less one row."""
    whole = make_demo(20, seed=0)
    cut = make_demo(16, seed=1)
    jump = np.arange(16) / FPS
    jump[7:] += 10
    demos = [whole, cut._replace(times=jump), missing(make_demo(20, seed=2), [12])]
    return LeRobotDataset(write_v2(tmp_path, demos, images="image"), LEROBOT_SOURCE)


def starts(windows):
    return [windows[k].start for k in range(len(windows))]


def test_no_window_has_a_gap_inside(dataset):
    assert dataset.gaps == ((), (6,), (11,))
    windows = WindowDataset(dataset, range(3), num_frames=3, image_size=(8, 8), frame_stride=2)
    expected = [*range(16), *range(3), *range(7, 12), *range(8), *range(12, 15)]
    assert starts(windows) == expected
    assert not any(windows[k].is_pad.any() for k in range(len(windows)))


def test_the_longest_part_gives_a_window_where_all_are_short(dataset):
    windows = WindowDataset(dataset, [1], num_frames=12, image_size=(8, 8))
    (window,) = (windows[k] for k in range(len(windows)))
    assert window.start == 7
    assert window.is_pad.tolist() == [False] * 9 + [True] * 3
    np.testing.assert_array_equal(window.video[9:], np.repeat(window.video[8:9], 3, axis=0))
    assert not window.robot_actions[8:].any()
    assert window.robot_actions[:8].any(axis=1).all()


def test_whole_episodes_keep_their_gaps(dataset):
    windows = WindowDataset(dataset, range(3), num_frames=3, image_size=(8, 8))
    assert [len(windows.whole_episode(e).video) for e in range(3)] == [20, 16, 19]


def test_windows_without_gaps_have_the_fingerprint_of_before(dataset):
    def windows(episodes):
        return WindowDataset(dataset, episodes, num_frames=3, image_size=(8, 8))

    before = windows([0]).fingerprint, windows([1]).fingerprint
    dataset.gaps = ((), (), ())
    assert windows([0]).fingerprint == before[0]
    assert windows([1]).fingerprint != before[1]


def test_a_video_with_all_its_frames_shows_those_of_the_rows(tmp_path):
    demo = make_demo(20, seed=2)
    rows = missing(demo, [12])
    folder = write_v2(tmp_path, [rows])
    write_video(v2_video(folder, 0), demo.video)
    dataset = LeRobotDataset(folder, LEROBOT_SOURCE)
    windows = WindowDataset(dataset, [0], num_frames=19, image_size=(16, 16))
    np.testing.assert_array_equal(windows.whole_episode(0).video, rows.video)
    assert dataset.gaps == ((11,),)
