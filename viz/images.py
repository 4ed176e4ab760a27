"""Camera images, heat maps and token maps in a recording."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import rerun as rr
import simplejpeg
from jaxtyping import Float, Int, UInt8

from viz.entities import CHANGED_TOKENS, ENTROPY_MAP, entity
from viz.rollout_view import TokenMaps
from viz.series import BLUE, ORANGE, TEAL

SMALLEST_JPEG = 128
"""Pixels of the longer side from which frames are stored as JPEG; below, its error would be as
large as the model's."""
JPEG_QUALITY = 90
HEAT_MAP_QUALITY = 70
"""Of heat maps, whose hard edges cost the most bytes and tell the least."""
FULL_DIFFERENCE = 96.0
"""Mean absolute difference (of 255) that the brightest colour of the heat map stands for."""
_SMOOTH = rr.components.MagnificationFilter.Bicubic
_BLOCKY = rr.components.MagnificationFilter.Nearest
_ENCODINGS = (b"\xff\xd8", b"\x89PNG")
"""How JPEG and PNG begin."""


def log_video(
    recording: rr.RecordingStream,
    path: str,
    video: UInt8[np.ndarray, "t h w c"],
    times: list[rr.TimeColumn],
    *,
    quality: int = JPEG_QUALITY,
) -> None:
    """Log one RGB frame per time, large ones as JPEG of that quality."""
    if max(video.shape[1:3]) >= SMALLEST_JPEG:
        log_encoded(
            recording,
            path,
            [
                simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality=quality)
                for frame in video
            ],
            times,
        )
        return
    log_exact(recording, path, video, times, magnification_filter=_SMOOTH)


def log_exact(
    recording: rr.RecordingStream,
    path: str,
    video: UInt8[np.ndarray, "t h w 3"],
    times: list[rr.TimeColumn],
    *,
    magnification_filter: rr.components.MagnificationFilter = _BLOCKY,
) -> None:
    """Log one RGB frame per time, byte for byte; every pixel is a square unless smoothed."""
    num_frames, height, width, _ = video.shape
    static = rr.Image.from_fields(
        format=image_format(height, width, rr.ColorModel.RGB),
        magnification_filter=magnification_filter,
    )
    recording.log(path, static, static=True)
    columns = rr.Image.columns(buffer=video.reshape(num_frames, -1))
    recording.send_columns(path, times, columns)


def image_format(
    height: int, width: int, color_model: rr.ColorModel | None = None
) -> rr.components.ImageFormat:
    """Of frames of bytes; without a colour model a pixel is a class."""
    return rr.components.ImageFormat(
        width=width,
        height=height,
        color_model=color_model,
        channel_datatype=rr.ChannelDatatype.U8,
    )


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


FULL_ENTROPY = 7.0
"""Nats that the brightest colour of the uncertainty map stands for."""
KEPT, IMAGINED_ONLY, TRUE_ONLY, BOTH = range(4)
"""What a token of an imagined frame does beside the true one's at its place."""
_CLASSES = (
    (KEPT, "kept", (16, 16, 20)),
    (IMAGINED_ONLY, "changes in the imagined frame only", ORANGE),
    (TRUE_ONLY, "changes in the true frame only", BLUE),
    (BOTH, "changes in both", TEAL),
)


def log_token_maps(
    recording: rr.RecordingStream, maps: TokenMaps, times: list[rr.TimeColumn], *, root: str = ""
) -> None:
    """Log a pixel per token: the class of its change, and its entropy as a heat map."""
    path = entity(root, CHANGED_TOKENS)
    static = rr.SegmentationImage.from_fields(format=image_format(*maps.grid))
    # In one row: two rows of an entity make one chunk or two, as time goes.
    recording.log(path, static, rr.AnnotationContext(list(_CLASSES)), static=True)
    changed = changes(maps.tokens, maps.true_tokens)
    recording.send_columns(path, times, rr.SegmentationImage.columns(buffer=changed))
    entropy = maps.entropy.reshape(-1, *maps.grid)
    colored = heat_map(entropy, full=FULL_ENTROPY)
    log_exact(recording, entity(root, ENTROPY_MAP), colored, times)


def changes(
    tokens: Int[np.ndarray, "t s"], true_tokens: Int[np.ndarray, "t s"] | None
) -> UInt8[np.ndarray, "t s"]:
    """Which tokens differ from the frame before, here and in the truth; none in the first frame.

    Equality with the true tokens would say less: of a thousand tokens many look alike, and a good
    imagination of a scene seldom picks the very same ones.
    """
    classes = _moved(tokens) * np.uint8(IMAGINED_ONLY)
    if true_tokens is not None:
        classes = classes + _moved(true_tokens) * np.uint8(TRUE_ONLY)
    return classes


def _moved(tokens: Int[np.ndarray, "t s"]) -> UInt8[np.ndarray, "t s"]:
    return (np.diff(tokens, axis=0, prepend=tokens[:1]) != 0).astype(np.uint8)
