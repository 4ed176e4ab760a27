import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rlds_files import encode_image, grey

from genie_robo.data.settings import Resize
from genie_robo.data.transforms import decode_frames, resize_frame, stored_size

SIZE = (64, 64)


def gradient(height: int, width: int) -> np.ndarray:
    """Red grows to the right, green downwards, blue is constant."""
    y, x = np.mgrid[:height, :width]
    red, green = 255 * x / (width - 1), 255 * y / (height - 1)
    return np.stack([red, green, np.full_like(red, 40)], axis=-1).round().astype(np.uint8)


def test_png_of_the_right_size_is_exact():
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    encoded = [encode_image(frame).getvalue() for frame in frames]
    np.testing.assert_array_equal(decode_frames(encoded, image_size=SIZE), frames)


def test_jpeg_of_the_right_size_is_what_pillow_decodes():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    encoded = encode_image(noise, "JPEG")
    (frame,) = decode_frames([encoded.getvalue()], image_size=SIZE)
    np.testing.assert_array_equal(frame, np.asarray(Image.open(encoded)))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA"])
def test_other_png_modes_become_rgb(mode):
    level = 102  # in the web palette
    file = io.BytesIO()
    Image.fromarray(grey(level, SIZE)).convert(mode).save(file, "PNG")
    frames = decode_frames([file.getvalue()], image_size=SIZE)
    np.testing.assert_array_equal(frames[0], grey(level, SIZE))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(192, 320), (256, 256), (48, 40), (67, 65)])
def test_stretching_keeps_colours_where_they_are(kind, size):
    encoded = encode_image(gradient(*size), kind).getvalue()
    (frame,) = decode_frames([encoded], image_size=SIZE)
    difference = np.abs(frame.astype(int) - gradient(*SIZE))
    assert difference.mean() < 3
    assert difference.max() <= 12


def test_jpeg_is_rgb_not_bgr():
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    (frame,) = decode_frames([encode_image(red, "JPEG").getvalue()], image_size=SIZE)
    assert frame[32, 32].tolist() == pytest.approx([200, 0, 0], abs=3)


def test_a_fine_pattern_does_not_alias():
    """Black and white columns, one pixel wide, become grey, not stripes."""
    stripes = np.zeros((192, 320, 3), np.uint8)
    stripes[:, ::2] = 255
    frame = resize_frame(stripes, image_size=SIZE, resize=Resize.stretch)
    assert frame.std() < 3
    assert frame.mean() == pytest.approx(127.5, abs=2)


def test_crop_takes_the_centre():
    wide = np.zeros((64, 192, 3), np.uint8)
    wide[:, 64:128] = 255
    np.testing.assert_array_equal(resize_frame(wide, image_size=SIZE, resize=Resize.crop), 255)
    tall = np.swapaxes(wide, 0, 1)
    np.testing.assert_array_equal(resize_frame(tall, image_size=SIZE, resize=Resize.crop), 255)


def test_letterbox_shows_everything_between_bars():
    frame = resize_frame(
        np.full((96, 192, 3), 255, np.uint8), image_size=SIZE, resize=Resize.letterbox
    )
    np.testing.assert_array_equal(frame[16:48], 255)
    np.testing.assert_array_equal(frame[:16], 0)
    np.testing.assert_array_equal(frame[48:], 0)


@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(Resize),
)
def test_any_size_becomes_the_wanted_one(height, width, to_height, to_width, resize):
    frame = resize_frame(
        grey(128, (height, width)), image_size=(to_height, to_width), resize=resize
    )
    assert frame.shape == (to_height, to_width, 3)
    if resize is not Resize.letterbox:
        assert (frame == 128).all()


def test_no_frames():
    assert decode_frames([], image_size=SIZE).shape == (0, 64, 64, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_that_cannot_be_decoded_is_named(kind):
    rng = np.random.default_rng(0)
    good = encode_image(rng.integers(0, 256, (64, 64, 3), np.uint8), kind).getvalue()
    with pytest.raises(ValueError, match="the image of step 1 cannot be decoded"):
        decode_frames([good, good[: len(good) // 2]], image_size=SIZE)
    with pytest.raises(ValueError, match="the image of step 0 cannot be decoded"):
        decode_frames([b"no image"], image_size=SIZE)


@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG"]))
def test_damaged_images_never_fail_in_another_way(data, kind):
    good = encode_image(gradient(32, 48), kind).getvalue()
    position = data.draw(st.integers(0, len(good) - 1))
    damaged = good[:position] + data.draw(st.binary(max_size=4)) + good[position + 1 :]
    try:
        frames = decode_frames([damaged], image_size=(16, 16))
    except ValueError:
        return
    assert frames.shape == (1, 16, 16, 3)


def test_swapped_colours_are_put_right():
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    stored = encode_image(red[..., ::-1].copy()).getvalue()
    (frame,) = decode_frames([stored], image_size=None, is_bgr=True)
    np.testing.assert_array_equal(frame, red)


def test_images_keep_their_size_on_demand():
    stored = encode_image(np.zeros((5, 7, 3), np.uint8)).getvalue()
    assert decode_frames([stored, stored], image_size=None).shape == (2, 5, 7, 3)
    assert stored_size(stored) == (5, 7)
    with pytest.raises(ValueError, match="the image of step 0 cannot be decoded"):
        stored_size(b"no image")
