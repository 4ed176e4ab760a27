"""Dense optical flow between frames, as features of a baseline."""

import importlib.util
from itertools import pairwise

import numpy as np
from jaxtyping import Float, UInt8

MISSING = (
    "the dense flow needs the package opencv-python-headless, which is not installed here; "
    "install it with pip"
)
_SIZE, _BLOCKS = 64, 8
"""Frames are scaled to _SIZE pixels for the search, and flow is averaged over _BLOCKS x _BLOCKS."""


def has_dense_flow() -> bool:
    """Whether the library is installed."""
    return importlib.util.find_spec("cv2") is not None


def dense_flow(video: UInt8[np.ndarray, "t h w c"]) -> Float[np.ndarray, "t-1 g"]:
    """Columns, then rows, that each block of the image moved (pixels of 64), averaged per block."""
    import cv2  # a third of a second, which only flow needs

    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video]
    scaled = [cv2.resize(frame, (_SIZE, _SIZE), interpolation=cv2.INTER_LINEAR) for frame in grey]
    flow = [pixel_flow(before, after) for before, after in pairwise(scaled)]
    side = _SIZE // _BLOCKS
    cut = np.reshape(flow, (len(flow), _BLOCKS, side, _BLOCKS, side, 2))
    blocks = cut.mean(axis=(2, 4), dtype=np.float64)
    return np.moveaxis(blocks, -1, 1).reshape(len(flow), -1)


def pixel_flow(
    before: UInt8[np.ndarray, "h w"], after: UInt8[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w 2"]:
    """How far every pixel of a grey image moved, to the right and down, in pixels.

    Source: Kroeger et al. 2016, Fast Optical Flow using Dense Inverse Search, as in OpenCV with its
    fast preset.
    """
    import cv2  # see dense_flow

    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    return search.calc(before, after, np.zeros((*before.shape, 2), np.float32))
