"""Images and heat maps in a recording."""

from collections.abc import Iterable, Sequence

import matplotlib
import numpy as np
import rerun as rr
import simplejpeg
from jaxtyping import Float, UInt8

from genie_robo.viz.recording import Times, log_columns

SMALLEST_JPEG = 128
"""Pixels of the longer side from which frames are stored as JPEG; on smaller ones the JPEG error
would be as large as the model's."""
JPEG_QUALITY = 90
HEAT_MAP_QUALITY = 70
"""Lower: the hard edges of heat maps cost the most bytes and carry little information."""
FULL_DIFFERENCE = 96.0
"""Mean absolute difference (of 255) shown in the brightest colour of the heat map."""
FULL_ENTROPY = 7.0
"""Nats shown in the brightest colour of the uncertainty map."""
_SMOOTH = rr.components.MagnificationFilter.Bicubic
_BLOCKY = rr.components.MagnificationFilter.Nearest
_SIGNATURES = (b"\xff\xd8", b"\x89PNG")
"""The first bytes of JPEG and PNG files."""


def log_video(
    recording: rr.RecordingStream,
    path: str,
    video: UInt8[np.ndarray, "t h w c"],
    times: Times,
    *,
    quality: int = JPEG_QUALITY,
) -> None:
    """Log one RGB frame per time: exact when small, else as JPEG of that quality."""
    if max(video.shape[1:3]) < SMALLEST_JPEG:
        log_exact(recording, path, video, times, magnification_filter=_SMOOTH)
        return
    log_jpeg(recording, path, video, times, quality=quality)


def log_jpeg(
    recording: rr.RecordingStream,
    path: str,
    video: Iterable[UInt8[np.ndarray, "h w c"]],
    times: Times,
    *,
    quality: int = JPEG_QUALITY,
) -> None:
    """Log one RGB frame per time as JPEG; of an iterator only one is in memory at a time."""
    frames = [simplejpeg.encode_jpeg(np.ascontiguousarray(f), quality=quality) for f in video]
    log_encoded(recording, path, frames, times)


def log_exact(
    recording: rr.RecordingStream,
    path: str,
    video: UInt8[np.ndarray, "t h w 3"],
    times: Times,
    *,
    magnification_filter: rr.components.MagnificationFilter = _BLOCKY,
) -> None:
    """Log one RGB frame per time, byte for byte; every pixel is a square unless smoothed."""
    num_frames, height, width, _ = video.shape
    static = rr.Image.from_fields(
        format=image_format(height, width, rr.ColorModel.RGB),
        magnification_filter=magnification_filter,
    )
    columns = rr.Image.columns(buffer=video.reshape(num_frames, -1))
    log_columns(recording, path, times, columns, static=static)


def log_encoded(
    recording: rr.RecordingStream, path: str, frames: Sequence[bytes], times: Times
) -> None:
    """Log frames that are JPEG or PNG already, byte for byte.

    Raises:
        ValueError: a frame is neither.
    """
    for index, frame in enumerate(frames):
        if not frame.startswith(_SIGNATURES):
            raise ValueError(
                f"frame {index} of {path} is neither JPEG nor PNG: it begins with "
                f"{frame[:4]!r}; is the source's camera key an image?"
            )
    static = rr.EncodedImage.from_fields(magnification_filter=_SMOOTH)
    log_columns(recording, path, times, rr.EncodedImage.columns(blob=frames), static=static)


def difference(
    true: UInt8[np.ndarray, "t h w c"], imagined: UInt8[np.ndarray, "t h w c"]
) -> Float[np.ndarray, "t h w"]:
    """Absolute difference per pixel, mean of the channels, in [0, 255]."""
    return np.abs(true.astype(np.float32) - imagined.astype(np.float32)).mean(axis=-1)


def heat_map(values: Float[np.ndarray, "t h w"], *, full: float) -> UInt8[np.ndarray, "t h w 3"]:
    """Colours from black at 0 to bright yellow at `full` and above."""
    colors = matplotlib.colormaps["inferno"](np.clip(values / full, 0.0, 1.0), bytes=True)
    return colors[..., :3]


def image_format(
    height: int, width: int, color_model: rr.ColorModel | None = None
) -> rr.components.ImageFormat:
    """Format of uint8 frames; without a colour model each pixel is a class index."""
    return rr.components.ImageFormat(
        width=width,
        height=height,
        color_model=color_model,
        channel_datatype=rr.ChannelDatatype.U8,
    )
