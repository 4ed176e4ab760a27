"""The space-time block and stack of Genie (paper section 2, "ST-transformer"), with a KV cache."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genie_robo.models.attention import Attention, Backend


class STTransformer(nn.Module):
    """A stack of space-time blocks: time is causal, so frame t never sees frame t + 1."""

    def __init__(
        self,
        *,
        num_blocks: int,
        dim: int,
        num_heads: int,
        head_dim: int,
        ff_multiplier: float = 4.0,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        self.dim = dim
        self.blocks = nn.ModuleList(
            STBlock(
                dim=dim,
                num_heads=num_heads,
                head_dim=head_dim,
                ff_multiplier=ff_multiplier,
                backend=backend,
            )
            for _ in range(num_blocks)
        )
        self.norm = nn.LayerNorm(dim)
        self._init_weights(num_blocks)

    def forward(
        self, x: Float[Tensor, "b t s d"], cache: "KVCache | None" = None
    ) -> Float[Tensor, "b t s d"]:
        """All frames at once; with a cache, `x` is the next frame after the cached ones."""
        for index, block in enumerate(self.blocks):
            x = block(x, cache.blocks[index] if cache else None)
        return self.norm(x)

    def new_cache(self, max_frames: int) -> "KVCache":
        """An empty cache that keeps the last `max_frames` frames."""
        return KVCache(blocks=[BlockCache(max_frames) for _ in self.blocks])

    def _init_weights(self, num_blocks: int) -> None:
        """Normal 0.02; projections that end on the residual stream shrink with depth."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                ends_on_residual = name.endswith(("to_out", "ff.2"))
                scale = (3 * num_blocks) ** -0.5 if ends_on_residual else 1.0
                nn.init.normal_(module.weight, std=0.02 * scale)


class STBlock(nn.Module):
    """Attention over the patches of a frame, then over the past of a patch, then feed-forward."""

    def __init__(
        self, *, dim: int, num_heads: int, head_dim: int, ff_multiplier: float, backend: Backend
    ) -> None:
        super().__init__()
        self.spatial_norm = nn.LayerNorm(dim)
        self.spatial = Attention(dim=dim, num_heads=num_heads, head_dim=head_dim, backend=backend)
        self.temporal_norm = nn.LayerNorm(dim)
        self.temporal = Attention(dim=dim, num_heads=num_heads, head_dim=head_dim, backend=backend)
        hidden = int(dim * ff_multiplier)
        self.ff_norm = nn.LayerNorm(dim)
        self.ff = nn.Sequential(
            nn.Linear(dim, hidden, bias=False), nn.GELU(), nn.Linear(hidden, dim, bias=False)
        )

    def forward(
        self, x: Float[Tensor, "b t s d"], cache: "BlockCache | None" = None
    ) -> Float[Tensor, "b t s d"]:
        """One block on the residual stream."""
        x = x + self._attend_space(self.spatial_norm(x))
        x = x + self._attend_time(self.temporal_norm(x), cache)
        return x + self.ff(self.ff_norm(x))

    def _attend_space(self, x: Float[Tensor, "b t s d"]) -> Float[Tensor, "b t s d"]:
        queries_keys, value = self.spatial.project(x)
        query, key = queries_keys.unbind(-3)
        return self.spatial.attend(query, key, value, causal=False)

    def _attend_time(
        self, x: Float[Tensor, "b t s d"], cache: "BlockCache | None"
    ) -> Float[Tensor, "b t s d"]:
        queries_keys, value = self.temporal.project(x.transpose(1, 2))
        queries_keys = rotate(queries_keys, first=cache.num_seen if cache else 0)
        query, key = queries_keys.unbind(-3)
        if cache:
            key, value = cache.put(key, value)
        attended = self.temporal.attend(query, key, value, causal=query.shape[2] > 1)
        return attended.transpose(1, 2)


def rotate(
    x: Float[Tensor, "b s t qk heads e"], *, first: int
) -> Float[Tensor, "b s t qk heads e"]:
    """Rotary position embedding of frames first, first + 1, ... (Su et al. 2021, eq. 34).

    Attention then depends on the distance of two frames only, so a window may slide.
    """
    half = x.shape[-1] // 2
    frequency = 100.0 ** (-torch.arange(half, device=x.device) / half)
    position = torch.arange(first, first + x.shape[2], device=x.device)
    angle = (position[:, None] * frequency)[:, None, None]
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    left, right = x[..., :half], x[..., half:]
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)


@dataclass(slots=True)
class BlockCache:
    """Temporal keys and values of one block, preallocated at the first frame."""

    max_frames: int
    num_seen: int = 0
    """Finished frames since the start, also those that have slid out."""
    keys: Tensor | None = None
    values: Tensor | None = None

    @property
    def num_kept(self) -> int:
        """Finished frames whose keys and values are still here."""
        return min(self.num_seen, self.max_frames - 1)

    def put(
        self, key: Float[Tensor, "b s t heads e"], value: Float[Tensor, "b s t heads e"]
    ) -> tuple[Tensor, Tensor]:
        """Lay the unfinished frames behind the finished ones; all of them come back."""
        if self.keys is None or self.values is None:
            size = (*key.shape[:2], key.shape[3], self.max_frames, key.shape[4])
            # Head by head in memory, as attention multiplies them: nothing is copied to read them.
            self.keys = key.new_zeros(size).transpose(2, 3)
            self.values = value.new_zeros(size).transpose(2, 3)
        end = self.num_kept + key.shape[2]
        self.keys[:, :, self.num_kept : end] = key
        self.values[:, :, self.num_kept : end] = value
        return self.keys[:, :, :end], self.values[:, :, :end]

    def finish(self, num_frames: int) -> None:
        """Keep the frames just put; the oldest slide out when the window is full."""
        overflow = self.num_kept + num_frames - (self.max_frames - 1)
        if overflow > 0 and self.keys is not None and self.values is not None:
            for stored in (self.keys, self.values):
                stored.copy_(stored.roll(-overflow, dims=2))
        self.num_seen += num_frames


@dataclass(slots=True)
class KVCache:
    """What a stack remembers of finished frames.

    The keys and values of a finished frame never change, because time is causal: a MaskGIT step
    computes only the frame it is decoding. Exact while all frames fit in `max_frames`; beyond,
    the oldest frame is dropped although the kept ones were computed in its presence.
    """

    blocks: list[BlockCache] = field(default_factory=list)

    def finish(self, num_frames: int = 1) -> None:
        """The last `num_frames` frames given to the stack are final."""
        for block in self.blocks:
            block.finish(num_frames)
