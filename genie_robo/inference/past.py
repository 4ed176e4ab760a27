"""The finished frames that the next one is imagined from."""

from collections import deque

from jaxtyping import Float, Int, UInt8
from torch import Tensor

from genie_robo.models.genie import Genie
from genie_robo.types import video_to_bytes


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
        self._later_half: deque[tuple[Tensor, Tensor | None]] = deque(maxlen=genie.num_frames // 2)

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
        return self._append(tokens, action)

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
        for tokens, action in self._later_half:
            self._append(tokens, action)

    def _append(
        self, tokens: Int[Tensor, "b s"], action: Int[Tensor, " b"] | None
    ) -> UInt8[Tensor, "b h w c"]:
        code = None  # as in training, none leads to the first frame of a window
        if action is not None and self._num_cached > 0:
            code = self._genie.latent_action.codes(action)[:, None]
        frame, nowhere = tokens[:, None], tokens[:, :0]
        self._genie.dynamics.next_frame(frame, code, self._dynamics_cache, nowhere)
        self._dynamics_cache.finish()
        self._num_cached += 1
        return video_to_bytes(self._genie.tokenizer.decode(frame, self._decoder_cache)[:, 0])
