"""Optical flow: warp frames by a flow, and estimate the flow of patches."""

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

TEXTURE = 0.0125
"""Regulariser of the least squares: below this sum of squared gradients a patch has no motion."""


def warp(
    frames: Float[Tensor, "b t h w c"], flow: Float[Tensor, "b t h w 2"]
) -> Float[Tensor, "b t h w c"]:
    """Sample every pixel from where its flow points (right and down, in pixels), bilinearly.

    Pixels beyond the border have the colour of the border.
    """
    b, _, height, width, _ = frames.shape
    y, x = ((torch.arange(n, device=flow.device) * 2 + 1) / n - 1 for n in (height, width))
    here = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    right, down = (flow.flatten(0, 1) * 2).unbind(-1)
    halves = torch.stack([right / width, down / height], dim=-1)
    images = rearrange(frames.float(), "b t h w c -> (b t) c h w")
    moved = F.grid_sample(images, here + halves, padding_mode="border", align_corners=False)
    return rearrange(moved, "(b t) c h w -> b t h w c", b=b)


def patch_flow(frames: Float[Tensor, "b t h w c"], patch_size: int) -> Float[Tensor, "b t s 2"]:
    """How far every patch moved since the previous frame, to the right and down, in pixels.

    Accurate below a pixel; underestimated where there is little texture, and 0 where there is none
    and in the first frame.
    """
    grey = frames.float().mean(-1)
    before = torch.cat([grey[:, :1], grey[:, :-1]], dim=1)
    return rearrange(block_motion(before, grey, patch_size), "b t y x m -> b t (y x) m")


def block_motion(
    before: Float[Tensor, "*n h w"],
    after: Float[Tensor, "*n h w"],
    size: int,
    *,
    texture: float = TEXTURE,
) -> Float[Tensor, "*n y x 2"]:
    """How far every square block of `size` pixels moved, to the right and down, in pixels.

    Least squares on grey images in [0, 1] (Lucas and Kanade 1981, eq. 7), with `texture` added to
    the sums of squares.
    """
    change = after - before
    down, right = torch.gradient((before + after) / 2, dim=(-2, -1))

    def over_blocks(values: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n y x"]:
        return reduce(values, "... (y p) (x q) -> ... y x", "sum", p=size, q=size)

    # Solve [xx xy; xy yy] motion = -[xt; yt], two by two, for every block.
    xx, yy = over_blocks(right.square()) + texture, over_blocks(down.square()) + texture
    xy, xt, yt = (over_blocks(a * b) for a, b in ((right, down), (right, change), (down, change)))
    motion = torch.stack([xy * yt - yy * xt, xy * xt - xx * yt], dim=-1)
    return motion / (xx * yy - xy.square())[..., None]
