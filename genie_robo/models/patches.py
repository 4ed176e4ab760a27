"""Frames to patches and back, and the first and last layers of a tokenizer.

`linear` is the paper's: one matrix product per patch. `convolutional` halves the frame repeatedly
with overlapping 4 x 4 windows, so that edges are continuous across patches; small models learn
faster with it (docs/LOG.md).
"""

import itertools

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from genie_robo.models.sizes import count_halvings

MIN_CHANNELS = 16
"""Fewest channels of the convolution next to the pixels."""


def patchify(video: Float[Tensor, "b t h w c"], patch_size: int) -> Float[Tensor, "b t s p"]:
    """Square patches of every frame, row by row, each flattened to one vector."""
    return rearrange(video, "b t (h p) (w q) c -> b t (h w) (p q c)", p=patch_size, q=patch_size)


def unpatchify(
    patches: Float[Tensor, "b t s p"], patch_size: int, grid: tuple[int, int]
) -> Float[Tensor, "b t h w c"]:
    """The inverse of `patchify`, for a `grid` of rows and columns."""
    return rearrange(
        patches,
        "b t (h w) (p q c) -> b t (h p) (w q) c",
        h=grid[0],
        w=grid[1],
        p=patch_size,
        q=patch_size,
    )


class LinearEmbedding(nn.Module):
    """Frames to one embedding per patch."""

    def __init__(self, *, patch_size: int, dim: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.linear = nn.Linear(3 * patch_size**2, dim)

    def forward(self, video: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t s d"]:
        """Embed zero-centred pixels."""
        return self.linear(patchify(video, self.patch_size))


class LinearPixels(nn.Module):
    """One embedding per patch to frames."""

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
        self.layers = _conv_stack(nn.Conv2d, widths(patch_size, dim))

    def forward(self, video: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t s d"]:
        """Embed zero-centred pixels."""
        frames = self.layers(rearrange(video, "b t h w c -> (b t) c h w"))
        return rearrange(frames, "(b t) d h w -> b t (h w) d", b=len(video))


class ConvPixels(nn.Module):
    """One embedding per patch to frames, by transposed convolutions of stride 2."""

    def __init__(self, *, patch_size: int, dim: int) -> None:
        super().__init__()
        self.layers = _conv_stack(nn.ConvTranspose2d, widths(patch_size, dim)[::-1])

    def forward(
        self, x: Float[Tensor, "b t s d"], grid: tuple[int, int]
    ) -> Float[Tensor, "b t h w c"]:
        """Frames of `grid` rows and columns of patches."""
        frames = self.layers(rearrange(x, "b t (h w) d -> (b t) d h w", h=grid[0], w=grid[1]))
        return rearrange(frames, "(b t) c h w -> b t h w c", b=len(x))


def _conv_stack(
    layer: type[nn.Conv2d] | type[nn.ConvTranspose2d], channels: list[int]
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(channels):
        layers += [layer(before, after, 4, stride=2, padding=1), nn.GELU()]
    return nn.Sequential(*layers[:-1])


def widths(patch_size: int, dim: int) -> list[int]:
    """Channels from the pixels' 3 to `dim`, doubling whenever the frame is halved.

    Raises:
        ValueError: The patch size is not a power of two above 1.
    """
    num_halvings = count_halvings(patch_size)
    inner = [max(MIN_CHANNELS, dim >> k) for k in range(num_halvings - 1, 0, -1)]
    return [3, *inner, dim]
