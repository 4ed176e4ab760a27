"""Images that are not what a model takes are named, with what to do."""

import numpy as np
import pytest
import torch

from genie_robo.api.arrays import FrameSize, read_prompts, read_videos, to_numpy
from genie_robo.data.settings import Resize

SIZE = FrameSize((16, 32), Resize.stretch)
VIDEO = np.full((3, 20, 24, 3), 100, np.uint8)


@pytest.mark.parametrize(
    ("video", "reason"),
    [
        (VIDEO.astype(np.float32), r"floating-point pixels from 100 to 100; wanted 0 to 1.*/ 255"),
        (
            VIDEO / 255 * 2 - 1.5,
            r"from -0.716 to -0.716; wanted 0 to 1, so perhaps \(video \+ 1\) / 2",
        ),
        (np.moveaxis(VIDEO, -1, 1), r"channels come first: np.moveaxis\(video, -3, -1\)"),
        (np.moveaxis(VIDEO, -1, 1)[None], "channels come first"),
        (VIDEO[..., :1], r"\(3, 20, 24, 1\).*three channels last; convert the images to RGB"),
        (VIDEO[..., [0, 1, 2, 2]], "convert the images to RGB"),
        (VIDEO[0], r"shape \(20, 24, 3\); wanted \(t h w 3\) or \(b t h w 3\)"),
        (VIDEO[None, None], "wanted"),
        (VIDEO[:1], "has 1 frame of shape .* give at least 2 frames"),
        (VIDEO[None, :1], "give at least 2 frames"),
        (VIDEO[:0], "wanted"),
        (VIDEO[:, :3], "images of 3x24 pixels; .* at least 8 pixels"),
        (np.where(np.arange(3) == 1, np.nan, VIDEO / 255), "1440 pixels that are no number"),
        (VIDEO / 255 * np.inf, "no number"),
    ],
)
def test_another_layout_or_range_is_a_value_error(video, reason):
    with pytest.raises(ValueError, match=reason):
        read_videos(video, SIZE)


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [(np.int64, "int64"), (np.uint16, "uint16"), (bool, "bool"), (np.complex64, "complex64")],
)
def test_another_type_is_a_type_error(dtype, reason):
    with pytest.raises(TypeError, match=rf"video has the type {reason}; give uint8 from 0 to 255"):
        read_videos(VIDEO.astype(dtype), SIZE)


def test_no_array_is_a_type_error():
    with pytest.raises(TypeError):
        read_videos(VIDEO.tolist(), SIZE)
    with pytest.raises(TypeError, match="lists of equal lengths"):
        to_numpy([object()], "codes")


def test_floats_are_rounded_to_bytes_and_rounding_errors_are_allowed():
    rows, is_batch = read_videos(np.full((2, 16, 32, 3), 1 + 1e-6), SIZE)
    assert (rows.shape, rows.dtype, is_batch) == ((1, 2, 16, 32, 3), np.uint8, False)
    assert (rows == 255).all()
    half = torch.full((1, 2, 16, 32, 3), 0.5, dtype=torch.bfloat16, requires_grad=True)
    rows, is_batch = read_videos(half, SIZE)
    assert is_batch
    assert (rows == 128).all()


def test_prompts_are_one_a_batch_or_a_batch_of_several_frames():
    for given, shape, is_batch in (
        (VIDEO[0], (1, 1), False),
        (VIDEO, (3, 1), True),
        (VIDEO[None], (1, 3), True),
    ):
        rows = read_prompts(given, SIZE)
        assert rows.values.shape == (*shape, 16, 32, 3)
        assert rows.is_batch == is_batch
    with pytest.raises(ValueError, match=r"frame has the shape \(20, 24\); wanted \(h w 3\) or"):
        read_prompts(VIDEO[0, :, :, 0], SIZE)


def test_images_are_resized_by_the_rule():
    image = np.zeros((2, 20, 20, 3), np.uint8)
    image[:, 4:16] = 255  # a crop to 1 : 2 keeps rows 5 to 15
    cropped, boxed = (
        read_videos(image, FrameSize((16, 32), rule)).values
        for rule in (Resize.crop, Resize.letterbox)
    )
    assert (cropped == 255).all()
    assert (boxed[..., :8, :] == 0).all()
    assert boxed.mean() < 255 / 2
