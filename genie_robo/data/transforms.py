"""Images of a camera to frames of the model's size."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from genie_robo.data.images import check_stored, decode_picture, decode_stored
from genie_robo.data.settings import MAX_IMAGE_PIXELS, Resize
from genie_robo.data.video import decode_video, video_size
from genie_robo.types import StoredImage, VideoFrame


def decode_frames(
    stored: Sequence[StoredImage],
    *,
    image_size: tuple[int, int] | None,
    resize: Resize = Resize.stretch,
    is_bgr: bool = False,
    max_pixels: int = MAX_IMAGE_PIXELS,
) -> UInt8[np.ndarray, "t h w c"]:
    """Decode images of a camera to RGB frames of one size.

    Args:
        stored: Images, one per frame: JPEG, PNG, or places in videos. Those of a video are decoded
            in one pass where their times ascend.
        image_size: Height and width of the frames, in pixels; None keeps that of the first image.
        resize: How images become that size.
        is_bgr: The images store blue, green, red.
        max_pixels: Limit on the size of an image, see `data.max_image_pixels`.

    Raises:
        ValueError: An image is too large, damaged, or not what a camera column stores.
    """
    image_size = image_size or stored_size(stored[0], max_pixels=max_pixels)
    frames = np.empty((len(stored), *image_size, 3), np.uint8)
    number = 0
    try:
        for pixels in _pixels(stored, at_least=image_size, max_pixels=max_pixels):
            frames[number] = resize_frame(pixels, image_size=image_size, resize=resize)
            number += 1
    except ValueError as error:
        raise _undecodable(number, error) from error
    return frames[..., ::-1].copy() if is_bgr else frames


def _pixels(
    stored: Iterable[StoredImage], *, at_least: tuple[int, int], max_pixels: int
) -> Iterator[UInt8[np.ndarray, "h w c"]]:
    """The one place where stored images become pixels; JPEG may be smaller than stored."""
    for kind, images in groupby(stored, key=type):
        if kind is VideoFrame:
            frames = (image for image in images if isinstance(image, VideoFrame))
            yield from decode_video(frames, max_pixels=max_pixels)
            continue
        for image in images:
            assert isinstance(image, bytes)
            yield decode_stored(image, at_least=at_least, max_pixels=max_pixels)


def picture_frame(
    content: bytes,
    *,
    image_size: tuple[int, int],
    resize: Resize,
    max_pixels: int = MAX_IMAGE_PIXELS,
) -> UInt8[np.ndarray, "h w c"]:
    """The frame of a picture that someone gives as a prompt, see `images.decode_picture`.

    Raises:
        TooLargeError: It has more than `max_pixels`.
        ValueError: It is no picture, or damaged.
    """
    pixels = decode_picture(content, at_least=image_size, max_pixels=max_pixels)
    return resize_frame(pixels, image_size=image_size, resize=resize)


def check_images(stored: Iterable[StoredImage], *, max_pixels: int = MAX_IMAGE_PIXELS) -> None:
    """Check size, depth and completeness of a camera's images without decoding them.

    Raises:
        ValueError: An image fails.
    """
    for number, image in enumerate(stored):
        try:
            _check(image, max_pixels=max_pixels)
        except ValueError as error:
            raise _undecodable(number, error) from error


def stored_size(image: StoredImage, *, max_pixels: int = MAX_IMAGE_PIXELS) -> tuple[int, int]:
    """Height and width of an episode's first image, from its header.

    Raises:
        ValueError: It is too large, damaged or no image.
    """
    try:
        return _check(image, max_pixels=max_pixels)
    except ValueError as error:
        raise _undecodable(0, error) from error


def _check(image: StoredImage, *, max_pixels: int) -> tuple[int, int]:
    """Height and width, checked without decoding."""
    if isinstance(image, VideoFrame):
        return video_size(image, max_pixels=max_pixels)
    return check_stored(image, max_pixels=max_pixels)


def _undecodable(number: int, error: ValueError) -> ValueError:
    return ValueError(f"the image of step {number} cannot be decoded: {error}")


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
