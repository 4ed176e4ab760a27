"""What a stack of blocks remembers of finished frames."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

Places = Int[Tensor, "b r"]
"""Patches of a frame that something is asked for."""


@dataclass(slots=True)
class BlockCache:
    """Keys and values of the past of one block, preallocated at the first frame.

    A block that never looks back leaves it empty.
    """

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
        self, key: Float[Tensor, "b s heads t e"], value: Float[Tensor, "b s heads t e"]
    ) -> tuple[Tensor, Tensor]:
        """Lay the unfinished frames behind the finished ones; all of them come back."""
        if self.keys is None or self.values is None:
            size = (*key.shape[:3], self.max_frames, key.shape[4])
            self.keys, self.values = key.new_zeros(size), value.new_zeros(size)
        end = self.num_kept + key.shape[3]
        self.keys[..., self.num_kept : end, :] = key
        self.values[..., self.num_kept : end, :] = value
        return self.keys[..., :end, :], self.values[..., :end, :]

    def behind(
        self,
        places: Places,
        key: Float[Tensor, "b r heads 1 e"],
        value: Float[Tensor, "b r heads 1 e"],
    ) -> tuple[Tensor, Tensor]:
        """The finished frames at some places and the unfinished one there; nothing is stored."""
        if self.keys is None or self.values is None:
            return key, value
        rows = places[..., None, None, None]
        keys, values = (
            stored[..., : self.num_kept, :].take_along_dim(rows, dim=1)
            for stored in (self.keys, self.values)
        )
        return torch.cat([keys, key], dim=3), torch.cat([values, value], dim=3)

    def finish(self, num_frames: int) -> None:
        """Keep the frames just put; the oldest slide out when the window is full."""
        overflow = self.num_kept + num_frames - (self.max_frames - 1)
        if overflow > 0 and self.keys is not None and self.values is not None:
            for stored in (self.keys, self.values):
                stored.copy_(stored.roll(-overflow, dims=3))
        self.num_seen += num_frames

    def restart(self) -> None:
        """Forget all frames; the memory stays."""
        self.num_seen = 0

    def repeat(self, times: int) -> None:
        """The past of every sequence `times` over, one copy after the other."""
        if self.keys is not None and self.values is not None:
            self.keys = self.keys.repeat_interleave(times, dim=0)
            self.values = self.values.repeat_interleave(times, dim=0)


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

    def restart(self) -> None:
        """Forget all frames; the memory stays."""
        for block in self.blocks:
            block.restart()

    def repeat(self, times: int) -> None:
        """The past of every sequence `times` over, for rollouts that share it."""
        for block in self.blocks:
            block.repeat(times)
