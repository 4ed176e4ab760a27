"""Bytes of an image to RGB pixels: the size first, then damage, depth, transparency, rotation.

Stored images are those of a camera column, JPEG or PNG with 8 bits per channel. Pictures are
files that people give as prompts: also GIF, WebP, TIFF and BMP, of any depth.
"""

import io
import struct
import zlib
from math import isqrt

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

MAX_PICTURE_BYTES = 512_000_000
"""Of a file: 64 million pixels of four channels of 16 bits."""
BACKGROUND = (255, 255, 255)
"""Colour behind the transparent parts of a picture."""
FORMATS = "PNG, JPEG, GIF, WebP, TIFF or BMP"
JPEG_START, _PNG_START = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_WEBP_START, _WEBP_SIDE = b"RIFF", (1 << 14) - 1
_STARTS: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (_PNG_START, PngImageFile),
    (JPEG_START, JpegImageFile),
    (b"GIF8", GifImageFile),
    (_WEBP_START, WebPImageFile),
    (b"II", TiffImageFile),
    (b"MM", TiffImageFile),
    (b"BM", BmpImageFile),
)
_JPEG_SCAN = b"\xff\xda"
_SCAN, _SEQUENTIAL = 0xDA, (0xC0, 0xC1)
"""Second bytes of the markers of a scan, and of a frame that is coded without progression."""
_TABLES = frozenset((0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)))
"""Of Huffman codes, quantisation, restart interval, comments and applications."""
_MAX_SCANS = 100
"""A progressive JPEG has about ten; each empty one costs as much time as a pass over all pixels."""
_QUICK = 2_000_000_000
"""Pixels times bytes up to which no number of scans takes a second: counting takes time too."""
_PNG_HEADER = struct.Struct(">IIB")
"""Width, height and bits per channel, after signature, length and name of the first chunk."""
_PNG_HEADER_AT = len(_PNG_START) + 8
_STORED_BITS = 8
_TURNED_FROM = 5
"""From this EXIF orientation on, height and width are exchanged."""
_DAMAGED = (
    ValueError,
    OSError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RuntimeError,
    struct.error,
    Warning,
    zlib.error,
)
"""Raised by Pillow on damaged files; warnings only where they are errors."""


class TooLargeError(ValueError):
    """An image has more pixels than `data.max_image_pixels` allows."""


def png_bytes(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Lossless encoding of a frame."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="png", compress_level=4)
    return buffer.getvalue()


def decode_stored(
    image: bytes, *, at_least: tuple[int, int], max_pixels: int
) -> UInt8[np.ndarray, "h w c"]:
    """RGB pixels of a camera column's image; transparency is dropped, as by tf.io.decode_image.

    Args:
        image: JPEG or PNG.
        at_least: Height and width; JPEG is decoded at the smallest scale that covers them.
        max_pixels: See `check_size`.

    Raises:
        ValueError: It is too large, damaged, of another format, or has more than 8 bits.
    """
    check_stored(image, max_pixels=max_pixels)
    if image.startswith(JPEG_START):
        return _decode_jpeg(image, at_least)
    try:
        with PngImageFile(io.BytesIO(image)) as opened:
            # Converting RGB to RGB would decode and then copy.
            return np.asarray(opened if opened.mode == "RGB" else _without_alpha(opened))
    except _DAMAGED as error:
        raise ValueError(_reason(error)) from error


def check_stored(image: bytes, *, max_pixels: int) -> tuple[int, int]:
    """Height and width of a camera column's image, without decoding it.

    Raises:
        ValueError: It is too large, no JPEG or PNG, has more than 8 bits per channel, or a PNG is
            damaged; a JPEG's damage is found by decoding.
    """
    if image.startswith(JPEG_START):
        height, width, *_ = simplejpeg.decode_jpeg_header(image)
        height, width = int(height), int(width)
        check_size(height, width, max_pixels=max_pixels)
        if height * width * len(image) > _QUICK:
            _check_scans(image)
        return height, width
    height, width, bits = _png_header(image)
    check_size(height, width, max_pixels=max_pixels)
    if bits > _STORED_BITS:
        raise ValueError(f"it is a PNG of {bits} bits per channel, but its column holds uint8")
    _check_chunks(image)
    return height, width


def decode_picture(
    content: bytes, *, at_least: tuple[int, int], max_pixels: int
) -> UInt8[np.ndarray, "h w c"]:
    """RGB pixels of a picture as people see it.

    EXIF rotation is applied, transparent parts show a white background, 16-bit levels become
    their upper byte, and of an animation the first frame is taken.

    Args:
        content: PNG, JPEG, GIF, WebP, TIFF or BMP.
        at_least: Height and width; JPEG is decoded at the smallest scale that covers them.
        max_pixels: See `check_size`.

    Raises:
        TooLargeError: It has too many pixels.
        ValueError: It is damaged, of another format, or of 32-bit levels.
    """
    try:
        if content.startswith(_WEBP_START):  # Pillow reserves its pixels when it opens it
            check_size(*_webp_size(content), max_pixels=max_pixels)
        with _open_picture(content) as opened:
            check_size(opened.height, opened.width, max_pixels=max_pixels)
            if isinstance(opened, JpegImageFile):
                return _upright_jpeg(content, opened, at_least)
            if isinstance(opened, PngImageFile):
                _check_chunks(content)
            upright = ImageOps.exif_transpose(opened)
            return np.asarray(_to_rgb(upright, bits=_bits(opened, content)))
    except TooLargeError:
        raise
    except Image.DecompressionBombError as error:
        reason = f"it has more pixels than data.max_image_pixels={max_pixels}"
        raise TooLargeError(reason) from error
    except _DAMAGED as error:
        raise ValueError(_reason(error)) from error


def check_size(height: int, width: int, *, max_pixels: int) -> None:
    """Check the pixels of an image, and that no side exceeds twice the root of the limit.

    Raises:
        TooLargeError: It is too large.
    """
    longest = 2 * isqrt(max_pixels)
    if height * width <= max_pixels and height <= longest and width <= longest:
        return
    found, limit = f"it has {width} x {height} pixels", f"data.max_image_pixels={max_pixels}"
    if height * width > max_pixels:
        raise TooLargeError(f"{found}, above {limit}")
    raise TooLargeError(f"{found}, and {limit} allows sides of up to {longest}")


def _decode_jpeg(image: bytes, at_least: tuple[int, int]) -> UInt8[np.ndarray, "h w c"]:
    """RGB pixels; what libjpeg only warns of is an error."""
    height, width = at_least
    return simplejpeg.decode_jpeg(
        image, "RGB", min_height=height, min_width=width, min_factor=1, strict=True
    )


def _check_scans(image: bytes) -> None:
    if _has_one_scan(image):  # counting takes a tenth of the time of decoding
        return
    if (count := image.count(_JPEG_SCAN)) > _MAX_SCANS:
        raise ValueError(f"it is a JPEG of {count} scans, which only serve to slow decoders down")


def _has_one_scan(image: bytes) -> bool:
    """Whether the first scan of a JPEG is the only one: sequential, with every component in it.

    libjpeg refuses any further scan of such a file.
    """
    at, num_components = len(JPEG_START), 0
    while at + 9 < len(image) and image[at] == JPEG_START[0]:
        kind = image[at + 1]
        if kind == _SCAN:
            return 0 < num_components == image[at + 4]
        if kind in _SEQUENTIAL:
            num_components = image[at + 9]
        elif kind not in _TABLES:
            return False
        at += 2 + int.from_bytes(image[at + 2 : at + 4])
    return False


def _png_header(image: bytes) -> tuple[int, int, int]:
    """Height, width and bits per channel of a PNG."""
    if not image.startswith(_PNG_START):
        raise ValueError(f"it is neither JPEG nor PNG: it begins with {image[:4]!r}")
    if len(image) < _PNG_HEADER_AT + _PNG_HEADER.size:
        raise ValueError("it is cut: a PNG without its header")
    width, height, bits = _PNG_HEADER.unpack_from(image, _PNG_HEADER_AT)
    return height, width, bits


def _check_chunks(image: bytes) -> None:
    """Check that a PNG is complete and as it was written; Pillow reads on without these."""
    view, at, name = memoryview(image), len(_PNG_START), b""
    while name != b"IEND":
        if at + 12 > len(image):
            raise ValueError("it is cut: a PNG without its last chunk")
        length, name = struct.unpack_from(">I4s", image, at)
        end = at + 8 + length
        if end + 4 > len(image):
            raise ValueError(f"it is cut in the chunk {name.decode('latin-1')!r} of a PNG")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise ValueError(f"the checksum of its chunk {name.decode('latin-1')!r} is wrong")
        at = end + 4


def _without_alpha(opened: Image.Image) -> Image.Image:
    # A palette with transparency warns where it becomes RGB at once.
    return (opened.convert("RGBA") if opened.mode == "P" else opened).convert("RGB")


def _webp_size(content: bytes) -> tuple[int, int]:
    """Height and width in the header of any of the three kinds of WebP; 0 where there is none."""
    kind, at = content[12:16], 20
    if kind == b"VP8X":
        width, height = (int.from_bytes(content[at + n : at + n + 3], "little") + 1 for n in (4, 7))
    elif kind == b"VP8L":
        sides = int.from_bytes(content[at + 1 : at + 5], "little")
        width, height = (sides & _WEBP_SIDE) + 1, (sides >> 14 & _WEBP_SIDE) + 1
    else:
        width, height = (
            int.from_bytes(content[at + n : at + n + 2], "little") & _WEBP_SIDE for n in (6, 8)
        )
    return height, width


def _open_picture(content: bytes) -> ImageFile:
    """The file's header. Not by Image.open, whose own limit of pixels cannot be set per call."""
    for start, opener in _STARTS:
        if content.startswith(start):
            return opener(io.BytesIO(content))
    raise ValueError(f"it is no {FORMATS} file: it begins with {content[:4]!r}")


def _upright_jpeg(
    content: bytes, opened: JpegImageFile, at_least: tuple[int, int]
) -> UInt8[np.ndarray, "h w c"]:
    _check_scans(content)
    orientation = opened.getexif().get(ExifTags.Base.Orientation, 1)
    height, width = at_least
    if orientation >= _TURNED_FROM:
        at_least = width, height
    turned = Image.fromarray(_decode_jpeg(content, at_least))
    turned.getexif()[ExifTags.Base.Orientation] = orientation
    return np.asarray(ImageOps.exif_transpose(turned))


def _bits(opened: ImageFile, content: bytes) -> int:
    """Bits per channel, where a file says so."""
    if isinstance(opened, PngImageFile):
        return _png_header(content)[2]
    if isinstance(opened, TiffImageFile):
        return opened.tag_v2.get(BITSPERSAMPLE, (_STORED_BITS,))[0]
    return _STORED_BITS


def _to_rgb(picture: Image.Image, *, bits: int) -> Image.Image:
    """The upper 8 bits of every channel, transparent parts on the background."""
    if picture.mode in ("I", "F"):
        raise ValueError("its levels are 32-bit numbers of unknown range; save 8 or 16 bits")
    key = picture.info.get("transparency")
    if picture.mode.startswith("I;16"):
        levels = np.asarray(picture)
        grey = (levels >> (bits - _STORED_BITS)).astype(np.uint8)
        return Image.fromarray(np.where(levels == key, BACKGROUND[0], grey)).convert("RGB")
    if isinstance(key, tuple) and bits > _STORED_BITS:  # Pillow reduced the pixels, not the key
        picture.info["transparency"] = tuple(level >> (bits - _STORED_BITS) for level in key)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    background = Image.new("RGBA", picture.size, BACKGROUND)
    return Image.alpha_composite(background, picture.convert("RGBA")).convert("RGB")


def _reason(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__
