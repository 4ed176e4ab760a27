import subprocess
import sys

import av
import numpy as np
import pytest
from PIL import Image

from genie_robo.video_files import (
    GAP,
    HEADER_HEIGHT,
    LABEL_WIDTH,
    MIN_PANEL_SIDE,
    draw_strip,
    enlarge,
    equally_spaced,
    side_by_side,
    spread,
    write_mp4,
    write_png,
)


def test_mp4_plays_back_with_its_rate_and_colours(tmp_path):
    video = np.zeros((5, 16, 16, 3), np.uint8)
    video[..., 0] = 200
    path = tmp_path / "folder" / "v.mp4"
    write_mp4(path, video, fps=3.0)
    with av.open(str(path)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 3
    assert len(frames) == 5
    assert frames[0].shape == (256, 256, 3)
    assert np.abs(frames[2].reshape(-1, 3).mean(0) - [200, 0, 0]).max() < 12
    assert [p.name for p in path.parent.iterdir()] == ["v.mp4"]


def test_mp4_cuts_odd_sides_and_knows_no_rate(tmp_path):
    write_mp4(tmp_path / "v.mp4", np.zeros((2, 301, 303, 3), np.uint8), fps=0.0)
    with av.open(str(tmp_path / "v.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width, stream.average_rate) == (300, 302, 5)


def test_strip_puts_rows_under_one_another():
    red, blue = np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    sheet = draw_strip({"true": red, "imagined": blue}, headers=["t=0", "t=1"], min_side=16)
    assert sheet.size == (LABEL_WIDTH + 2 * (16 + GAP), HEADER_HEIGHT + 2 * (16 + GAP))
    assert sheet.getpixel((LABEL_WIDTH + 5, HEADER_HEIGHT + 5)) == (255, 0, 0)
    assert sheet.getpixel((LABEL_WIDTH + 16 + GAP + 5, HEADER_HEIGHT + 16 + GAP + 5)) == (0, 0, 255)


def test_a_long_label_is_not_cut():
    frames = np.zeros((1, 16, 16, 3), np.uint8)
    short, long = (
        np.asarray(draw_strip({label: frames}, headers=["t"], min_side=16))
        for label in ("a", "a-run-with-a-long-name-seed0")
    )

    assert long.shape[1] > short.shape[1]
    written = (long[HEADER_HEIGHT:, : -16 - GAP] < 128).all(-1).any(0).nonzero()[0]
    assert written[0] > 1


def test_png_is_written_whole(tmp_path):
    write_png(tmp_path / "a" / "p.png", Image.new("RGB", (3, 2), (1, 2, 3)))
    with Image.open(tmp_path / "a" / "p.png") as image:
        assert image.getpixel((0, 0)) == (1, 2, 3)
    assert len(list((tmp_path / "a").iterdir())) == 1


@pytest.mark.parametrize(("side", "expected"), [(64, 256), (48, 240), (300, 300)])
def test_enlarge_repeats_pixels(side, expected):
    video = np.arange(side * side, dtype=np.int64).astype(np.uint8).reshape(1, side, side, 1)
    large = enlarge(video, min_side=256)
    assert large.shape == (1, expected, expected, 1)
    assert (large[:, :: expected // side, :: expected // side] == video).all()


def test_spread_keeps_both_ends():
    assert spread(16, most=4) == [0, 5, 10, 15]
    assert spread(3, most=9) == [0, 1, 2]


def test_equal_frames_make_equal_bytes_on_any_number_of_cores(tmp_path):
    program = (
        "import os, sys\n"
        "os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[2])])\n"
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from genie_robo.video_files import write_mp4\n"
        "video = np.random.default_rng(0).integers(0, 256, (20, 37, 53, 3), np.uint8)\n"
        "write_mp4(Path(sys.argv[1]), video, fps=3.0)\n"
    )
    for name, num_cores in (("one", "1"), ("two", "2")):
        words = [sys.executable, "-c", program, str(tmp_path / f"{name}.mp4"), num_cores]
        subprocess.run(words, check=True)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


@pytest.mark.parametrize(("count", "most"), [(16, 9), (40, 8), (11, 9), (3, 9), (1, 9)])
def test_frames_of_a_strip_are_equally_far_apart(count, most):
    shown = equally_spaced(count, most=most)
    assert shown[0] == 0
    assert len(set(np.diff(shown))) <= 1
    assert count - shown[-1] <= -(-count // most), "the rest would have room for another frame"
    assert len(shown) <= most


def test_videos_side_by_side_have_labels_above():
    videos = {name: np.full((2, 8, 8, 3), value, np.uint8) for value, name in enumerate("abc")}
    sheet = side_by_side(videos, columns=2)
    side = MIN_PANEL_SIDE
    assert sheet.shape == (2, 2 * (HEADER_HEIGHT + side) + GAP, 2 * side + GAP, 3)
    below = HEADER_HEIGHT + side + GAP
    for value, (x, y) in enumerate(((0, 0), (side + GAP, 0), (0, below))):
        top = y + HEADER_HEIGHT
        assert (sheet[:, top : top + side, x : x + side] == value).all()
        assert (sheet[:, y:top, x : x + side] < 128).any(), "a label is written in dark letters"
        assert (sheet[:, y:top, x : x + side] == 255).any()
    assert (sheet[:, below:, side + GAP :] == 255).all()
