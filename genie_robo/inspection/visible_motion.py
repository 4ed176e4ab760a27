"""How far pixels move from frame to frame, and the frame stride at which that is enough to learn.

A camera of 30 frames per second shows motion of less than a pixel per frame at the size that models
are trained on, which the noise of its compression hides.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from genie_robo.data.index import DatasetIndex
from genie_robo.data.settings import DataConfig, Source
from genie_robo.data.transforms import decode_frames
from genie_robo.eval_suites.probes.dense_flow import has_dense_flow, pixel_flow
from genie_robo.inspection.episodes import readable, some_readable
from genie_robo.inspection.findings import Finding

ENOUGH_PX = 2.0
"""Motion to reach. The default latent action model sees frames at a quarter of their size, where
this is half a pixel."""
LEAST_HZ = 3.0
"""Frames per second to keep, those of RT-1: with fewer, a grasp falls between two frames."""
_LEAST_FRAMES = 16
"""Frames of a median episode to keep: the default window."""
_MOST_STRIDE = 20
_MOST_UNKNOWN_STRIDE = 10
"""Largest stride where the steps per second are unknown."""
_MOVING_QUANTILE = 0.99
"""Of the pixels of a frame: robots fill little of it, their fastest parts a hundredth."""
_EPISODES, _WINDOWS = 20, 4
"""Evenly spread episodes, and evenly spread windows of each."""
_STILL_PX = 0.1
"""Less is noise."""
_LEAST_SIDE = 12
"""Smaller frames have no measurable flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisibleMotion:
    """How fast pixels move at the size that models are trained on."""

    image_size: tuple[int, int]
    """Height and width, pixels."""
    pixels: dict[int, float]
    """By stride: how far the fastest hundredth of the pixels moves from frame to frame, mean over
    evenly spread pairs of frames."""
    stride: int
    """The smallest one that reaches ENOUGH_PX, else the largest that was tried; 1 where nothing
    moves."""
    hz: float
    """Frames per second at this stride; 0 when unknown."""


def measure_motion(index: DatasetIndex, source: Source, data: DataConfig) -> VisibleMotion | None:
    """Measure motion in the primary camera, at the image size of `data`.

    None where it cannot be measured: frames are smaller than 12 pixels, no image of the camera can
    be decoded, or opencv is not installed.
    """
    size = (data.image_height, data.image_width)
    if not has_dense_flow() or min(size) < _LEAST_SIDE:
        return None
    strides = range(1, _most_stride(index, source) + 1)
    moved = [
        [_moved_px(video[0], video[stride]) for stride in strides]
        for video in _windows(index, source, data, num_frames=len(strides) + 1)
    ]
    if not moved:
        return None
    pixels = dict(zip(strides, np.mean(moved, axis=0).tolist(), strict=True))
    stride = _enough(pixels)
    return VisibleMotion(
        image_size=size, pixels=pixels, stride=stride, hz=source.control_hz / stride
    )


def check_visible_motion(visible: VisibleMotion | None) -> Iterator[Finding]:
    """The proposed stride, where it is not every step, and why."""
    if visible is None or visible.stride == 1:
        return
    height, width = visible.image_size
    rate = f" ({visible.hz:.3g} frames per second)" if visible.hz else ""
    reached = visible.pixels[visible.stride]
    limit = f"{ENOUGH_PX:g} px are enough"
    if not _is_enough(reached):
        limit = (
            f"not {ENOUGH_PX:g}, because a larger one leaves fewer than {LEAST_HZ:g} frames per "
            f"second or {_LEAST_FRAMES} frames of an episode"
        )
    yield Finding(
        "frame_stride",
        f"from step to step the fastest pixels move {visible.pixels[1]:.2g} px at {height} x "
        f"{width}, too little to tell actions by: data.frame_stride={visible.stride}{rate} makes "
        f"it {reached:.2g} px; {limit}",
    )


def _most_stride(index: DatasetIndex, source: Source) -> int:
    """The largest stride that keeps LEAST_HZ, and _LEAST_FRAMES of a median episode."""
    steps = float(np.median([entry.num_steps for entry in readable(index)]))
    by_rate = source.control_hz / LEAST_HZ if source.control_hz else _MOST_UNKNOWN_STRIDE
    return max(1, int(min(by_rate, steps / _LEAST_FRAMES, _MOST_STRIDE)))


def _enough(pixels: dict[int, float]) -> int:
    if max(pixels.values()) < _STILL_PX:
        return 1
    return next((stride for stride, px in pixels.items() if _is_enough(px)), max(pixels))


def _is_enough(px: float) -> bool:
    """Flow is accurate to about a tenth of a pixel."""
    return round(px, 1) >= ENOUGH_PX


def _windows(
    index: DatasetIndex, source: Source, data: DataConfig, *, num_frames: int
) -> Iterator[UInt8[np.ndarray, "t h w"]]:
    """Grey windows of consecutive steps, away from both ends of episodes, which are often still."""
    for entry in some_readable(index, _EPISODES):
        num_starts = entry.num_steps - num_frames + 1
        if num_starts < 1:
            continue
        images = index.read(entry).steps[source.camera].tolist()
        shares = (np.arange(_WINDOWS) + 0.5) / _WINDOWS
        for start in sorted({int(share * num_starts) for share in shares}):
            try:
                frames = decode_frames(
                    images[start : start + num_frames],
                    image_size=(data.image_height, data.image_width),
                    resize=data.resize,
                    max_pixels=data.max_image_pixels,
                )
            except ValueError:  # reported by the check of all cameras
                continue
            yield _grey(frames)


def _grey(frames: UInt8[np.ndarray, "t h w c"]) -> UInt8[np.ndarray, "t h w"]:
    return np.stack([np.asarray(Image.fromarray(frame).convert("L")) for frame in frames])


def _moved_px(before: UInt8[np.ndarray, "h w"], after: UInt8[np.ndarray, "h w"]) -> float:
    flow: Float[np.ndarray, "h w 2"] = pixel_flow(before, after)
    return float(np.quantile(np.hypot(flow[..., 0], flow[..., 1]), _MOVING_QUANTILE))
