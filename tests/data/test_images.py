"""Pictures of every format, depth, rotation and damage, and their right pixels."""

import struct

import numpy as np
import pytest
from image_files import bomb, encoded, png_bomb, png_chunk, png_file, smooth
from PIL import ExifTags, Image

from genie_robo.data.images import (
    TooLargeError,
    check_stored,
    decode_picture,
    decode_stored,
)

LIMIT = 64_000_000
WHOLE = (10_000, 10_000)
"""A size that no JPEG is reduced for."""
KINDS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")


def picture(content, at_least=WHOLE, max_pixels=LIMIT):
    return decode_picture(content, at_least=at_least, max_pixels=max_pixels)


def stored(image, max_pixels=LIMIT):
    return decode_stored(image, at_least=WHOLE, max_pixels=max_pixels)


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_becomes_rgb(kind):
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    pixels = smooth(48, 64)
    found = picture(encoded(Image.fromarray(pixels), kind, **options), at_least=(48, 64))
    tolerance = {"JPEG": 8, "GIF": 40}.get(kind, 0)
    assert np.abs(found.astype(int) - pixels).max() <= tolerance


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_is_refused_before_pixels_are_reserved(kind):
    with pytest.raises(TooLargeError, match=r"it has 9000 x 9000 pixels, above data\."):
        picture(bomb(kind))


def test_both_the_area_and_the_sides_are_limited():
    assert stored(png_bomb(100, 100), max_pixels=10_000).shape == (100, 100, 3)
    with pytest.raises(
        TooLargeError, match=r"has 101 x 100 pixels, above data.max_image_pixels=10000"
    ):
        stored(png_bomb(100, 101), max_pixels=10_000)
    assert stored(png_bomb(200, 1), max_pixels=10_000).shape == (200, 1, 3)
    for height, width in ((1, 201), (201, 1)):
        with pytest.raises(TooLargeError, match="allows sides of up to 200"):
            stored(png_bomb(height, width), max_pixels=10_000)


def test_a_jpeg_of_endless_scans():
    """Every scan of a progressive JPEG is a pass over all pixels."""
    image = encoded(Image.fromarray(smooth(900, 1200)), "JPEG", progressive=True)
    begin = image.index(b"\xff\xda")
    scan = image[begin : image.index(b"\xff\xda", begin + 2)]
    slow = image[:begin] + 200 * scan + image[begin:]
    for decode in (stored, picture):
        assert decode(image).shape == (900, 1200, 3)
        with pytest.raises(ValueError, match=r"JPEG of 2.. scans"):
            decode(slow)


def test_a_jpeg_of_rt1_is_decoded_at_half_its_size():
    image = encoded(Image.fromarray(smooth(256, 320)), "JPEG")
    shapes = [
        decode_stored(image, at_least=(size, size), max_pixels=LIMIT).shape[:2]
        for size in (64, 128, 129, 300)
    ]
    assert shapes == [(64, 80), (128, 160), (160, 200), (256, 320)]


@pytest.mark.parametrize("grey", [False, True])
def test_a_sequential_jpeg_has_one_scan(grey):
    """So its scans need not be counted; more of them are refused after the first."""
    source = Image.fromarray(smooth(900, 1200))
    image = encoded(source.convert("L") if grey else source, "JPEG", quality=100)
    begin = image.index(b"\xff\xda")
    hidden = image[:2] + b"\xff\xfe\x01\x92" + 200 * b"\xff\xda" + image[2:]  # in a comment
    slow = image[:-2] + 200 * image[begin:-2] + image[-2:]
    for decode in (stored, picture):
        assert np.array_equal(decode(hidden), decode(image))
        with pytest.raises(ValueError, match="more than one scan"):
            decode(slow)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_of_pictures(kind, orientation):
    """The same scene, stored as a camera held in any of eight ways would."""
    scene = Image.fromarray(smooth(32, 64))
    turns = Image.Transpose
    # What undoes each orientation, by the EXIF standard.
    back = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_90,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_270,
    }
    held = scene.transpose(back[orientation]) if orientation > 1 else scene
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    content = encoded(held, kind, exif=exif.tobytes(), **options)
    found = picture(content, at_least=(32, 64))
    assert found.shape == (32, 64, 3)
    assert np.abs(found.astype(int) - np.asarray(scene)).max() <= (12 if kind == "JPEG" else 0)
    if kind in ("PNG", "JPEG"):  # frames of a dataset stay as its camera stored them
        assert stored(content).shape == (held.height, held.width, 3)


def test_a_turned_jpeg_is_not_decoded_below_the_wanted_size():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    content = encoded(Image.fromarray(smooth(640, 320)), "JPEG", exif=exif.tobytes())
    assert picture(content, at_least=(80, 160)).shape == (80, 160, 3)
    assert picture(content, at_least=(81, 160)).shape[0] >= 81


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("PNG", "RGBA"),
        ("PNG", "LA"),
        ("PNG", "P"),
        ("WEBP", "RGBA"),
        ("TIFF", "RGBA"),
        ("GIF", "P"),
    ],
)
def test_transparent_parts_are_white(kind, mode):
    """Left transparent black, right opaque black."""
    pixels = np.zeros((8, 16, 4), np.uint8)
    pixels[:, 8:, 3] = 255
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    source = Image.fromarray(pixels).convert("RGBA" if mode == "P" else mode)
    if mode == "P":
        source = Image.fromarray((pixels[..., 3] > 0).astype(np.uint8), "P")
        source.putpalette([0, 0, 0] * 2)
        options["transparency"] = 0
    content = encoded(source, kind, **options)
    found = picture(content)
    assert (found[:, :8] == 255).all()
    assert (found[:, 8:] == 0).all()


def test_half_transparent_is_half_white():
    pixels = np.full((4, 4, 4), (200, 0, 0, 128), np.uint8)
    found = picture(encoded(Image.fromarray(pixels), "PNG"))
    assert np.abs(found[0, 0].astype(int) - (227, 127, 127)).max() <= 1


@pytest.mark.parametrize(("bits", "color"), [(8, 0), (8, 2), (16, 0), (16, 2), (1, 0), (2, 0)])
def test_a_transparent_colour(bits, color):
    """PNG can name one colour that is transparent; it is the left pixel here."""
    levels = [0, 2**bits - 1] if bits < 16 else [0x0102, 0x8000]
    channels = 3 if color == 2 else 1
    if bits < 8:
        row = bytes([levels[1] << (8 - 2 * bits)])
    else:
        row = b"".join(v.to_bytes(bits // 8) * channels for v in levels)
    key = png_chunk(b"tRNS", struct.pack(">H", levels[0]) * channels)
    found = picture(png_file(1, 2, bits=bits, color=color, rows=[row], extra=key))
    assert found[0].tolist() == [[255] * 3, [255 if bits < 16 else 128] * 3]


def test_sixteen_bits_become_their_upper_byte():
    levels = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    wanted = np.repeat((levels // 257).astype(np.uint8)[..., None], 3, axis=2)
    big = levels.astype(">u2")
    colour = np.repeat(big[..., None], 3, axis=2)
    both = np.dstack([colour, np.full_like(big, 65535)])
    for color, rows in ((0, big), (2, colour), (6, both)):
        image = png_file(16, 16, bits=16, color=color, rows=[row.tobytes() for row in rows])
        np.testing.assert_array_equal(picture(image), wanted)
    np.testing.assert_array_equal(picture(encoded(Image.fromarray(levels), "TIFF")), wanted)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("1", "PNG"), ("1", "TIFF"), ("1", "BMP"), ("L", "JPEG"), ("CMYK", "JPEG"), ("CMYK", "TIFF")],
)
def test_other_depths_and_colours(mode, kind):
    """Black above white."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[16:] = 255
    found = picture(encoded(Image.fromarray(pixels).convert(mode), kind))
    assert np.abs(found.astype(int) - pixels).max() <= 3


@pytest.mark.parametrize("mode", ["I", "F"])
def test_levels_of_unknown_range_are_refused(mode):
    content = encoded(Image.new(mode, (4, 4)), "TIFF")
    with pytest.raises(
        ValueError, match="levels are 32-bit numbers of unknown range; save 8 or 16"
    ):
        picture(content)


@pytest.mark.parametrize("decode", [stored, picture])
@pytest.mark.parametrize("lost", [1, 4, 12, 13, 20, 60])
def test_a_png_whose_tail_is_cut(decode, lost):
    image = encoded(Image.fromarray(smooth(16, 16)), "PNG")
    with pytest.raises(
        ValueError, match=r"it is cut: a PNG without its last|it is cut in the chunk"
    ):
        decode(image[:-lost])


@pytest.mark.parametrize("decode", [stored, picture])
def test_a_png_with_one_wrong_bit(decode):
    image = encoded(Image.fromarray(smooth(16, 16)), "PNG")
    for position in range(image.index(b"IDAT"), len(image), 7):
        wrong = bytearray(image)
        wrong[position] ^= 4
        with pytest.raises(ValueError, match=r"cut|checksum"):
            decode(bytes(wrong))


@pytest.mark.parametrize("decode", [stored, picture])
def test_a_jpeg_that_libjpeg_warns_of(decode):
    image = encoded(Image.fromarray(smooth(64, 64)), "JPEG")
    wrong = bytearray(image)
    wrong[-60:-40] = bytes(range(1, 21))
    for damaged in (bytes(wrong), image[:-2], image[:-300]):
        with pytest.raises(ValueError, match=r"Corrupt JPEG data|Premature end of JPEG file"):
            decode(damaged)


def test_a_column_of_uint8_holds_no_16_bits():
    image = png_file(1, 1, bits=16, color=2, rows=[bytes(6)])
    for read in (stored, lambda image: check_stored(image, max_pixels=LIMIT)):
        with pytest.raises(
            ValueError, match="a PNG of 16 bits per channel, but its column holds uint8"
        ):
            read(image)


def test_what_is_no_picture():
    with pytest.raises(ValueError, match=r"no PNG, JPEG, .* or BMP file: it begins with b'%PDF'"):
        picture(b"%PDF-1.4 ...")
    with pytest.raises(ValueError, match=r"neither JPEG nor PNG: it begins with b'GIF8'"):
        stored(b"GIF89a...")
    for empty in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF", b"BM", b"II*\0"):
        with pytest.raises(ValueError, match=r"."):
            picture(empty)


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0"}])
def test_the_three_kinds_of_webp(options):
    content = encoded(Image.fromarray(smooth(30, 50)), "WEBP", **options)
    with pytest.raises(
        TooLargeError, match=r"it has 50 x 30 pixels, above data.max_image_pixels=1499"
    ):
        picture(content, max_pixels=1499)
    assert picture(content, max_pixels=1500).shape == (30, 50, 3)
