"""Rotary position embedding (Su et al. 2021, arXiv 2104.09864)."""

from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from genie_robo.models.attention import past_then_next


def rotate(x: Float[Tensor, "*n t e"], *, first: int, num_past: int = 0) -> Float[Tensor, "*n t e"]:
    """Rotary position embedding of frames first, first + 1, ... (Su et al. 2021, eq. 34).

    Attention then depends on the distance of two frames only. With `num_past` the frames are those
    of `past_then_next`.
    """
    num_frames, head_dim = x.shape[-2:]
    of = (first, num_frames, head_dim, num_past, x.device, x.dtype)
    if torch.compiler.is_compiling():
        return _turn(x, *_rotary_table(*of))
    table = _kept_table(*of)
    return _Rotation.apply(x, *table) if torch.is_grad_enabled() else _turn(x, *table)


@lru_cache(maxsize=64)
def _kept_table(*of: Any) -> tuple[Float[Tensor, "t e"], Float[Tensor, "t e"]]:
    with torch.inference_mode(mode=False):  # kept tensors may be used by training later
        return _rotary_table(*of)


def _rotary_table(
    first: int,
    num_frames: int,
    head_dim: int,
    num_past: int,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Float[Tensor, "t e"], Float[Tensor, "t e"]]:
    """Cosines and sines of the frames' angles; the sines are negative in the first half."""
    half = head_dim // 2
    frequency = 100.0 ** (-torch.arange(half, device=device) / half)
    frames = torch.arange(first, first + num_frames, device=device)
    if num_past:
        frames = past_then_next(num_past, device)
    angle = frames[:, None] * frequency
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


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
