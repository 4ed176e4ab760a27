"""Prompt frames and latent actions to an imagined rollout, in token space all the way."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from genie_robo.inference.sampler import Sampler, decode_frame
from genie_robo.models.genie import Genie
from genie_robo.types import Rollout, video_to_bytes, video_to_float


@torch.no_grad()
def imagine(
    genie: Genie,
    prompt: UInt8[Tensor, "b p h w c"],
    latent_actions: Int[Tensor, "b n"],
    *,
    seeds: Sequence[int],
    sampler: Sampler | None = None,
    advance: Callable[..., None] | None = None,
) -> Rollout:
    """Imagine the n frames after a prompt of p frames under n latent actions.

    Latent action i leads from frame p - 1 + i to frame p + i. Actions inside the prompt are
    inferred. Generated pixels are never encoded again. The same seed gives the same rollout,
    whatever else is in the batch. `advance` is called after every imagined frame.

    Raises:
        ValueError: A latent action outside the codebook, another number of seeds or actions
            than of prompts, or frames of another size than the tokenizer's.
    """
    _check(genie, prompt, latent_actions, seeds)
    genie.eval()
    imagination = Imagination(genie, prompt, seeds=seeds, sampler=sampler or Sampler())
    for action in latent_actions.unbind(1):
        imagination.step(action)
        if advance:
            advance()
    return imagination.rollout()


class Imagination:
    """A rollout that goes on one latent action at a time.

    Finished frames live in KV caches of the dynamics and of the tokenizer's decoder, so a step
    costs one frame, however long the past.
    """

    def __init__(
        self,
        genie: Genie,
        prompt: UInt8[Tensor, "b p h w c"],
        *,
        seeds: Sequence[int],
        sampler: Sampler,
    ) -> None:
        _refuse_robot_steering(genie)
        self.genie = genie
        self.sampler = sampler
        self.num_prompt_frames = prompt.shape[1]
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._dynamics_cache = genie.dynamics.transformer.new_cache(genie.num_frames)
        self._decoder_cache = genie.tokenizer.decoder.new_cache(genie.num_frames)
        self._tokens: list[Tensor] = []
        self._frames: list[Tensor] = []
        self._actions: list[Tensor] = []
        self._start(prompt)

    @torch.no_grad()
    def step(self, latent_action: Int[Tensor, " b"]) -> UInt8[Tensor, "b h w c"]:
        """Imagine the next frame."""
        dynamics = self.genie.dynamics
        code = self.genie.latent_action.codes(latent_action)[:, None]
        size = (len(latent_action), dynamics.tokens_per_frame)
        hidden = torch.full(size, dynamics.mask_token, device=latent_action.device)
        tokens = decode_frame(
            lambda known, places: dynamics.next_frame(
                known[:, None], code, self._dynamics_cache, places
            ),
            hidden,
            sampler=self.sampler,
            generators=self._generators,
        )
        self._finish(tokens, code)
        self._actions.append(latent_action)
        return self._frames[-1]

    def rollout(self) -> Rollout:
        """Everything so far, the prompt included."""
        none = self._tokens[0].new_zeros(len(self._tokens[0]), 0)
        return Rollout(
            tokens=torch.stack(self._tokens, dim=1),
            video=torch.stack(self._frames, dim=1),
            latent_actions=torch.stack(self._actions, dim=1) if self._actions else none,
            num_prompt_frames=self.num_prompt_frames,
        )

    @torch.no_grad()
    def _start(self, prompt: UInt8[Tensor, "b p h w c"]) -> None:
        video = video_to_float(prompt)
        tokens = self.genie.tokenizer.encode(video)
        self._finish(tokens[:, 0], None)
        if prompt.shape[1] > 1:
            inferred = self.genie.latent_action.encode(video, tokens).indices
            for frame, action in zip(tokens[:, 1:].unbind(1), inferred.unbind(1), strict=True):
                self._finish(frame, self.genie.latent_action.codes(action)[:, None])
                self._actions.append(action)

    def _finish(self, tokens: Int[Tensor, "b s"], code: Tensor | None) -> None:
        """Put a frame whose tokens are final into both caches, and decode its pixels."""
        none = tokens[:, :0]
        self.genie.dynamics.next_frame(tokens[:, None], code, self._dynamics_cache, none)
        self._dynamics_cache.finish()
        frame = self.genie.tokenizer.decode(tokens[:, None], self._decoder_cache)
        self._tokens.append(tokens)
        self._frames.append(video_to_bytes(frame[:, 0]))


def _refuse_robot_steering(genie: Genie) -> None:
    width, code_dim = genie.dynamics.embed_action.in_features, genie.latent_action.code_dim
    if width != code_dim:
        raise ValueError(
            f"the dynamics of this model takes robot actions ({width} numbers), not latent actions "
            f"({code_dim}): a model trained with model.dynamics.steered_by=robot_actions cannot be "
            "rolled out by codes"
        )


def _check(genie: Genie, prompt: Tensor, latent_actions: Tensor, seeds: Sequence[int]) -> None:
    num_codes, image_size = genie.latent_action.num_codes, genie.tokenizer.image_size
    if (
        latent_actions.numel()
        and not 0 <= int(latent_actions.min()) <= int(latent_actions.max()) < num_codes
    ):
        raise ValueError(
            f"latent actions must be 0..{num_codes - 1}, the codes of this model; got values from "
            f"{int(latent_actions.min())} to {int(latent_actions.max())}"
        )
    if not len(prompt) == len(latent_actions) == len(seeds):
        raise ValueError(
            f"got {len(prompt)} prompts, {len(latent_actions)} rows of latent actions and "
            f"{len(seeds)} seeds; give one of each per rollout"
        )
    if tuple(prompt.shape[2:4]) != tuple(image_size):
        raise ValueError(
            f"the prompt has {prompt.shape[2]}x{prompt.shape[3]} pixels, but this tokenizer was "
            f"trained on {image_size[0]}x{image_size[1]}; resize the prompt to that"
        )
