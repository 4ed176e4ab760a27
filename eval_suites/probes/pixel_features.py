"""What simple vision sees of a video: coarse grey images, and the motion of their blocks."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

GREY_SIZE = 16
"""Height and width of a coarse grey image."""

FLOW_SIZE, BLOCK, REACH = 32, 4, 3
"""Flow is matched on grey images of FLOW_SIZE, in blocks of BLOCK, up to REACH pixels away."""


def coarse_grey(
    video: UInt8[np.ndarray, "t h w c"], *, size: int = GREY_SIZE
) -> Float[np.ndarray, "t f"]:
    """Grey images of `size` x `size`, flattened, in [0, 1]."""
    return _grey(video, size).flatten(1).numpy()


def block_flow(video: UInt8[np.ndarray, "t h w c"]) -> Float[np.ndarray, "t-1 g"]:
    """Optical flow by block matching: rows, then columns, that each block moved (pixels of 32).

    The motion is the shift of least absolute difference to the next frame; of equally good ones
    the shortest, so a block without texture stands still.
    """
    grey = _grey(video, FLOW_SIZE)
    reach = torch.arange(-REACH, REACH + 1)
    shifts = torch.cartesian_prod(reach, reach)
    shifts = shifts[shifts.square().sum(dim=1).argsort(stable=True)]
    padded = functional.pad(grey[1:, None], (REACH,) * 4, mode="replicate")[:, 0]
    costs = [_block_cost(grey[:-1], padded, int(row), int(column)) for row, column in shifts]
    # Of equal costs NumPy is sure to take the first.
    best = np.argmin(torch.stack(costs).numpy(), axis=0)
    moved = np.moveaxis(shifts.numpy()[best], -1, 1)
    return moved.reshape(len(moved), -1).astype(np.float64)


def _block_cost(
    frames: Float[Tensor, "t h w"], padded: Float[Tensor, "t hp wp"], row: int, column: int
) -> Float[Tensor, "t y x"]:
    height, width = frames.shape[1:]
    top, left = REACH + row, REACH + column
    moved = padded[:, top : top + height, left : left + width]
    return functional.avg_pool2d((frames - moved).abs(), BLOCK)


def _grey(video: UInt8[np.ndarray, "t h w c"], size: int) -> Float[Tensor, "t y x"]:
    grey = torch.from_numpy(video.mean(axis=-1) / 255.0)[:, None]
    return functional.adaptive_avg_pool2d(grey, size)[:, 0]
