"""Frames to patches and back."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def patchify(video: Float[Tensor, "b t h w c"], patch_size: int) -> Float[Tensor, "b t s p"]:
    """Cut every frame into square patches, row by row, each flattened to one vector."""
    return rearrange(video, "b t (h p) (w q) c -> b t (h w) (p q c)", p=patch_size, q=patch_size)


def unpatchify(
    patches: Float[Tensor, "b t s p"], patch_size: int, grid: tuple[int, int]
) -> Float[Tensor, "b t h w c"]:
    """Lay the patches of a `grid` of rows and columns back into frames."""
    return rearrange(
        patches,
        "b t (h w) (p q c) -> b t (h p) (w q) c",
        h=grid[0],
        w=grid[1],
        p=patch_size,
        q=patch_size,
    )


def patch_grid(image_size: tuple[int, int], patch_size: int, *, setting: str) -> tuple[int, int]:
    """Rows and columns of patches in an image of height and width `image_size`.

    `setting` names the configuration key in the error.

    Raises:
        ValueError: The patch does not divide the image.
    """
    height, width = image_size
    if height % patch_size or width % patch_size:
        fitting = [p for p in (4, 8, 10, 16, 20, 32) if not (height % p or width % p)]
        raise ValueError(
            f"{setting}={patch_size} does not divide the image of {height}x{width} "
            f"pixels (data.image_height, data.image_width); use one of {fitting}, or another "
            "image size"
        )
    return height // patch_size, width // patch_size
