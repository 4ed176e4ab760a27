"""Simple features of a video: coarse grey images, and the motion of their blocks."""

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
"""Sum of squared gradients below which a block has too little texture for flow."""


def coarse_grey(
    video: UInt8[np.ndarray, "t h w c"], *, size: int = GREY_SIZE
) -> Float[np.ndarray, "t f"]:
    """Grey images of `size` x `size`, flattened, in [0, 1]."""
    return _grey(video, size).flatten(1).numpy()


def block_flow(video: UInt8[np.ndarray, "t h w c"]) -> Float[np.ndarray, "t-1 g"]:
    """Optical flow: rows, then columns, that each block moved (pixels of 32).

    First in whole pixels: the shift with the least absolute difference to the next frame, or the
    shortest of equally good ones. Then a least-squares refinement of at most half a pixel (Lucas
    and Kanade 1981). A block without texture has zero flow.
    """
    grey = _grey(video, FLOW_SIZE)
    before = grey[:-1]
    reach = torch.arange(-REACH, REACH + 1)
    shifts = torch.cartesian_prod(reach, reach)
    shifts = shifts[shifts.square().sum(dim=1).argsort(stable=True)].numpy()
    padded = functional.pad(grey[1:, None], (REACH,) * 4, mode="replicate")[:, 0]
    views = padded.unfold(1, FLOW_SIZE, 1).unfold(2, FLOW_SIZE, 1)
    shifted = [views[:, row, column] for row, column in shifts + REACH]
    costs = [functional.avg_pool2d((after - before).abs(), BLOCK) for after in shifted]
    # NumPy is guaranteed to take the first of equal costs.
    best = np.argmin(torch.stack(costs).numpy(), axis=0)
    flow = shifts[best].astype(np.float64)
    # Fractions are computed only in frames that have a block with this shift.
    for shift in np.unique(best):
        is_best = best == shift
        frames = np.flatnonzero(is_best.any(axis=(1, 2)))
        part = block_motion(before[frames], shifted[shift][frames], BLOCK, texture=TEXTURE)
        flow[is_best] += part.flip(-1).clamp(-0.5, 0.5).numpy()[is_best[frames]]
    return np.moveaxis(flow, -1, 1).reshape(len(flow), -1)


def _grey(video: UInt8[np.ndarray, "t h w c"], size: int) -> Float[Tensor, "t y x"]:
    grey = torch.from_numpy(video.mean(axis=-1) / 255.0)[:, None]
    return functional.adaptive_avg_pool2d(grey, size)[:, 0]
