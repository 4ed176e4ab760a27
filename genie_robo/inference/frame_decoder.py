"""Tokens to pixels one frame at a time, with the tokenizer's decoder cached."""

from collections import deque

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genie_robo.models.cache import KVCache
from genie_robo.models.skip import keep_pixels
from genie_robo.models.tokenizer import VideoTokenizer


def cache_bytes(cache: KVCache) -> int:
    """Memory of the keys and values of a cache."""
    stored = [part for block in cache.blocks for part in (block.keys, block.values)]
    return sum(part.nbytes for part in stored if part is not None)


class FrameDecoder:
    """Finished frames in the KV cache of a tokenizer's decoder.

    A full cache restarts with the later half of its frames, as that of the dynamics does.
    """

    def __init__(self, tokenizer: VideoTokenizer, *, num_frames: int) -> None:
        """An empty cache of `num_frames` frames."""
        self._tokenizer, self._num_frames = tokenizer, num_frames
        self._cache = tokenizer.decoder.new_cache(num_frames)
        self._num_cached = 0
        self._later_half: deque[Int[Tensor, "b s"]] = deque(maxlen=num_frames // 2)
        self._last: tuple[Int[Tensor, "b s"], Float[Tensor, "b h w c"]] | None = None

    @property
    def num_bytes(self) -> int:
        """Memory of the cached keys and values."""
        return cache_bytes(self._cache)

    def decode(
        self, tokens: Int[Tensor, "b s"], seen: Float[Tensor, "b h w c"] | None = None
    ) -> Float[Tensor, "b h w c"]:
        """The pixels of the next frame.

        A tokenizer that skips shows a frame that was `seen` as it is, and the next one holds its
        pixels.
        """
        if self._num_cached == self._num_frames:
            self._cache.restart()
            self._tokenizer.paint(torch.stack(list(self._later_half), dim=1), self._cache)
            self._num_cached = len(self._later_half)
        self._later_half.append(tokens)
        self._num_cached += 1
        frame = self._tokenizer.paint(tokens[:, None], self._cache)[:, 0]
        if self._tokenizer.skips:
            frame = self._hold(tokens, frame) if seen is None else seen
            self._last = (tokens, frame)
        return frame

    def _hold(
        self, tokens: Int[Tensor, "b s"], frame: Float[Tensor, "b h w c"]
    ) -> Float[Tensor, "b h w c"]:
        """Pixels of the last frame where tokens stay."""
        if self._last is None:
            return frame
        both = torch.stack([self._last[0], tokens], dim=1)
        frames = torch.stack([self._last[1], frame], dim=1)
        return keep_pixels(frames, both, self._tokenizer.patch_size)[:, 1]

    def fan_out(self, times: int) -> None:
        """Copy the past of one video for `times` videos."""
        self._cache.repeat(times)
        for _ in range(len(self._later_half)):
            self._later_half.append(self._later_half.popleft().repeat_interleave(times, 0))
        if self._last is not None:
            tokens, frame = (part.repeat_interleave(times, 0) for part in self._last)
            self._last = (tokens, frame)
