"""What simple vision sees of a video: coarse grey images, and the motion of their blocks."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from genie_robo.models.optical_flow import block_motion

GREY_SIZE = 16
"""Height and width of a coarse grey image."""

FLOW_SIZE, BLOCK, REACH = 32, 4, 3
"""Flow is matched on grey images of FLOW_SIZE, in blocks of BLOCK, up to REACH pixels away."""

TEXTURE = 1e-2
"""Sum of squared slopes in a block below which it has too little texture to tell its motion."""


def coarse_grey(
    video: UInt8[np.ndarray, "t h w c"], *, size: int = GREY_SIZE
) -> Float[np.ndarray, "t f"]:
    """Grey images of `size` x `size`, flattened, in [0, 1]."""
    return _grey(video, size).flatten(1).numpy()


def block_flow(video: UInt8[np.ndarray, "t h w c"]) -> Float[np.ndarray, "t-1 g"]:
    """Optical flow: rows, then columns, that each block moved (pixels of 32).

    First by whole pixels: the shift of least absolute difference to the next frame, of equally good
    ones the shortest. Then by the part of a pixel that explains what is left by least squares, at
    most half of one (Lucas and Kanade 1981). A block without texture stands still.
    """
    grey = _grey(video, FLOW_SIZE)
    reach = torch.arange(-REACH, REACH + 1)
    shifts = torch.cartesian_prod(reach, reach)
    shifts = shifts[shifts.square().sum(dim=1).argsort(stable=True)]
    padded = functional.pad(grey[1:, None], (REACH,) * 4, mode="replicate")[:, 0]
    matches = [_match(grey[:-1], padded, int(row), int(column)) for row, column in shifts]
    # Of equal costs NumPy is sure to take the first.
    best = np.argmin(torch.stack([cost for cost, _ in matches]).numpy(), axis=0)
    parts = torch.stack([part for _, part in matches]).numpy()
    part = np.take_along_axis(parts, best[None, ..., None], axis=0)[0]
    moved = np.moveaxis(shifts.numpy()[best] + part, -1, 1)
    return moved.reshape(len(moved), -1).astype(np.float64)


def _match(
    frames: Float[Tensor, "t h w"], padded: Float[Tensor, "t hp wp"], row: int, column: int
) -> tuple[Float[Tensor, "t y x"], Float[Tensor, "t y x 2"]]:
    """How far blocks are from those a shift away, and the part of a pixel that is missing."""
    height, width = frames.shape[1:]
    top, left = REACH + row, REACH + column
    moved = padded[:, top : top + height, left : left + width]
    part = block_motion(frames, moved, BLOCK, texture=TEXTURE).flip(-1)
    return functional.avg_pool2d((moved - frames).abs(), BLOCK), part.clamp(-0.5, 0.5)


def _grey(video: UInt8[np.ndarray, "t h w c"], size: int) -> Float[Tensor, "t y x"]:
    grey = torch.from_numpy(video.mean(axis=-1) / 255.0)[:, None]
    return functional.adaptive_avg_pool2d(grey, size)[:, 0]
