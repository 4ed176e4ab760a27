"""The ST-transformer that every part of Genie is made of (paper section 2, figure 4).

`STBlock` is the block of the paper. `SpatialBlock` and `FullBlock` make the tokenizers of its
ablation (section 3.3): they have one attention instead of two, and a feed-forward that is wider by
the parameters of the missing attention, so that equal settings give equally many parameters.
"""

from abc import ABC, abstractmethod
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from genie_robo.models.attention import Attention, all_but_the_past, later_frames
from genie_robo.models.cache import BlockCache, KVCache, Places
from genie_robo.models.rotary import Grid, rotate_frames, rotate_places
from genie_robo.models.settings import Backend

Layout = Literal["space_time", "space", "space_then_full", "full_then_space"]
"""Which blocks a stack has, from first to last."""


class STBlock(nn.Module):
    """Attention over the patches of a frame, then over the past of a patch, then feed-forward."""

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        head_dim: int,
        ff_multiplier: float,
        backend: Backend,
        grid: Grid | None = None,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.spatial_norm = nn.LayerNorm(dim)
        self.spatial = Attention(dim=dim, num_heads=num_heads, head_dim=head_dim, backend=backend)
        self.temporal_norm = nn.LayerNorm(dim)
        self.temporal = Attention(dim=dim, num_heads=num_heads, head_dim=head_dim, backend=backend)
        self.ff_norm = nn.LayerNorm(dim)
        self.ff = _feed_forward(dim, hidden=int(dim * ff_multiplier))

    def forward(
        self,
        x: Float[Tensor, "b t s d"],
        cache: BlockCache | None = None,
        places: Places | None = None,
        *,
        num_past: int = 0,
        drops_past: bool = False,
    ) -> Float[Tensor, "b t_out r d"]:
        """One block on the residual stream, for all patches or those at `places`.

        With `num_past` the frames are those of `past_then_next`; `drops_past` gives the latter.
        """
        x = _at(x, places, dim=2) + self._attend_space(x, places)
        if num_past:
            first = num_past if drops_past else 0
            x = x[:, first:] + self._attend_past(self.temporal_norm(x), num_past, first)
        else:
            x = x + self._attend_time(self.temporal_norm(x), cache, places)
        return x + self.ff(self.ff_norm(x))

    def remember(self, x: Float[Tensor, "b t s d"], cache: BlockCache) -> None:
        """Write frames to the cache without computing an output."""
        x = x + self._attend_space(x)
        _project_frames(self.temporal, self.temporal_norm(x), cache)

    def _attend_space(
        self, x: Float[Tensor, "b t s d"], places: Places | None = None
    ) -> Float[Tensor, "b t r d"]:
        return _attend_frame(self.spatial, self.spatial_norm(x), places, self.grid)

    def _attend_time(
        self, x: Float[Tensor, "b t r d"], cache: BlockCache | None, places: Places | None
    ) -> Float[Tensor, "b t r d"]:
        query, key, value = _project_frames(self.temporal, x, cache, places)
        unseen = "later" if x.shape[1] > 1 else None
        attended = self.temporal.attend(query, key, value, unseen=unseen)
        return self.temporal.to_out(rearrange(attended, "b s heads t e -> b t s (heads e)"))

    def _attend_past(
        self, x: Float[Tensor, "b t s d"], num_past: int, first: int
    ) -> Float[Tensor, "b q s d"]:
        """Attention of the frames from `first` on to the past before each, and to itself."""
        query, key, value = _project_frames(self.temporal, x, None, num_past=num_past)
        unseen = all_but_the_past(num_past, x.device)[first:]
        attended = self.temporal.attend(query[..., first:, :], key, value, unseen=unseen)
        return self.temporal.to_out(rearrange(attended, "b s heads t e -> b t s (heads e)"))


class OneAttentionBlock(nn.Module, ABC):
    """One attention, then feed-forward."""

    def __init__(
        self, *, dim: int, num_heads: int, head_dim: int, ff_multiplier: float, backend: Backend
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = Attention(dim=dim, num_heads=num_heads, head_dim=head_dim, backend=backend)
        self.ff_norm = nn.LayerNorm(dim)
        self.ff = _feed_forward(dim, hidden=int(dim * ff_multiplier) + 2 * num_heads * head_dim)

    def forward(
        self,
        x: Float[Tensor, "b t s d"],
        cache: BlockCache | None = None,
        places: Places | None = None,
    ) -> Float[Tensor, "b t r d"]:
        """One block on the residual stream, for all patches or those at `places`."""
        x = _at(x + self._attend(self.norm(x), cache), places, dim=2)
        return x + self.ff(self.ff_norm(x))

    def remember(self, x: Float[Tensor, "b t s d"], cache: BlockCache) -> None:
        """Write frames to the cache."""
        self._attend(self.norm(x), cache)

    @abstractmethod
    def _attend(
        self, x: Float[Tensor, "b t s d"], cache: BlockCache | None
    ) -> Float[Tensor, "b t s d"]: ...


class SpatialBlock(OneAttentionBlock):
    """Attention over the patches of a frame; nothing to cache."""

    def _attend(
        self, x: Float[Tensor, "b t s d"], cache: BlockCache | None
    ) -> Float[Tensor, "b t s d"]:
        del cache
        return _attend_frame(self.attention, x)


class FullBlock(OneAttentionBlock):
    """Attention over all patches of this and all earlier frames, quadratic in their number."""

    def _attend(
        self, x: Float[Tensor, "b t s d"], cache: BlockCache | None
    ) -> Float[Tensor, "b t s d"]:
        num_frames, frame_size = x.shape[1:3]
        query, key, value = (
            rearrange(part, "b s heads t e -> b heads (t s) e")
            for part in _project_frames(self.attention, x, cache)
        )
        num_positions = num_frames * frame_size
        unseen = later_frames(num_positions, frame_size, x.device) if num_frames > 1 else None
        attended = self.attention.attend(query, key, value, unseen=unseen)
        joined = rearrange(attended, "b heads (t s) e -> b t s (heads e)", s=frame_size)
        return self.attention.to_out(joined)


class STTransformer(nn.Module):
    """A stack of blocks, by default space-time ones; output t depends on frames 1..t only."""

    checkpoint_activations: bool = False
    """In training, recompute a block's activations for its gradient instead of storing them."""

    def __init__(
        self,
        *,
        num_blocks: int,
        dim: int,
        num_heads: int,
        head_dim: int,
        ff_multiplier: float = 4.0,
        layout: Layout = "space_time",
        backend: Backend = Backend.auto,
        grid: Grid | None = None,
    ) -> None:
        """Make the blocks.

        Args:
            num_blocks: Blocks in the stack.
            dim: Width of the residual stream.
            num_heads: Heads; times `head_dim` they need not equal `dim`.
            head_dim: Width of a head.
            ff_multiplier: Hidden width of the feed-forward, in units of `dim`.
            layout: Which blocks there are.
            backend: How attention is computed.
            grid: With the rows and columns of patches, attention within a frame depends on how far
                these lie apart. Only for space-time blocks.
        """
        super().__init__()
        self.dim = dim
        turning: dict[str, Any] = {} if grid is None else {"grid": grid}
        if grid is not None:
            # Among the weights, so that those of a stack without it do not load into this one.
            self.register_buffer("grid", torch.tensor(grid))
        self.blocks = nn.ModuleList(
            block(
                dim=dim,
                num_heads=num_heads,
                head_dim=head_dim,
                ff_multiplier=ff_multiplier,
                backend=backend,
                **turning,
            )
            for block in _lay_out(layout, num_blocks)
        )
        self.norm = nn.LayerNorm(dim)
        self._init_weights()

    def forward(
        self,
        x: Float[Tensor, "b t s d"],
        cache: KVCache | None = None,
        places: Places | None = None,
        *,
        num_past: int = 0,
    ) -> Float[Tensor, "b t_out r d"]:
        """All frames at once; with a cache, `x` is the next frame after the cached ones.

        With `places` the output has those patches only, which saves most of the last block.

        With `num_past=n`, `x` holds frames 0..n-1 and then frames 1..n. The output has the latter:
        frame t as it would be with a cache of frames 0..t-1, so that one pass trains all frames as
        they are imagined (the attention mask of block diffusion, Arriola et al. 2025, arXiv
        2503.09573). Only for space-time blocks.
        """
        last = len(self.blocks) - 1
        for index, block in enumerate(self.blocks):
            past = cache.blocks[index] if cache else None
            how: dict[str, Any] = {"places": places if index == last else None}
            if num_past:
                how = {"num_past": num_past, "drops_past": index == last}
            if self.checkpoint_activations and self.training and cache is None:
                x = checkpoint(block, x, use_reentrant=False, **how)
            else:
                x = block(x, past, **how)
        return self.norm(x)

    def remember(self, x: Float[Tensor, "b t s d"], cache: KVCache) -> None:
        """Append final frames to a cache without an output; several only to an empty cache."""
        *before, last = self.blocks
        for block, past in zip(before, cache.blocks[:-1], strict=True):
            x = block(x, past)
        assert isinstance(last, STBlock | OneAttentionBlock)
        last.remember(x, cache.blocks[-1])
        cache.finish(x.shape[1])

    def new_cache(self, max_frames: int) -> KVCache:
        """An empty cache that keeps the last `max_frames` frames."""
        return KVCache(blocks=[BlockCache(max_frames) for _ in self.blocks])

    def _init_weights(self) -> None:
        # Projections onto the residual stream are scaled by 1 / sqrt(their number), as in GPT-2.
        linear = {n: m for n, m in self.named_modules() if isinstance(m, nn.Linear)}
        residual = [name for name in linear if name.endswith(("to_out", "ff.2"))]
        for name, module in linear.items():
            scale = len(residual) ** -0.5 if name in residual else 1.0
            nn.init.normal_(module.weight, std=0.02 * scale)


def _lay_out(layout: Layout, num_blocks: int) -> list[type[STBlock] | type[OneAttentionBlock]]:
    """The blocks of a stack in order; an odd number has one more `FullBlock`."""
    num_spatial = num_blocks // 2
    num_full = num_blocks - num_spatial
    match layout:
        case "space_time":
            return [STBlock] * num_blocks
        case "space":
            return [SpatialBlock] * num_blocks
        case "space_then_full":
            return [*[SpatialBlock] * num_spatial, *[FullBlock] * num_full]
        case "full_then_space":
            return [*[FullBlock] * num_full, *[SpatialBlock] * num_spatial]


def _feed_forward(dim: int, *, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(dim, hidden, bias=False), nn.GELU(), nn.Linear(hidden, dim, bias=False)
    )


def _at(x: Float[Tensor, "..."], places: Places | None, *, dim: int) -> Float[Tensor, "..."]:
    """Select places along a dimension; None selects all."""
    if places is None:
        return x
    shape = [1] * x.ndim
    shape[0], shape[dim] = places.shape
    return x.take_along_dim(places.view(shape), dim=dim)


def _attend_frame(
    attention: Attention,
    x: Float[Tensor, "b t s d"],
    places: Places | None = None,
    grid: Grid | None = None,
) -> Float[Tensor, "b t r d"]:
    """Attention of the patches of a frame, or of those at `places`, to all of the frame."""
    queries_keys, value = attention.project(x, along="patches")
    if grid is not None:
        queries_keys = rotate_places(queries_keys, grid)
    query, key = queries_keys.unbind()
    attended = attention.attend(_at(query, places, dim=3), key, value)
    return attention.to_out(rearrange(attended, "b t heads s e -> b t s (heads e)"))


def _project_frames(
    attention: Attention,
    x: Float[Tensor, "b t s d"],
    cache: BlockCache | None,
    places: Places | None = None,
    *,
    num_past: int = 0,
) -> tuple[
    Float[Tensor, "b s heads t e"],
    Float[Tensor, "b s heads t_past e"],
    Float[Tensor, "b s heads t_past e"],
]:
    """Queries of these frames; keys and values of the cached frames and these.

    With `places`, `x` holds those patches only, and the cache does not change.
    """
    queries_keys, value = attention.project(x, along="frames")
    first = cache.num_seen if cache else 0
    query, key = rotate_frames(queries_keys, first=first, num_past=num_past).unbind()
    if cache and places is not None:
        key, value = cache.read_at(places, key, value)
    elif cache:
        key, value = cache.put(key, value)
    return query, key, value
