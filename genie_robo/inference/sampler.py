"""Decode the tokens of one frame in a few MaskGIT steps (Chang et al. 2022, section 3.2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genie_robo.models.maskgit import masked_counts, sample_tokens, unmask


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """How a frame is decoded. The paper samples 25 steps at temperature 2 in random order."""

    num_steps: int = 25
    temperature: float = 0.25
    """Divides the logits; 0 always takes the most likely token."""
    order: Literal["random", "confidence"] = "random"
    """Which tokens to reveal first. Confidence order copies the last frame in static video."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot decode."""
        if self.num_steps < 1 or self.temperature < 0:
            raise ValueError(
                f"sampler.num_steps={self.num_steps} must be at least 1 and "
                f"sampler.temperature={self.temperature} at least 0"
            )


def frame_noise(generators: Sequence[torch.Generator], *shape: int) -> Float[Tensor, "b ..."]:
    """Uniform noise with one generator per rollout, so a rollout does not depend on its batch."""
    return torch.stack([torch.rand(shape, generator=generator) for generator in generators])


def decode_frame(
    compute_logits: Callable[[Int[Tensor, "b s"]], Float[Tensor, "b s k"]],
    hidden: Int[Tensor, "b s"],
    *,
    sampler: Sampler,
    generators: Sequence[torch.Generator],
) -> Int[Tensor, "b s"]:
    """Reveal all tokens of a frame that starts fully hidden.

    `hidden` holds the mask token everywhere; `compute_logits` sees the partly known frame.
    """
    tokens, mask_token = hidden, int(hidden[0, 0])
    for num_masked in masked_counts(tokens.shape[1], sampler.num_steps):
        logits = compute_logits(tokens).float()
        noise = frame_noise(generators, tokens.shape[1]).to(logits.device)
        sampled = sample_tokens(logits, noise, temperature=sampler.temperature)
        if sampler.order == "random":
            priority = frame_noise(generators, tokens.shape[1]).to(logits.device)
        else:
            priority = logits.log_softmax(-1).gather(-1, sampled[..., None])[..., 0]
        tokens = unmask(tokens, sampled, priority, num_masked=num_masked, mask_token=mask_token)
    return tokens
