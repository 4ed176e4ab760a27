"""KV cache: keys and values of the decoded frames of a rollout."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

Places = Int[Tensor, "b r"]
"""Indices of some patches of a frame."""


@dataclass(slots=True)
class BlockCache:
    """Keys and values of one block, allocated at the first frame; empty for spatial blocks."""

    max_frames: int
    num_seen: int = 0
    """Frames since the start, including those that have been dropped."""
    keys: Tensor | None = None
    values: Tensor | None = None

    @property
    def num_kept(self) -> int:
        """Frames whose keys and values are still stored."""
        return min(self.num_seen, self.max_frames - 1)

    def put(
        self, key: Float[Tensor, "b s heads t e"], value: Float[Tensor, "b s heads t e"]
    ) -> tuple[Tensor, Tensor]:
        """Write unfinished frames after the finished ones; returns all of them."""
        if self.keys is None or self.values is None:
            size = (*key.shape[:3], self.max_frames, key.shape[4])
            self.keys, self.values = key.new_zeros(size), value.new_zeros(size)
        end = self.num_kept + key.shape[3]
        self.keys[..., self.num_kept : end, :] = key
        self.values[..., self.num_kept : end, :] = value
        return self.keys[..., :end, :], self.values[..., :end, :]

    def read_at(
        self,
        places: Places,
        key: Float[Tensor, "b r heads 1 e"],
        value: Float[Tensor, "b r heads 1 e"],
    ) -> tuple[Tensor, Tensor]:
        """Cached keys and values at some places, then the given ones; stores nothing."""
        if self.keys is None or self.values is None:
            return key, value
        rows = places[..., None, None, None]
        keys, values = (
            stored[..., : self.num_kept, :].take_along_dim(rows, dim=1)
            for stored in (self.keys, self.values)
        )
        return torch.cat([keys, key], dim=3), torch.cat([values, value], dim=3)

    def finish(self, num_frames: int) -> None:
        """Keep the frames just written; drops the oldest when the window is full."""
        overflow = self.num_kept + num_frames - (self.max_frames - 1)
        if overflow > 0 and self.keys is not None and self.values is not None:
            for stored in (self.keys, self.values):
                stored.copy_(stored.roll(-overflow, dims=3))
        self.num_seen += num_frames

    def restart(self) -> None:
        """Drop all frames but keep the memory."""
        self.num_seen = 0

    def repeat(self, times: int) -> None:
        """Copy every sequence `times` times."""
        if self.keys is not None and self.values is not None:
            self.keys = self.keys.repeat_interleave(times, dim=0)
            self.values = self.values.repeat_interleave(times, dim=0)


@dataclass(slots=True)
class KVCache:
    """Caches of all blocks of a stack.

    Time is causal, so keys and values of a finished frame never change and a MaskGIT step computes
    only the frame it is decoding. Exact while all frames fit in `max_frames`; beyond
    that, the oldest frame is dropped although the kept ones were computed with it.
    """

    blocks: list[BlockCache] = field(default_factory=list)
    last_tokens: Int[Tensor, "b s"] | None = None
    """Tokens of the last finished frame, for a dynamics that copies them."""

    def finish(self, num_frames: int = 1) -> None:
        """Keep the last `num_frames` frames that the stack computed."""
        for block in self.blocks:
            block.finish(num_frames)

    def restart(self) -> None:
        """Drop all frames but keep the memory."""
        self.last_tokens = None
        for block in self.blocks:
            block.restart()

    def repeat(self, times: int) -> None:
        """Copy every sequence `times` times, for rollouts that share a prompt."""
        if self.last_tokens is not None:
            self.last_tokens = self.last_tokens.repeat_interleave(times, dim=0)
        for block in self.blocks:
            block.repeat(times)
