"""Frames of videos by random access."""

import av
import numpy as np
import pytest
from lerobot_files import FPS, make_demo, write_video

from genie_robo.data import video as video_module
from genie_robo.data.transforms import decode_frames, stored_size
from genie_robo.data.video import scan_video
from genie_robo.types import VideoFrame

NUM_FRAMES = 60
VIDEO = make_demo(NUM_FRAMES, size=(32, 48)).video
CODECS = {
    "lossless": {},
    "h264": {"codec": "libx264", "preset": "ultrafast"},
    "h264 with b frames": {"codec": "libx264", "preset": "medium", "bf": "3", "gop": 12},
    "h264 with open groups": {
        "codec": "libx264",
        "preset": "medium",
        "x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0",
        "gop": 12,
    },
    "av1": {"codec": "libsvtav1", "preset": "12", "gop": 8},
}


@pytest.fixture(params=CODECS)
def file(request, tmp_path):
    path = tmp_path / "video.mp4"
    write_video(path, VIDEO, **CODECS[request.param])
    return path


def decode_all(path):
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def frames_of(path, steps):
    return [VideoFrame(path, step / FPS, 0.5 / FPS) for step in steps]


def num_decoded(path):
    return video_module._opened(path, 10**6).num_decoded


def pixels(path, steps):
    return decode_frames(frames_of(path, steps), image_size=None, max_pixels=10**6)


@pytest.mark.parametrize(
    "steps",
    [
        range(NUM_FRAMES),
        range(0, NUM_FRAMES, 7),
        range(40, 56),
        [5, 4, 30, 30, 59, 0],
        np.random.default_rng(0).permutation(NUM_FRAMES).tolist(),
    ],
)
def test_every_order_gives_the_frames_of_a_whole_pass(file, steps):
    np.testing.assert_array_equal(pixels(file, steps), decode_all(file)[list(steps)])


def test_a_window_decodes_few_frames(tmp_path):
    path = tmp_path / "video.mp4"
    write_video(path, VIDEO, gop=5)
    np.testing.assert_array_equal(pixels(path, range(41, 49)), VIDEO[41:49])
    assert num_decoded(path) <= 8 + 4
    pixels(path, range(49, 53))  # goes on where it was
    assert num_decoded(path) <= 12 + 4
    pixels(path, [0, 30, 59])
    assert num_decoded(path) <= 16 + 3 * 5


def test_the_size_is_known_before_anything_is_decoded(file):
    (frame,) = frames_of(file, [3])
    assert stored_size(frame, max_pixels=10**6) == (32, 48)
    assert num_decoded(file) == 0
    with pytest.raises(ValueError, match="has 48 x 32 pixels"):
        decode_frames([frame], image_size=(8, 8), max_pixels=1000)


def test_pictures_and_videos_can_be_mixed(tmp_path):
    one, other = tmp_path / "one.mp4", tmp_path / "other.mp4"
    write_video(one, VIDEO[:9])
    write_video(other, VIDEO[9:])
    mixed = [*frames_of(one, [3, 8]), *frames_of(other, [0]), *frames_of(one, [3])]
    found = decode_frames(mixed, image_size=None, is_bgr=True)
    np.testing.assert_array_equal(found, VIDEO[[3, 8, 9, 3]][..., ::-1])


def test_a_scan_decodes_nothing_and_sees_all_frames(file):
    scanned = scan_video(file)
    np.testing.assert_allclose(scanned.times_s, np.arange(NUM_FRAMES) / FPS, atol=1e-4)
    assert len(scanned.digests) == NUM_FRAMES
    assert scanned.problem == ""


def test_a_time_without_a_frame(file):
    for step in (NUM_FRAMES + 1, -3):
        with pytest.raises(ValueError, match="the image of step 0 cannot be decoded"):
            pixels(file, [step])
    np.testing.assert_array_equal(pixels(file, [7]), decode_all(file)[[7]])


def test_other_containers_and_codecs_are_refused(tmp_path):
    path = tmp_path / "video.mp4"
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(VIDEO[0], format="rgb24")))
        container.mux(stream.encode())
    with pytest.raises(ValueError, match="cannot be opened"):
        scan_video(path)
    write_video(path, VIDEO[:3], codec="mpeg2video")
    with pytest.raises(
        ValueError, match=r"has a video of the codec mpeg2video; genie_robo reads av1"
    ):
        scan_video(path)
    with pytest.raises(ValueError, match=r"the video gone.mp4 is missing"):
        decode_frames(frames_of(tmp_path / "gone.mp4", [0]), image_size=(8, 8))
