"""Skip blocks, as in video codecs: what does not change is neither coded nor painted again."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from genie_robo.models.patches import patchify, unpatchify

STILL = 2.5 / 255
"""Largest change of a channel of a still pixel: two grey levels, below the noise of JPEG."""


def keep_tokens(
    tokens: Int[Tensor, "b t s"], video: Float[Tensor, "b t h w c"], patch_size: int
) -> Int[Tensor, "b t s"]:
    """Each patch has the token of the frame in which it changed last."""
    return tokens.gather(1, last_change(changed_patches(video, patch_size)))


def keep_pixels(
    video: Float[Tensor, "b t h w c"], tokens: Int[Tensor, "b t s"], patch_size: int
) -> Float[Tensor, "b t h w c"]:
    """Each patch has the pixels of the frame in which its token changed last."""
    changed = F.pad(tokens[:, 1:] != tokens[:, :-1], (0, 0, 1, 0), value=True)
    return hold(video, last_change(changed), patch_size)


def changed_patches(video: Float[Tensor, "b t h w c"], patch_size: int) -> Bool[Tensor, "b t s"]:
    """Whether a pixel of the patch differs from the frame before; all patches of the first do."""
    changes = patchify((video[:, 1:] - video[:, :-1]).abs(), patch_size).amax(-1) > STILL
    return F.pad(changes, (0, 0, 1, 0), value=True)


def last_change(changed: Bool[Tensor, "b t s"]) -> Int[Tensor, "b t s"]:
    """The frame, this one or an earlier one, in which each patch changed last."""
    times = torch.arange(changed.shape[1], device=changed.device)[:, None]
    return torch.where(changed, times, 0).cummax(dim=1).values


def hold(
    video: Float[Tensor, "b t h w c"], since: Int[Tensor, "b t s"], patch_size: int
) -> Float[Tensor, "b t h w c"]:
    """Every patch as it was in frame `since`."""
    grid = (video.shape[2] // patch_size, video.shape[3] // patch_size)
    patches = patchify(video, patch_size)
    held = patches.gather(1, since[..., None].expand_as(patches))
    return unpatchify(held, patch_size, grid)
