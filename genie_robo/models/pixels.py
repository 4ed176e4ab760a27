"""Between pixels and patches: the first and the last layers of a tokenizer, frame by frame.

`linear` is the paper's: a patch is one matrix product, and neighbours meet in the stack only.
`convolutional` halves the frame again and again with overlapping 4 x 4 windows, so that edges do
not break where patches meet; small models learn faster with it (docs/LOG.md).
"""

import itertools

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from genie_robo.models.patches import patchify, unpatchify

MIN_CHANNELS = 16
"""Of the convolution nearest to the pixels."""


class LinearEmbedding(nn.Module):
    """Every patch of a frame to one embedding."""

    def __init__(self, *, patch_size: int, dim: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.linear = nn.Linear(3 * patch_size**2, dim)

    def forward(self, video: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t s d"]:
        """Row by row, from pixels about zero."""
        return self.linear(patchify(video, self.patch_size))


class LinearPixels(nn.Module):
    """Every embedding to its own patch of a frame."""

    def __init__(self, *, patch_size: int, dim: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.linear = nn.Linear(dim, 3 * patch_size**2)

    def forward(
        self, x: Float[Tensor, "b t s d"], grid: tuple[int, int]
    ) -> Float[Tensor, "b t h w c"]:
        """Frames of `grid` rows and columns of patches."""
        return unpatchify(self.linear(x), self.patch_size, grid)


class ConvEmbedding(nn.Module):
    """Frames to one embedding per patch, by convolutions of stride 2."""

    def __init__(self, *, patch_size: int, dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths(patch_size, dim)):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.GELU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, video: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t s d"]:
        """Row by row, from pixels about zero."""
        frames = self.layers(rearrange(video, "b t h w c -> (b t) c h w"))
        return rearrange(frames, "(b t) d h w -> b t (h w) d", b=len(video))


class ConvPixels(nn.Module):
    """One embedding per patch to frames, by transposed convolutions of stride 2."""

    def __init__(self, *, patch_size: int, dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths(patch_size, dim)[::-1]):
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.GELU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(
        self, x: Float[Tensor, "b t s d"], grid: tuple[int, int]
    ) -> Float[Tensor, "b t h w c"]:
        """Frames of `grid` rows and columns of patches."""
        frames = self.layers(rearrange(x, "b t (h w) d -> (b t) d h w", h=grid[0], w=grid[1]))
        return rearrange(frames, "(b t) c h w -> b t h w c", b=len(x))


def widths(patch_size: int, dim: int) -> list[int]:
    """Channels from the pixels' 3 to `dim`, doubling whenever the frame is halved.

    Raises:
        ValueError: The patch size is not a power of two above 1.
    """
    num_halvings = patch_size.bit_length() - 1
    if num_halvings < 1 or patch_size != 2**num_halvings:
        raise ValueError(
            f"model.tokenizer.patch_layers=convolutional halves frames, so "
            f"model.tokenizer.patch_size={patch_size} must be 2, 4, 8 or another power of two; "
            "change it, or take patch_layers=linear"
        )
    inner = [max(MIN_CHANNELS, dim >> k) for k in range(num_halvings - 1, 0, -1)]
    return [3, *inner, dim]
