"""Videos as files: MP4, and image strips with a labelled row of frames per video."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import ceil
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from genie_robo.atomic import replacing

LABEL_WIDTH, HEADER_HEIGHT, GAP, FONT_SIZE = 84, 22, 3, 13
LABEL_GAP = 8
"""Pixels between a label and its row; labels longer than LABEL_WIDTH make the image wider."""
INK, PAPER = (34, 34, 34), (255, 255, 255)
_X264 = {"crf": "16", "threads": "1"}
"""One thread, because the bytes depend on their number, which is that of the machine's cores."""
_STORED = {"crf": "18"}
"""Of videos that are trained on: no loss that is seen."""
_SEARCHED = {"g": "2", "bf": "0", "threads": "1"}
"""As LeRobot writes them: any frame is decoded after at most one other."""
MIN_VIDEO_SIDE = 256
"""Small frames are enlarged to about this many pixels, without smoothing."""
MIN_PANEL_SIDE = 192
"""The same for videos that share the frames of one."""


def write_mp4(path: Path, video: UInt8[np.ndarray, "t h w c"], *, fps: float) -> None:
    """Write an H.264 video atomically; `fps` 0 means unknown and plays at 5."""
    video = enlarge(video, min_side=MIN_VIDEO_SIDE)
    height, width = (side - side % 2 for side in video.shape[1:3])
    with (
        replacing(path) as temporary,
        av.open(str(temporary), "w", format="mp4") as container,
    ):
        rate = Fraction(fps or 5).limit_denominator(1000)
        stream = container.add_stream("libx264", rate=rate, options=_X264)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in video[:, :height, :width]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def side_by_side(
    videos: Mapping[str, UInt8[np.ndarray, "t h w c"]], *, columns: int
) -> UInt8[np.ndarray, "t h2 w2 c"]:
    """Videos of one size in a grid, row by row, each below its label."""
    panels = {label: enlarge(video, min_side=MIN_PANEL_SIDE) for label, video in videos.items()}
    num_frames, height, width, _ = next(iter(panels.values())).shape
    rows = -(-len(panels) // columns)
    size = columns * (width + GAP) - GAP, rows * (HEADER_HEIGHT + height + GAP) - GAP
    sheet = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_SIZE)
    corners = [
        (n % columns * (width + GAP), n // columns * (HEADER_HEIGHT + height + GAP))
        for n in range(len(panels))
    ]
    for label, (x, y) in zip(panels, corners, strict=True):
        draw.text((x + width // 2, y + HEADER_HEIGHT // 2), label, INK, font=font, anchor="mm")
    frames = np.repeat(np.asarray(sheet)[None], num_frames, axis=0)
    for video, (x, y) in zip(panels.values(), corners, strict=True):
        frames[:, y + HEADER_HEIGHT :, x : x + width][:, :height] = video
    return frames


class VideoWriter:
    """Appends frames to an MP4 file at a constant rate; every second frame is a keyframe."""

    def __init__(
        self, path: Path, *, size: tuple[int, int], rate: Fraction, is_lossless: bool = False
    ) -> None:
        """Begin a file.

        Args:
            path: The file; its folder exists.
            size: Height and width of the frames; even numbers unless it is lossless.
            rate: Frames per second.
            is_lossless: H.264 of RGB pixels without loss, instead of YUV with half the colours.
        """
        codec, options = ("libx264rgb", {"qp": "0"}) if is_lossless else ("libx264", _STORED)
        self._container = av.open(str(path), "w", format="mp4")
        self._stream = self._container.add_stream(codec, rate=rate, options=_SEARCHED | options)
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = "rgb24" if is_lossless else "yuv420p"
        self._stream.time_base = 1 / rate
        self.num_frames = self.num_bytes = 0

    def append(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        """Append a frame, which is shown `num_frames` periods after the first one."""
        encoded = av.VideoFrame.from_ndarray(frame, format="rgb24")
        encoded.pts = self.num_frames
        self.num_frames += 1
        self._write(encoded)

    def close(self) -> None:
        """Write what is left, and the index of the file."""
        try:
            self._write(None)
        finally:
            self._container.close()

    def _write(self, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            self.num_bytes += packet.size
            self._container.mux(packet)


def draw_strip(
    rows: Mapping[str, UInt8[np.ndarray, "t h w c"]],
    *,
    headers: Sequence[str],
    min_side: int = 96,
) -> Image.Image:
    """An image with a row of frames per video, labelled on the left; a header above each column."""
    videos = {label: enlarge(video, min_side=min_side) for label, video in rows.items()}
    num_frames, height, width, _ = next(iter(videos.values())).shape
    font = ImageFont.load_default(FONT_SIZE)
    left = max(LABEL_WIDTH, *(ceil(font.getlength(label)) + 2 * LABEL_GAP for label in rows))
    size = left + num_frames * (width + GAP), HEADER_HEIGHT + len(videos) * (height + GAP)
    strip = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(strip)
    for column, header in enumerate(headers):
        x = left + column * (width + GAP) + width // 2
        draw.text((x, HEADER_HEIGHT // 2), header, INK, font=font, anchor="mm")
    for row, (label, video) in enumerate(videos.items()):
        y = HEADER_HEIGHT + row * (height + GAP)
        draw.text((left - LABEL_GAP, y + height // 2), label, INK, font=font, anchor="rm")
        for column, frame in enumerate(video):
            strip.paste(Image.fromarray(frame), (left + column * (width + GAP), y))
    return strip


def write_png(path: Path, image: Image.Image) -> None:
    """Write an image atomically."""
    with replacing(path) as temporary:
        image.save(temporary, "PNG")


def enlarge(
    video: UInt8[np.ndarray, "t h w c"], *, min_side: int
) -> UInt8[np.ndarray, "t h2 w2 c"]:
    """Repeat each pixel until the shorter side has about `min_side` pixels."""
    factor = max(1, round(min_side / min(video.shape[1:3])))
    return video.repeat(factor, axis=1).repeat(factor, axis=2)


def equally_spaced(count: int, *, most: int) -> list[int]:
    """At most `most` indices below `count`, from 0 on and equally far apart."""
    return list(range(0, count, -(-count // most)))


def spread(count: int, *, most: int) -> list[int]:
    """At most `most` indices below `count`, evenly spread, first and last included."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most))})
