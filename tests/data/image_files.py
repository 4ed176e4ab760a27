"""Pictures that no library writes: bombs, damage, rare depths, each a few kB."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def png_file(height: int, width: int, *, bits: int, color: int, rows, extra: bytes = b"") -> bytes:
    """A PNG of rows given as bytes; `color` is 0 grey, 2 RGB, 3 palette, 4 and 6 with alpha."""
    packed = zlib.compressobj(9)
    data = b"".join(packed.compress(b"\0" + row) for row in rows) + packed.flush()
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", data)
    return b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IEND", b"")


def png_chunk(name: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + checksum


def png_bomb(height: int, width: int) -> bytes:
    """A whole black PNG of one bit per pixel: some kB for a gigabyte of pixels."""
    row = bytes(-(-width // 8))
    return png_file(height, width, bits=1, color=0, rows=(row for _ in range(height)))


def bomb(kind: str, *, side: int = 9000) -> bytes:
    """A small file of side x side pixels, at least by its header."""
    if kind == "PNG":
        return png_bomb(side, side)
    if kind == "WEBP":
        size = (side - 1).to_bytes(3, "little") * 2
        chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + size
        return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk
    if kind == "TIFF":
        return encoded(Image.new("1", (side, side)), "TIFF", compression="group4")
    file = bytearray(encoded(Image.new("RGB", (8, 8)), kind))
    at = {"JPEG": file.find(b"\xff\xc0") + 5, "GIF": 6, "BMP": 18}[kind]
    sides = {"JPEG": ">HH", "GIF": "<HH", "BMP": "<ii"}[kind]
    struct.pack_into(sides, file, at, side, side)
    return bytes(file)


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def smooth(height: int, width: int) -> np.ndarray:
    """Colours that JPEG keeps."""
    noise = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))
