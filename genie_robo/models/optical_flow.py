"""Motion of pixels from frame to frame: moving frames along a flow, and finding that of patches."""

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

TEXTURE = 0.0125
"""Sum of squared slopes in a patch below which it has too little texture to tell its motion."""


def warp(
    frames: Float[Tensor, "b t h w c"], flow: Float[Tensor, "b t h w 2"]
) -> Float[Tensor, "b t h w c"]:
    """Frames whose every pixel comes from where its flow points, interpolated.

    `flow` is to the right and down, in pixels; beyond the border lies its colour.
    """
    b, _, height, width, _ = frames.shape
    y, x = ((torch.arange(n, device=flow.device) * 2 + 1) / n - 1 for n in (height, width))
    here = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    halves = flow.flatten(0, 1) * 2 / torch.tensor([width, height], device=flow.device)
    images = rearrange(frames.float(), "b t h w c -> (b t) c h w")
    moved = F.grid_sample(images, here + halves, padding_mode="border", align_corners=False)
    return rearrange(moved, "(b t) c h w -> b t h w c", b=b)


def patch_flow(frames: Float[Tensor, "b t h w c"], patch_size: int) -> Float[Tensor, "b t s 2"]:
    """How far every patch moved since the frame before, to the right and down, in pixels.

    The motion that explains the change of a patch best by its slopes, found by least squares (Lucas
    and Kanade 1981, eq. 7): right for motions of less than a pixel. A ridge makes it smaller the
    less texture a patch has; where there is none, and in the first frame, nothing moves.
    """
    grey = frames.float().mean(-1)
    change = torch.diff(grey, dim=1, prepend=grey[:, :1])
    down, right = torch.gradient(grey - change / 2, dim=(2, 3))

    def over_patches(values: Float[Tensor, "b t h w"]) -> Float[Tensor, "b t s"]:
        sizes = {"p": patch_size, "q": patch_size}
        return reduce(values, "b t (h p) (w q) -> b t (h w)", "sum", **sizes)

    # Solve [xx xy; xy yy] motion = -[xt; yt], two by two, for every patch.
    xx, yy = over_patches(right.square()) + TEXTURE, over_patches(down.square()) + TEXTURE
    xy, xt, yt = (
        over_patches(right * down),
        over_patches(right * change),
        over_patches(down * change),
    )
    determinant = xx * yy - xy.square()
    motion = torch.stack([xy * yt - yy * xt, xy * xt - xx * yt], dim=-1)
    return motion / determinant[..., None]
