"""Prompt frames and latent actions to an imagined rollout (paper section 2.2).

    z_1..p = tokenizer(prompt),   z_t+1 ~ dynamics(z_1..t, a_1..t),   frame t = decoder(z_1..t)

a_t is the code of a latent action, a latent itself if the dynamics was trained on both, or a robot
action if it was trained on those.
Generated pixels are never encoded again.
"""

import copy
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from genie_robo.inference.frame_decoder import FrameDecoder, cache_bytes
from genie_robo.inference.sampler import DecodedFrame, decode_frame
from genie_robo.inference.settings import Sampler
from genie_robo.models.genie import Genie
from genie_robo.models.maskgit import guide
from genie_robo.precision import imagines_in_bf16
from genie_robo.types import Rollout, video_to_bytes, video_to_float


@torch.no_grad()
def imagine(
    genie: Genie,
    prompt: UInt8[Tensor, "prompts p h w c"],
    latent_actions: Int[Tensor, "b n"] | Float[Tensor, "b n e"],
    *,
    seeds: Sequence[int],
    sampler: Sampler | None = None,
) -> Rollout:
    """Imagine the n frames after a prompt of p frames under n latent actions.

    Latent action i leads from frame p - 1 + i to frame p + i; those inside the prompt are inferred.
    Integers are codes, floating-point numbers are latents. A seed gives the same rollout in any
    batch. A single prompt may be shared by all rollouts.

    Raises:
        ValueError: A latent action outside the codebook, latents for a model that was trained on
            codes alone, another number of seeds or actions than of prompts, or frames of another
            size than the tokenizer's.
    """
    _check_actions(genie, latent_actions, num_rollouts=len(seeds))
    genie.eval()
    imagination = Imagination(genie, prompt, seeds=seeds, sampler=sampler or Sampler(), keep=True)
    for action in latent_actions.unbind(1):
        imagination.step(action)
    return imagination.rollout()


class _Moment(NamedTuple):
    """A finished frame."""

    tokens: Int[Tensor, "b s"]
    entropy: Float[Tensor, "b s"]
    frame: UInt8[Tensor, "b h w c"]


class Imagination:
    """Rollouts that are imagined one latent action at a time.

    Time per step does not grow with the number of steps, nor does memory unless `keep` is set.
    """

    def __init__(
        self,
        genie: Genie,
        prompt: UInt8[Tensor, "prompts p h w c"],
        *,
        seeds: Sequence[int],
        sampler: Sampler,
        keep: bool = False,
    ) -> None:
        """Encode the prompt.

        Args:
            genie: The world model.
            prompt: One for each rollout, or one for all, which is encoded once.
            seeds: One per rollout.
            sampler: How a frame is decoded.
            keep: Store every frame for `rollout`; else only the last one after the first step.

        Raises:
            ValueError: Another number of prompts than of seeds, or frames of another size than the
                tokenizer's.
        """
        _check_prompt(genie, prompt, num_rollouts=len(seeds))
        self.genie, self.sampler = genie, sampler
        self.num_prompt_frames = prompt.shape[1]
        self._keep, self._has_all = keep, True
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._past = Past(genie)
        self._moments: list[_Moment] = []
        self._codes: list[Tensor] = []
        self._start(prompt)
        if len(prompt) < len(seeds):
            self._fan_out(len(seeds))

    def __deepcopy__(self, memo: dict[int, Any]) -> "Imagination":
        """An independent copy that shares the weights."""
        memo |= {id(module): module for module in self.genie.modules()}
        imagination = object.__new__(Imagination)
        vars(imagination).update(copy.deepcopy(vars(self), memo))
        return imagination

    @property
    def num_bytes(self) -> int:
        """Memory of the caches, most of what a copy needs."""
        return self._past.num_bytes

    @property
    def tokens(self) -> Int[Tensor, "b s"]:
        """Tokens of the last frame."""
        return self._moments[-1].tokens

    @property
    def frame(self) -> UInt8[Tensor, "b h w c"]:
        """Pixels of the last frame.

        In a prompt the tokenizer's reconstruction, or the given ones if it skips what stays.
        """
        return self._moments[-1].frame

    @property
    def token_entropy(self) -> Float[Tensor, "b s"]:
        """Entropy of each token of the last frame (nats), 0 in a prompt."""
        return self._moments[-1].entropy

    @property
    def uncertainty(self) -> Float[Tensor, " b"]:
        """Mean token entropy of the last frame (nats)."""
        return self.token_entropy.mean(-1)

    @property
    def code(self) -> Int[Tensor, " b"] | None:
        """The latent action that led to the last frame, the nearest one if something else did.

        None where there is one frame only, or where robot actions alone steer the model.
        """
        return self._codes[-1] if self._codes else None

    @torch.no_grad()
    def step(
        self, latent_action: Int[Tensor, " b"] | Float[Tensor, "b e"]
    ) -> UInt8[Tensor, "b h w c"]:
        """Imagine the next frame, under codes or latents.

        Raises:
            ValueError: They do not steer this model.
        """
        dynamics, latent_model = self.genie.dynamics, self.genie.latent_action
        if latent_action.is_floating_point():
            check_latents(self.genie, latent_action, num_rollouts=len(self._generators))
            latents, code = latent_action, latent_model.nearest(latent_action)
        else:
            check_takes_codes(self.genie)
            latents, code = latent_model.codes(latent_action), latent_action
        return self._advance(dynamics.by_latents(latents), code)

    @torch.no_grad()
    def step_robot(self, robot_actions: Float[Tensor, "b a"]) -> UInt8[Tensor, "b h w c"]:
        """Imagine the next frame, under robot actions.

        Raises:
            ValueError: They do not steer this model.
        """
        steering = self.genie.dynamics.by_robot(robot_actions)
        if not self.genie.takes_codes:
            return self._advance(steering, None)
        latents = steering[:, : self.genie.dynamics.latent_dim]
        return self._advance(steering, self.genie.latent_action.nearest(latents))

    def _advance(
        self, steering: Float[Tensor, "b i"], code: Int[Tensor, " b"] | None
    ) -> UInt8[Tensor, "b h w c"]:
        """Imagine the next frame under an input of the dynamics."""
        dynamics = self.genie.dynamics
        size = (len(steering), dynamics.tokens_per_frame)
        hidden = torch.full(size, dynamics.mask_token, device=steering.device)
        with self._arithmetic():
            decoded = decode_frame(
                lambda known, places: self._logits(known, steering, places),
                hidden,
                sampler=self.sampler,
                generators=self._generators,
            )
            if not self._keep:
                self._moments, self._codes, self._has_all = [], [], False
            if code is not None:
                self._codes.append(code)
            self._finish(decoded, steering)
        return self.frame

    def rollout(self) -> Rollout:
        """All frames, the prompt included.

        Raises:
            RuntimeError: Frames are not kept, and a step was taken.
        """
        if not self._has_all:
            raise RuntimeError(
                "this imagination keeps its last frame alone; make it with keep=True for a rollout"
            )
        tokens, entropy, frames = (torch.stack(p, 1) for p in zip(*self._moments, strict=True))
        none = tokens.new_zeros(len(tokens), 0) if self.genie.takes_codes else None
        return Rollout(
            tokens=tokens,
            video=frames,
            latent_actions=torch.stack(self._codes, dim=1) if self._codes else none,
            num_prompt_frames=self.num_prompt_frames,
            token_entropy=entropy,
        )

    @torch.no_grad()
    def _start(self, prompt: UInt8[Tensor, "prompts p h w c"]) -> None:
        video = video_to_float(prompt)
        tokens = self.genie.tokenizer.encode(video)
        steering: list[Tensor | None] = [None]
        if prompt.shape[1] > 1:
            steering += self._infer_steering(video, tokens).unbind(1)
        sure = torch.zeros(tokens[:, 0].shape, device=tokens.device)
        frames = zip(tokens.unbind(1), steering, video.unbind(1), strict=True)
        with self._arithmetic():
            for frame, action, seen in frames:
                self._finish(DecodedFrame(frame, sure), action, seen)

    def _infer_steering(
        self, video: Float[Tensor, "b p h w c"], tokens: Int[Tensor, "b p s"]
    ) -> Float[Tensor, "b p-1 i"]:
        """What led from frame to frame of the prompt, as input of the dynamics.

        Robot actions are not known there; where they alone steer, zero is their mean.
        """
        dynamics, latent_model = self.genie.dynamics, self.genie.latent_action
        if not self.genie.takes_codes:
            width = dynamics.embed_action.in_features
            return video.new_zeros(len(video), video.shape[1] - 1, width)
        inferred = latent_model.encode(video, tokens)
        self._codes += inferred.indices.unbind(1)
        codes = latent_model.codes(inferred.indices)
        return dynamics.by_latents(inferred.continuous if self.genie.takes_latents else codes)

    def _fan_out(self, num_rollouts: int) -> None:
        """Start every rollout from the one prompt."""
        self._past.fan_out(num_rollouts)
        self._moments = [
            _Moment(*(part.repeat_interleave(num_rollouts, 0) for part in moment))
            for moment in self._moments
        ]
        self._codes = [code.repeat_interleave(num_rollouts, 0) for code in self._codes]

    def _logits(
        self, known: Int[Tensor, "b s"], steering: Float[Tensor, "b i"], places: Int[Tensor, "b r"]
    ) -> Float[Tensor, "b r k"]:
        """Logits of the frame being decoded, at the given places."""
        conditioned = self._past.logits(known, steering, places)
        if self.sampler.guidance == 1:
            return conditioned
        any_action = mean_steering(self.genie).expand_as(steering)
        unconditioned = self._past.logits(known, any_action, places)
        return guide(conditioned, unconditioned, guidance=self.sampler.guidance)

    def _finish(
        self,
        decoded: DecodedFrame,
        steering: Float[Tensor, "b i"] | None,
        seen: Float[Tensor, "b h w c"] | None = None,
    ) -> None:
        """Append a frame whose tokens are final."""
        frame = self._past.finish(decoded.tokens, steering, seen)
        self._moments.append(_Moment(decoded.tokens, decoded.entropy, frame))

    def _arithmetic(self) -> torch.autocast:
        """Where frames are computed; the weights are converted once each time it is entered."""
        device = self.genie.dynamics.position.device.type
        is_bf16 = imagines_in_bf16(self.sampler.precision, device)
        return torch.autocast(device, torch.bfloat16, enabled=is_bf16)


TokensAndAction = tuple[Int[Tensor, "b s"], Float[Tensor, "b i"] | None]
"""Tokens of a frame, and the input of the dynamics that leads to it."""


class Past:
    """Finished frames in the KV caches of the dynamics and of the tokenizer's decoder.

    A full cache restarts with the later half of its frames, so outputs always equal those of the
    kept frames without a cache. Dropping only the oldest frame is worse: the keys of the others
    were computed with it, and no window in training lacks its first frame (docs/imagination.md).
    """

    def __init__(self, genie: Genie) -> None:
        self._dynamics = genie.dynamics
        self._num_frames = genie.num_frames
        self._cache = genie.dynamics.transformer.new_cache(genie.num_frames)
        self._decoder = FrameDecoder(genie.tokenizer, num_frames=genie.num_frames)
        self._num_cached = 0
        self._later_half: deque[TokensAndAction] = deque(maxlen=genie.num_frames // 2)

    @property
    def num_bytes(self) -> int:
        """Memory of the cached keys and values."""
        return cache_bytes(self._cache) + self._decoder.num_bytes

    def logits(
        self,
        tokens: Int[Tensor, "b s"],
        steering: Float[Tensor, "b i"],
        places: Int[Tensor, "b r"],
    ) -> Float[Tensor, "b r k"]:
        """Logits of the next, partly masked frame at some places."""
        self._make_room()
        return self._dynamics.next_frame(tokens[:, None], steering[:, None], self._cache, places)

    def finish(
        self,
        tokens: Int[Tensor, "b s"],
        action: Float[Tensor, "b i"] | None,
        seen: Float[Tensor, "b h w c"] | None = None,
    ) -> UInt8[Tensor, "b h w c"]:
        """Append a frame and return its pixels.

        `action` leads to it, None for the first frame; `seen` are its true pixels, in a prompt.
        """
        self._make_room()
        self._later_half.append((tokens, action))
        self._append([(tokens, action)])
        return video_to_bytes(self._decoder.decode(tokens, seen))

    def fan_out(self, times: int) -> None:
        """Copy the past of one rollout for `times` rollouts."""
        self._cache.repeat(times)
        self._decoder.fan_out(times)
        for _ in range(len(self._later_half)):
            tokens, action = self._later_half.popleft()
            action = None if action is None else action.repeat_interleave(times, 0)
            self._later_half.append((tokens.repeat_interleave(times, 0), action))

    def _make_room(self) -> None:
        """Restart with the later half of the frames when the window is full."""
        if self._num_cached < self._num_frames:
            return
        self._cache.restart()
        self._num_cached = 0
        self._append(self._later_half)

    def _append(self, frames_and_actions: Iterable[TokensAndAction]) -> None:
        """Append frames to the cache of the dynamics; several only to an empty one."""
        frames, actions = zip(*frames_and_actions, strict=True)
        tokens = torch.stack(frames, dim=1)
        # As in training, no action leads to the first frame of a window.
        leading = actions if self._num_cached else actions[1:]
        known = [action for action in leading if action is not None]
        none = self._dynamics.position.new_zeros(
            len(tokens), 0, self._dynamics.embed_action.in_features
        )
        steering = torch.stack(known, dim=1) if known else none
        self._dynamics.remember(tokens, steering, self._cache)
        self._num_cached += len(frames)


def mean_steering(genie: Genie) -> Float[Tensor, " i"]:
    """The mean of all latent action codes, as the unconditional input of guidance.

    The dynamics was not trained with dropped actions. The embedding is linear, so this is the mean
    embedding of all actions. Where robot actions alone steer, zero is their mean.
    """
    device = next(genie.latent_action.parameters()).device
    if not genie.takes_codes:
        return torch.zeros(genie.dynamics.embed_action.in_features, device=device)
    codes = torch.arange(genie.latent_action.num_codes, device=device)
    return genie.dynamics.by_latents(genie.latent_action.codes(codes).mean(0))


def check_takes_codes(genie: Genie) -> None:
    """Refuse latent actions where they do not steer the model.

    Raises:
        ValueError: Robot actions alone do.
    """
    if not genie.takes_codes:
        raise ValueError(
            "robot actions alone steer this model (model.dynamics.steered_by=robot_actions), so "
            "its latent actions do not; give robot actions"
        )


def check_latents(genie: Genie, latents: Float[Tensor, "b *n e"], *, num_rollouts: int) -> None:
    """Refuse latents that a model does not understand.

    Raises:
        ValueError: It was trained on codes alone, or these are not the finite numbers of a latent
            for each rollout.
    """
    width, num_codes = genie.latent_action.code_dim, genie.latent_action.num_codes
    check_takes_codes(genie)
    if not genie.takes_latents:
        raise ValueError(
            "this model was trained on codes alone (model.dynamics.latents_share=0), so latents "
            f"do not steer it; give codes 0..{num_codes - 1}"
        )
    if (len(latents), latents.shape[-1]) != (num_rollouts, width) or not latents.isfinite().all():
        raise ValueError(
            f"a latent of this model has {width} finite numbers, for each of {num_rollouts} "
            f"rollouts; got an array of shape {tuple(latents.shape)}"
        )


def _check_actions(genie: Genie, latent_actions: Tensor, *, num_rollouts: int) -> None:
    num_codes = genie.latent_action.num_codes
    if latent_actions.is_floating_point():
        check_latents(genie, latent_actions, num_rollouts=num_rollouts)
        return
    if (
        latent_actions.numel()
        and not 0 <= int(latent_actions.min()) <= int(latent_actions.max()) < num_codes
    ):
        raise ValueError(
            f"latent actions must be 0..{num_codes - 1}, the codes of this model; got values from "
            f"{int(latent_actions.min())} to {int(latent_actions.max())}"
        )
    if len(latent_actions) != num_rollouts:
        raise ValueError(
            f"got {len(latent_actions)} rows of latent actions and {num_rollouts} seeds; give one "
            "of each per rollout"
        )


def _check_prompt(genie: Genie, prompt: Tensor, *, num_rollouts: int) -> None:
    image_size = genie.tokenizer.image_size
    if len(prompt) not in (1, num_rollouts):
        raise ValueError(
            f"got {len(prompt)} prompts and {num_rollouts} seeds; give a seed per rollout, and a "
            "prompt per rollout or one for all"
        )
    if tuple(prompt.shape[2:4]) != tuple(image_size):
        raise ValueError(
            f"the prompt has {prompt.shape[2]}x{prompt.shape[3]} pixels, but this tokenizer was "
            f"trained on {image_size[0]}x{image_size[1]}; resize the prompt to that"
        )
