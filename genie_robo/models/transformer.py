"""The stack of blocks that every part of Genie is made of (paper section 2, "ST-transformer")."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from genie_robo.models.blocks import FullBlock, OneAttentionBlock, SpatialBlock, STBlock
from genie_robo.models.cache import BlockCache, KVCache, Places
from genie_robo.models.settings import Backend

Layout = Literal["space_time", "space", "space_then_full", "full_then_space"]
"""Which blocks a stack has, from first to last."""


class STTransformer(nn.Module):
    """A stack of blocks, by default space-time ones: frame t never sees frame t + 1."""

    checkpoint_activations: bool = False
    """In training, compute a block's activations again for its gradient instead of keeping them."""

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
    ) -> None:
        super().__init__()
        self.dim = dim
        self.blocks = nn.ModuleList(
            block(
                dim=dim,
                num_heads=num_heads,
                head_dim=head_dim,
                ff_multiplier=ff_multiplier,
                backend=backend,
            )
            for block in lay_out(layout, num_blocks)
        )
        self.norm = nn.LayerNorm(dim)
        self._init_weights()

    def forward(
        self,
        x: Float[Tensor, "b t s d"],
        cache: KVCache | None = None,
        places: Places | None = None,
    ) -> Float[Tensor, "b t r d"]:
        """All frames at once; with a cache, `x` is the next frame after the cached ones.

        With `places` only those patches come out, which spares most of the last block.
        """
        last = len(self.blocks) - 1
        for index, block in enumerate(self.blocks):
            if self.checkpoint_activations and self.training and cache is None:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                past = cache.blocks[index] if cache else None
                x = block(x, past, places if index == last else None)
        return self.norm(x)

    def remember(self, x: Float[Tensor, "b t s d"], cache: KVCache) -> None:
        """Append final frames to a cache: as `forward`, but nothing comes out.

        Several frames at once need an empty cache.
        """
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
        """Normal 0.02; projections that end on the residual stream shrink with their number."""
        linear = {n: m for n, m in self.named_modules() if isinstance(m, nn.Linear)}
        residual = [name for name in linear if name.endswith(("to_out", "ff.2"))]
        for name, module in linear.items():
            scale = len(residual) ** -0.5 if name in residual else 1.0
            nn.init.normal_(module.weight, std=0.02 * scale)


def lay_out(layout: Layout, num_blocks: int) -> list[type[STBlock] | type[OneAttentionBlock]]:
    """The blocks of a stack in order; of an odd number one more is a `FullBlock`."""
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
