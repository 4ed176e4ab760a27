"""The finished frames that the next one is imagined from."""

from collections import deque
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from genie_robo.models.genie import Genie
from genie_robo.types import video_to_bytes

Moment = tuple[Int[Tensor, "b s"], Int[Tensor, " b"] | None]
"""Tokens of a frame, and the latent action that leads to it."""


class Past:
    """Finished frames in the KV caches of the dynamics and of the tokenizer's decoder.

    A frame costs one frame, however many came before. A cache that is full would let its oldest
    frame slide out, and trained models do not bear that: they have never seen a window without
    its first frame (docs/imagination.md). Here a full cache begins again with the later half of
    its frames instead, in the same memory. So what a model computes is at any time exactly what
    it would compute of these frames without a cache.
    """

    def __init__(self, genie: Genie) -> None:
        self._genie = genie
        self._dynamics_cache = genie.dynamics.transformer.new_cache(genie.num_frames)
        self._decoder_cache = genie.tokenizer.decoder.new_cache(genie.num_frames)
        self._num_cached = 0
        self._later_half: deque[Moment] = deque(maxlen=genie.num_frames // 2)

    def logits(
        self,
        tokens: Int[Tensor, "b s"],
        code: Float[Tensor, "b e"],
        places: Int[Tensor, "b r"],
    ) -> Float[Tensor, "b r k"]:
        """Of the partly known frame that follows, at some places."""
        self._make_room()
        return self._genie.dynamics.next_frame(
            tokens[:, None], code[:, None], self._dynamics_cache, places
        )

    def finish(
        self, tokens: Int[Tensor, "b s"], action: Int[Tensor, " b"] | None
    ) -> UInt8[Tensor, "b h w c"]:
        """Append a frame whose tokens are final; its pixels come back.

        `action` is the latent action that leads to it, None for the first frame.
        """
        self._make_room()
        self._later_half.append((tokens, action))
        return self._append([(tokens, action)])[:, -1]

    def fan_out(self, times: int) -> None:
        """Let `times` rollouts share the past of one."""
        for cache in (self._dynamics_cache, self._decoder_cache):
            cache.repeat(times)
        for _ in range(len(self._later_half)):
            tokens, action = self._later_half.popleft()
            action = None if action is None else action.repeat_interleave(times, 0)
            self._later_half.append((tokens.repeat_interleave(times, 0), action))

    def _make_room(self) -> None:
        """Begin again with the later half of the frames when the window is full."""
        if self._num_cached < self._genie.num_frames:
            return
        self._dynamics_cache.restart()
        self._decoder_cache.restart()
        self._num_cached = 0
        self._append(self._later_half)

    def _append(self, moments: Iterable[Moment]) -> UInt8[Tensor, "b t h w c"]:
        """Put frames behind the cached ones, several at once into empty caches only."""
        frames, actions = zip(*moments, strict=True)
        tokens = torch.stack(frames, dim=1)
        # As in training, no action leads to the first frame of a window.
        leading = actions if self._num_cached else actions[1:]
        codes = self._genie.latent_action.codes(_stack(leading, like=tokens))
        self._genie.dynamics.remember(tokens, codes, self._dynamics_cache)
        self._num_cached += len(frames)
        return video_to_bytes(self._genie.tokenizer.decode(tokens, self._decoder_cache))


def _stack(actions: Sequence[Tensor | None], *, like: Tensor) -> Int[Tensor, "b n"]:
    known = [action for action in actions if action is not None]
    return torch.stack(known, dim=1) if known else like.new_zeros(len(like), 0)
