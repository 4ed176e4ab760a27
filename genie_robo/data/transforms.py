"""Encoded camera images to frames of the model's size."""

import io
from collections.abc import Sequence

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image

from genie_robo.data.settings import Resize

_JPEG_START = b"\xff\xd8"


def decode_frames(
    encoded: Sequence[bytes],
    *,
    image_size: tuple[int, int] | None,
    resize: Resize = Resize.stretch,
    is_bgr: bool = False,
) -> UInt8[np.ndarray, "t h w c"]:
    """Decode JPEG or PNG images to RGB frames of one size.

    Args:
        encoded: Images, one per frame.
        image_size: Height and width of the frames, in pixels; None keeps that of the first image.
        resize: How images become that size.
        is_bgr: The images store blue, green, red.

    Raises:
        ValueError: An image cannot be decoded.
    """
    image_size = image_size or stored_size(encoded[0])
    frames = np.empty((len(encoded), *image_size, 3), np.uint8)
    for number, image in enumerate(encoded):
        try:
            pixels = _decode(image, image_size)
        except (ValueError, OSError, SyntaxError) as error:
            raise ValueError(f"the image of step {number} cannot be decoded: {error}") from error
        frames[number] = resize_frame(pixels, image_size=image_size, resize=resize)
    return frames[..., ::-1].copy() if is_bgr else frames


def resize_frame(
    frame: UInt8[np.ndarray, "h w c"], *, image_size: tuple[int, int], resize: Resize
) -> UInt8[np.ndarray, "h2 w2 c"]:
    """Scale a frame; Pillow's filter widens with the reduction, which prevents aliasing."""
    height, width = frame.shape[:2]
    if (height, width) == image_size:
        return frame
    source = Image.fromarray(frame)
    if resize is Resize.stretch:
        return _scale(source, image_size)
    if resize is Resize.crop:
        return _scale(source, image_size, box=_centre_box((height, width), image_size))
    scale = min(image_size[0] / height, image_size[1] / width)
    inner = (max(1, round(height * scale)), max(1, round(width * scale)))
    frames = np.zeros((*image_size, 3), np.uint8)
    top, left = (image_size[0] - inner[0]) // 2, (image_size[1] - inner[1]) // 2
    frames[top : top + inner[0], left : left + inner[1]] = _scale(source, inner)
    return frames


def stored_size(image: bytes) -> tuple[int, int]:
    """Height and width of an encoded image, from its header.

    Raises:
        ValueError: It is not an image.
    """
    try:
        with Image.open(io.BytesIO(image)) as opened:
            return (opened.height, opened.width)
    except OSError as error:
        raise ValueError(f"the image of step 0 cannot be decoded: {error}") from error


def _decode(image: bytes, image_size: tuple[int, int]) -> UInt8[np.ndarray, "h w c"]:
    """RGB pixels; JPEG is decoded at a reduced scale if that still covers `image_size`."""
    if image.startswith(_JPEG_START):
        return simplejpeg.decode_jpeg(
            image, "RGB", min_height=image_size[0], min_width=image_size[1], min_factor=1
        )
    with Image.open(io.BytesIO(image), formats=("PNG",)) as opened:
        # Converting RGB to RGB would decode and then copy.
        return np.asarray(opened if opened.mode == "RGB" else opened.convert("RGB"))


def _scale(
    source: Image.Image,
    image_size: tuple[int, int],
    *,
    box: tuple[float, float, float, float] | None = None,
) -> UInt8[np.ndarray, "h w c"]:
    height, width = image_size
    # HAMMING aliases least of Pillow's filters, in half the time of LANCZOS.
    return np.asarray(source.resize((width, height), Image.Resampling.HAMMING, box=box))


def _centre_box(
    size: tuple[int, int], image_size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the largest centred part with the wanted aspect ratio."""
    height, width = size
    aspect = image_size[1] / image_size[0]
    inner_height, inner_width = min(height, width / aspect), min(width, height * aspect)
    left, top = (width - inner_width) / 2, (height - inner_height) / 2
    return (left, top, left + inner_width, top + inner_height)
