"""Frames of MP4 files by their time: a search for the keyframe before, then decoding forward."""

import math
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from threading import get_ident
from typing import NamedTuple

import av
import numpy as np
from av.codec.context import CodecContext
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame as DecodedFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import Float, Int, UInt8

from genie_robo.data.cache import digest
from genie_robo.data.images import check_size
from genie_robo.data.shards import check_downloaded
from genie_robo.types import VideoFrame

_FORMAT = "mp4"
"""The only container that is opened: others, such as playlists, can name further files."""
_CODECS = ("av1", "h264", "hevc", "mpeg4", "vp9")
_DECODERS = {"libdav1d": "av1", "libaom-av1": "av1", "libvpx-vp9": "vp9"}
"""Names of decoders that differ from their codec's."""
_MAX_OPEN_VIDEOS = 32
_MAX_FRAMES = 2**24
_NEAR_FRAMES = 4
"""Decoding up to so many frames takes no longer than a search for a keyframe."""
_EXACT = 1e-3
"""A frame that is this share of the tolerance away is nearest: the next one is not decoded."""


class ScannedVideo(NamedTuple):
    """The frames that a video holds, in the order in which they are shown; none is decoded."""

    times_s: Float[np.ndarray, " n"]
    digests: tuple[str, ...]
    """Hashes of their compressed bytes."""
    problem: str
    """Why the file could not be read to its end; empty when it could."""

    def nearest(self, wanted_s: Float[np.ndarray, " t"]) -> Int[np.ndarray, " t"]:
        """The number of the frame nearest to each time, of two equally near ones the first."""
        after = np.clip(np.searchsorted(self.times_s, wanted_s), 1, max(1, len(self.times_s) - 1))
        before = after - 1
        if len(self.times_s) < 2:
            return before
        is_before = wanted_s - self.times_s[before] <= self.times_s[after] - wanted_s
        return np.where(is_before, before, after)


def decode_video(
    frames: Iterable[VideoFrame], *, max_pixels: int
) -> Iterator[UInt8[np.ndarray, "h w c"]]:
    """RGB pixels of frames; those of one file in ascending order are decoded in one pass.

    Raises:
        ValueError: The file is missing or damaged, a frame is not in it or too large.
    """
    for (file, tolerance_s), wanted in groupby(frames, key=lambda f: (f.file, f.tolerance_s)):
        for frame in wanted:
            yield _opened(file, max_pixels).frame_at(frame.time_s, tolerance_s=tolerance_s)


def video_size(frame: VideoFrame, *, max_pixels: int) -> tuple[int, int]:
    """Height and width of a video, without decoding it.

    Raises:
        ValueError: The file is missing or damaged, or its frames are too large.
    """
    return _opened(frame.file, max_pixels).size


def scan_video(file: Path) -> ScannedVideo:
    """Times and hashes of all frames, from one pass over the file's packets.

    Raises:
        ValueError: It is missing or no MP4 file with a video.
    """
    container, stream = _open(file)
    packets: list[tuple[float, str]] = []
    problem = ""
    with container:
        try:
            for packet in container.demux(stream):
                if packet.pts is None or packet.time_base is None or not packet.size:
                    continue
                if packet.is_corrupt:
                    problem = "it is cut inside a frame"
                    break
                time_s = _seconds(packet.pts, packet.time_base)
                packets.append((time_s, digest(bytes(packet))))
                if len(packets) > _MAX_FRAMES:
                    raise ValueError(f"{file.name} has more than {_MAX_FRAMES} frames")
        except FFmpegError as error:
            problem = f"it cannot be read to its end: {_reason(error)}"
    packets.sort(key=lambda packet: packet[0])
    times = np.array([time for time, _ in packets], np.float64)
    return ScannedVideo(times, tuple(name for _, name in packets), problem)


class _OpenVideo:
    """An open video with a decoder at some place, used by one thread."""

    def __init__(self, file: Path, max_pixels: int) -> None:
        self._file = file
        self._container, self._stream = _open(file)
        context = self._stream.codec_context
        self.size = (context.height, context.width)
        check_size(*self.size, max_pixels=max_pixels)
        # The decoder refuses larger frames, should the file's header be wrong.
        context.options = {"max_pixels": str(max_pixels)}
        context.thread_count = 1
        assert self._stream.time_base is not None
        self._unit = self._stream.time_base
        """Seconds in one unit of the file's time."""
        entries = self._stream.index_entries
        self._keyframes = [entry.timestamp for entry in entries if entry.is_keyframe]
        self._to_rgb = VideoReformatter()
        self._frames = self._decoded()
        self._last: tuple[DecodedFrame, ...] = ()
        """The frame decoded last, and the one before it; none at first and after an error."""
        self.num_decoded = 0

    def frame_at(self, time_s: float, *, tolerance_s: float) -> UInt8[np.ndarray, "h w c"]:
        """The frame nearest to a time, of two equally near the first; `tolerance_s` away at most.

        Raises:
            ValueError: There is none, or the file is damaged.
        """
        last, self._last = self._last, ()
        try:
            if not last or self._is_search_shorter(last, time_s, tolerance_s):
                last = (self._search(time_s, tolerance_s),)
            while self._time(last[-1]) < time_s - _EXACT * tolerance_s:
                following = next(self._frames, None)
                if following is None:
                    break
                last = (last[-1], following)
        except (FFmpegError, StopIteration) as error:
            reason = _reason(error)
            raise ValueError(
                f"{self._file.name} ends or fails before {time_s:.3f} s: {reason}"
            ) from error
        self._last = last
        frame = min(last, key=lambda near: abs(self._time(near) - time_s))
        if abs(self._time(frame) - time_s) > tolerance_s:
            raise ValueError(f"{self._file.name} has no frame at {time_s:.3f} s")
        # One converter for all frames: making one takes longer than a small frame.
        return self._to_rgb.reformat(frame, format="rgb24", threads=1).to_ndarray()

    def _is_search_shorter(
        self, last: tuple[DecodedFrame, ...], time_s: float, tolerance_s: float
    ) -> bool:
        """Whether a time is before these frames, or behind a keyframe that is not near."""
        if time_s < self._time(last[0]) - _EXACT * tolerance_s:
            return True
        near = self._time(last[-1]) + 2 * _NEAR_FRAMES * tolerance_s
        return bisect_right(self._keyframes, near / self._unit) < bisect_right(
            self._keyframes, time_s / self._unit
        )

    def _search(self, time_s: float, tolerance_s: float) -> DecodedFrame:
        """Decode the keyframe before a time; the first one where the search misses it."""
        latest_s = time_s + _EXACT * tolerance_s
        frame = self._decode_from(math.floor(latest_s / self._unit))
        if frame.key_frame and self._time(frame) <= latest_s:
            return frame
        return self._decode_from(min(self._keyframes, default=0))

    def _decode_from(self, place: int) -> DecodedFrame:
        self._container.seek(place, stream=self._stream)
        self._frames = self._decoded()
        return next(self._frames)

    def _decoded(self) -> Iterator[DecodedFrame]:
        for frame in self._container.decode(self._stream):
            self.num_decoded += 1
            if frame.pts is not None:
                yield frame

    def _time(self, frame: DecodedFrame) -> float:
        assert frame.pts is not None
        return _seconds(frame.pts, self._unit)


def _opened(file: Path, max_pixels: int) -> _OpenVideo:
    """An open video of this thread.

    Raises:
        ValueError: It is missing or damaged, or its frames are too large.
    """
    try:
        stamp = file.stat().st_mtime_ns
    except OSError as error:
        raise ValueError(f"the video {file.name} is missing: {error}") from error
    return _cached_video(file, max_pixels, stamp, os.getpid(), get_ident())


@lru_cache(maxsize=_MAX_OPEN_VIDEOS)
def _cached_video(
    file: Path, max_pixels: int, mtime_ns: int, process: int, thread: int
) -> _OpenVideo:
    """Open videos. A decoder has a place in its file, so threads and processes share none."""
    del mtime_ns, process, thread
    return _OpenVideo(file, max_pixels)


def _open(file: Path) -> tuple[InputContainer, VideoStream]:
    """An MP4 file and its video.

    Raises:
        ValueError: It is missing, no MP4 file, or has no video of a known codec.
    """
    try:
        check_downloaded(file)
        # An absolute path is never taken for the address of a protocol.
        container = av.open(str(file.absolute()), format=_FORMAT)
    except (OSError, FFmpegError) as error:
        raise ValueError(f"it cannot be opened: {_reason(error)}") from error
    streams = container.streams.video
    codec = _codec(streams[0]) if streams else ""
    if _DECODERS.get(codec, codec) not in _CODECS:
        container.close()
        found = f"a video of the codec {codec}" if streams else "no video"
        raise ValueError(f"{file.name} has {found}; genie_robo reads {', '.join(_CODECS)}")
    return container, streams[0]


def _codec(stream: VideoStream) -> str:
    """The name of a stream's decoder, which PyAV does not have for every codec."""
    context: CodecContext | None = stream.codec_context
    return context.name if context else "unknown"


def _seconds(time: int, unit: Fraction) -> float:
    """A time of the file; exact before it is rounded, so that a scan and a decoder agree."""
    return float(time * unit)


def _reason(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__
