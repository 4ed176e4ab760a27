"""Rotary position embedding (Su et al. 2021, arXiv 2104.09864, eq. 34).

Queries and keys are turned by angles that are linear in their position, so that attention depends
on distances only: of frames in time, of patches in rows and columns.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from genie_robo.models.attention import past_then_next

Grid = tuple[int, int]
"""Rows and columns of the patches of a frame."""

FRAMES_BASE = 100.0
PLACES_BASE = 10.0
"""Pair i of n turns by base^(-i/n) rad per position (theta of the paper)."""

Angles = Callable[..., Float[Tensor, "t pairs"]]
"""Angles (rad) of the positions, from a device and integers."""


def rotate_frames(
    x: Float[Tensor, "*n t e"], *, first: int, num_past: int = 0
) -> Float[Tensor, "*n t e"]:
    """Turn by the time of frames first, first + 1, ...

    With `num_past` the frames are those of `past_then_next`.
    """
    num_frames, head_dim = x.shape[-2:]
    return _rotate(x, _frame_angles, first, num_frames, num_past, head_dim)


def rotate_places(x: Float[Tensor, "*n s e"], grid: Grid) -> Float[Tensor, "*n s e"]:
    """Turn half of the pairs by the row of a patch, half by its column.

    Source: Heo et al. 2024 (arXiv 2403.13298), "axial frequencies". The patches lie row after row
    at the end; what comes before them, such as an action token, is not turned.
    """
    return _rotate(x, _place_angles, *grid, *x.shape[-2:])


def _rotate(x: Float[Tensor, "*n t e"], angles: Angles, *of: int) -> Float[Tensor, "*n t e"]:
    if torch.compiler.is_compiling():
        return _turn(x, *_table(angles, x.device, x.dtype, *of))
    table = _kept_table(angles, x.device, x.dtype, *of)
    return _Rotation.apply(x, *table) if torch.is_grad_enabled() else _turn(x, *table)


@lru_cache(maxsize=64)
def _kept_table(*of: Any) -> tuple[Float[Tensor, "t e"], Float[Tensor, "t e"]]:
    with torch.inference_mode(mode=False):  # kept tensors may be used by training later
        return _table(*of)


def _table(
    angles: Angles, device: torch.device, dtype: torch.dtype, *of: int
) -> tuple[Float[Tensor, "t e"], Float[Tensor, "t e"]]:
    """Cosines and sines of angles; the sines are negative in the first half."""
    angle = angles(device, *of)
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


def _frame_angles(
    device: torch.device, first: int, num_frames: int, num_past: int, head_dim: int
) -> Float[Tensor, "t pairs"]:
    """Of frames in time."""
    frames = torch.arange(first, first + num_frames, device=device)
    if num_past:
        frames = past_then_next(num_past, device)
    return frames[:, None] * _frequencies(head_dim // 2, FRAMES_BASE, device)


def _place_angles(
    device: torch.device, num_rows: int, num_columns: int, num_places: int, head_dim: int
) -> Float[Tensor, "s pairs"]:
    """Of rows in the first half of the pairs, of columns in the second; 0 before the patches."""
    num_pairs = head_dim // 2
    frequency = _frequencies(num_pairs // 2, PLACES_BASE, device)
    place = torch.arange(num_rows * num_columns, device=device)[:, None]
    turned = torch.cat([place // num_columns * frequency, place % num_columns * frequency], dim=-1)
    unturned = (0, num_pairs - turned.shape[1], num_places - len(place), 0)
    return F.pad(turned, unturned)


def _frequencies(num_pairs: int, base: float, device: torch.device) -> Float[Tensor, " pairs"]:
    return base ** (-torch.arange(num_pairs, device=device) / num_pairs)


class _Rotation(torch.autograd.Function):
    """Rotate the pairs (x_i, x_i+half); the gradient rotates back, so `x` need not be stored."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turn(grads[0], cos, -sin), None, None


def _turn(
    x: Float[Tensor, "*n t e"], cos: Float[Tensor, "t e"], sin: Float[Tensor, "t e"]
) -> Float[Tensor, "*n t e"]:
    """Rotated pairs x cos + swap(x) sin; time and head dimension are flattened for speed."""
    left, right = x.chunk(2, dim=-1)
    swapped = torch.cat([right, left], dim=-1).flatten(-2)
    return (x.flatten(-2) * cos.flatten()).addcmul_(swapped, sin.flatten()).view(x.shape)
