"""Camera pictures in a recording: exact when small, JPEG when large, and how two differ."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import rerun as rr
import simplejpeg
from jaxtyping import Float, UInt8

SMALLEST_JPEG = 128
"""Pixels of the longer side from which frames are stored as JPEG; below, its error would be as
large as the model's."""
JPEG_QUALITY = 90
FULL_DIFFERENCE = 96.0
"""Mean absolute difference (of 255) that the brightest colour of the heat map stands for."""
_SMOOTH = rr.components.MagnificationFilter.Bicubic
_ENCODINGS = (b"\xff\xd8", b"\x89PNG")
"""How JPEG and PNG begin."""


def log_video(
    recording: rr.RecordingStream,
    path: str,
    video: UInt8[np.ndarray, "t h w c"],
    times: list[rr.TimeColumn],
) -> None:
    """Log one RGB frame per time."""
    height, width = video.shape[1:3]
    if max(height, width) >= SMALLEST_JPEG:
        log_encoded(
            recording,
            path,
            [
                simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality=JPEG_QUALITY)
                for frame in video
            ],
            times,
        )
        return
    static = rr.Image.from_fields(
        format=rr.components.ImageFormat(
            width=width,
            height=height,
            color_model=rr.ColorModel.RGB,
            channel_datatype=rr.ChannelDatatype.U8,
        ),
        magnification_filter=_SMOOTH,
    )
    recording.log(path, static, static=True)
    columns = rr.Image.columns(buffer=video.reshape(len(video), -1))
    recording.send_columns(path, times, columns)


def log_encoded(
    recording: rr.RecordingStream, path: str, frames: Sequence[bytes], times: list[rr.TimeColumn]
) -> None:
    """Log frames that are JPEG or PNG already, byte for byte.

    Raises:
        ValueError: a frame is neither.
    """
    for index, frame in enumerate(frames):
        if not frame.startswith(_ENCODINGS):
            raise ValueError(
                f"frame {index} of {path} is neither JPEG nor PNG: it begins with "
                f"{frame[:4]!r}; is the source's camera key an image?"
            )
    recording.log(path, rr.EncodedImage.from_fields(magnification_filter=_SMOOTH), static=True)
    recording.send_columns(path, times, rr.EncodedImage.columns(blob=frames))


def difference(
    true: UInt8[np.ndarray, "t h w c"], imagined: UInt8[np.ndarray, "t h w c"]
) -> Float[np.ndarray, "t h w"]:
    """Absolute difference per pixel, mean of the channels, in [0, 255]."""
    return np.abs(true.astype(np.float32) - imagined.astype(np.float32)).mean(axis=-1)


def heat_map(values: Float[np.ndarray, "t h w"], *, full: float) -> UInt8[np.ndarray, "t h w 3"]:
    """Colours from black at 0 to bright yellow at `full` and above."""
    colors = matplotlib.colormaps["inferno"](np.clip(values / full, 0.0, 1.0), bytes=True)
    return colors[..., :3]
