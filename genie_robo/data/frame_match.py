"""The frames of a video that show the steps of an episode: those nearest to them in time."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from genie_robo.data.lerobot_layout import VideoPart
from genie_robo.data.shards import COMPLETE
from genie_robo.data.video import ScannedVideo, scan_video


class FrameMatch(NamedTuple):
    """The frames of a video that belong to the steps of an episode."""

    digests: str
    """Their hashes, joined."""
    jitter_s: float
    """How far they are at most from the times of their steps."""
    problem: str
    """Why they cannot be used; empty when every step has its frame."""


def match_frames(
    part: VideoPart, times_s: Float[np.ndarray, " t"], *, period_s: float
) -> FrameMatch:
    """Find the frame of every step: the nearest one, at most half a period from its time.

    Args:
        part: The part of a video file that shows the episode.
        times_s: Times of the steps, from the start of the part.
        period_s: Seconds from one step to the next.
    """
    try:
        video = _scanned(part.file, part.file.stat().st_mtime_ns)
    except OSError:
        return FrameMatch("", 0.0, f"is missing: there is no {part.file.name}; {COMPLETE}")
    except ValueError as error:
        return FrameMatch("", 0.0, f"cannot be read: {error}")
    if not len(video.times_s):
        return FrameMatch("", 0.0, f"cannot be read: {part.file.name} has no frames")
    wanted = part.start_s + times_s
    found = video.nearest(wanted)
    inside = _is_inside(video.times_s, part, period_s=period_s)
    distances = np.abs(video.times_s[found] - wanted)
    good = (distances <= period_s / 2) & inside[found]
    digests = "".join(video.digests[i] for i in np.unique(found[good]))
    if not good.all():
        reason = _absence(part.file.name, len(video.times_s), int(inside.sum()), wanted, good)
        return FrameMatch(digests, 0.0, f"{reason}: {video.problem}" if video.problem else reason)
    if len(found) == inside.sum() and len(np.unique(found)) < len(found):
        return FrameMatch(digests, 0.0, _shift(part, wanted, found))
    return FrameMatch(digests, float(distances.max(initial=0.0)), "")


def _is_inside(
    frame_times_s: Float[np.ndarray, " n"], part: VideoPart, *, period_s: float
) -> Bool[np.ndarray, " n"]:
    """Frames of the episode; the others belong to its neighbours in the file."""
    after = frame_times_s >= part.start_s - period_s / 2
    return after & (frame_times_s < part.stop_s - period_s / 2)


def _absence(
    name: str,
    num_frames: int,
    num_inside: int,
    wanted_s: Float[np.ndarray, " t"],
    good: Bool[np.ndarray, " t"],
) -> str:
    """The steps without a frame in a file."""
    reason = (
        f"has no frame for {(~good).sum()} of {len(good)} steps, the first at "
        f"{wanted_s[np.argmin(good)]:.3f} s of {name}, which has {num_frames} frames"
    )
    return reason if num_inside == num_frames else f"{reason}, {num_inside} of this episode"


def _shift(part: VideoPart, wanted_s: Float[np.ndarray, " t"], found: Int[np.ndarray, " t"]) -> str:
    """The reason where frames and steps are as many, but two steps are nearest to one frame."""
    step = int(np.argmin(np.diff(found)))
    return (
        f"has as many frames as steps, but by their times the steps {step} and {step + 1}, at "
        f"{wanted_s[step]:.3f} and {wanted_s[step + 1]:.3f} s, show one frame of "
        f"{part.file.name}: timestamps and video have different clocks. LeRobot writes "
        "timestamp = frame_index / fps"
    )


@lru_cache(maxsize=16)
def _scanned(file: Path, mtime_ns: int) -> ScannedVideo:
    """Scanned videos; of v3.0, where a file has many episodes, each is read once."""
    del mtime_ns
    return scan_video(file)
