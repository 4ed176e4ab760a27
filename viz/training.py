"""A training as a Rerun recording that grows: its numbers, its codebook, and what it makes."""

from collections.abc import Iterable

import numpy as np
import rerun as rr
from jaxtyping import UInt8

from viz.entities import LIVE_CODE_USE, LIVE_NUMBERS, LIVE_PICTURES, TRAIN_STEP, entity
from viz.images import log_video
from viz.live import Numbers, Pictures

GAP = 2
"""White pixels between frames of a row."""
_WHITE = 255
_BAR_COLOR = (60, 200, 190)


def log_numbers(recording: rr.RecordingStream, entries: Iterable[Numbers]) -> None:
    """Log a curve per stage and name, in one piece."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for entry in entries:
        for name, value in entry.numbers.items():
            path = f"{entity(entry.stage, LIVE_NUMBERS)}/{name}"
            curves.setdefault(path, []).append((entry.step, value))
    for path, points in curves.items():
        steps, values = zip(*points, strict=True)
        times = [rr.TimeColumn(TRAIN_STEP, sequence=steps)]
        recording.send_columns(path, times, rr.Scalars.columns(scalars=values))


def log_pictures(recording: rr.RecordingStream, pictures: Pictures) -> None:
    """Log each row of frames as one picture, and how often each code was taken as bars."""
    stage, times = pictures.stage, [rr.TimeColumn(TRAIN_STEP, sequence=[pictures.step])]
    for name, frames in pictures.rows.items():
        log_video(recording, f"{entity(stage, LIVE_PICTURES)}/{name}", row(frames)[None], times)
    recording.set_time(TRAIN_STEP, sequence=pictures.step)
    bars = rr.BarChart(pictures.code_use, color=_BAR_COLOR)
    recording.log(entity(stage, LIVE_CODE_USE), bars)


def row(frames: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "h w2 c"]:
    """Frames side by side, a gap between them."""
    num_frames, height, width, channels = frames.shape
    padded = np.full((num_frames, height, width + GAP, channels), _WHITE, np.uint8)
    padded[:, :, :width] = frames
    return padded.swapaxes(0, 1).reshape(height, -1, channels)[:, :-GAP]
