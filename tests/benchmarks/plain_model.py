"""The space-time transformer that a competent PyTorch user writes first: the one to beat.

Same shape and task as our dynamics: spatial attention, causal temporal attention and one
feed-forward per block. Everything else is the textbook: LayerNorm before each part, one linear
layer for queries, keys and values, `F.scaled_dot_product_attention`, GELU, learned positions. It
has no QK norm and no rotary embedding, so it computes a little less than ours.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn


class PlainDynamics(nn.Module):
    """Tokens and latent actions to logits for every token, as `DynamicsModel.forward`."""

    def __init__(
        self,
        *,
        num_tokens: int,
        tokens_per_frame: int,
        num_frames: int,
        action_dim: int,
        num_blocks: int,
        dim: int,
        num_heads: int,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(num_tokens + 1, dim)
        self.embed_action = nn.Linear(action_dim, dim)
        self.place = nn.Parameter(torch.randn(tokens_per_frame, dim) * 0.02)
        self.time = nn.Parameter(torch.randn(num_frames, 1, dim) * 0.02)
        self.blocks = nn.Sequential(*(PlainBlock(dim, num_heads) for _ in range(num_blocks)))
        self.norm = nn.LayerNorm(dim)
        self.to_logits = nn.Linear(dim, num_tokens)

    def forward(
        self, tokens: Int[Tensor, "b t s"], actions: Float[Tensor, "b t-1 e"]
    ) -> Float[Tensor, "b t s k"]:
        """Action i leads to frame i + 1."""
        reached_by = F.pad(self.embed_action(actions), (0, 0, 1, 0))
        x = self.embed(tokens) + self.place + self.time + reached_by[:, :, None]
        return self.to_logits(self.norm(self.blocks(x)))


class PlainBlock(nn.Module):
    """Attention inside a frame, then over the past of a patch, then feed-forward."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.spatial_norm, self.spatial = nn.LayerNorm(dim), PlainAttention(dim, num_heads)
        self.temporal_norm, self.temporal = nn.LayerNorm(dim), PlainAttention(dim, num_heads)
        self.ff_norm = nn.LayerNorm(dim)
        self.ff = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Float[Tensor, "b t s d"]) -> Float[Tensor, "b t s d"]:
        """One block on the residual stream."""
        b = len(x)
        x = x + self._join(self.spatial(self._frames(self.spatial_norm(x)), causal=False), b)
        past = rearrange(self.temporal_norm(x), "b t s d -> (b s) t d")
        x = x + rearrange(self.temporal(past, causal=True), "(b s) t d -> b t s d", b=b)
        return x + self.ff(self.ff_norm(x))

    @staticmethod
    def _frames(x: Tensor) -> Tensor:
        return rearrange(x, "b t s d -> (b t) s d")

    @staticmethod
    def _join(x: Tensor, b: int) -> Tensor:
        return rearrange(x, "(b t) s d -> b t s d", b=b)


class PlainAttention(nn.Module):
    """Multi-head self-attention by `F.scaled_dot_product_attention`."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_qkv = nn.Linear(dim, 3 * dim)
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "n l d"], *, causal: bool) -> Float[Tensor, "n l d"]:
        """Attend within each of the n sequences."""
        query, key, value = rearrange(
            self.to_qkv(x), "n l (qkv heads e) -> qkv n heads l e", qkv=3, heads=self.num_heads
        )
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
        return self.to_out(rearrange(attended, "n heads l e -> n l (heads e)"))
