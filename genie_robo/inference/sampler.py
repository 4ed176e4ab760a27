"""Decode the tokens of one frame in a few MaskGIT steps (Chang et al. 2022, section 3.2)."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genie_robo.inference.uncertainty import token_entropy
from genie_robo.models.maskgit import hidden_places, masked_counts, sample_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """How a frame is decoded.

    The paper samples 25 steps at temperature 2 in random order. Four steps at 0.25 imagine small
    robot videos as well (docs/LOG.md).
    """

    num_steps: int = 4
    temperature: float = 0.25
    """Divides the logits; 0 always takes the most likely token."""
    order: Literal["random", "confidence"] = "random"
    """Which tokens to reveal first. Confidence order copies the last frame in static video."""
    top_k: int = 0
    """Draw among so many most likely tokens only; 0 draws among all."""
    guidance: float = 1.0
    """How far to go from the logits of no latent action in particular towards those of the given
    one, and beyond it with more than 1. Every value but 1 computes both, which takes twice the
    time."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot decode."""
        if self.num_steps < 1 or self.temperature < 0:
            raise ValueError(
                f"sampler.num_steps={self.num_steps} must be at least 1 and "
                f"sampler.temperature={self.temperature} at least 0"
            )
        if self.top_k < 0 or self.guidance < 0:
            raise ValueError(
                f"sampler.top_k={self.top_k} must be at least 0 (all tokens) and "
                f"sampler.guidance={self.guidance} at least 0 (1 is off)"
            )


class DecodedFrame(NamedTuple):
    """The tokens of a frame and how sure the model was of each."""

    tokens: Int[Tensor, "b s"]
    entropy: Float[Tensor, "b s"]
    """Nats, of the softmax of a token's logits when it was revealed, before temperature and
    top_k."""


def frame_noise(generators: Sequence[torch.Generator], *shape: int) -> Float[Tensor, "b ..."]:
    """Uniform noise with one generator per rollout, so a rollout does not depend on its batch."""
    return torch.stack([torch.rand(shape, generator=generator) for generator in generators])


def decode_frame(
    compute_logits: Callable[[Int[Tensor, "b s"], Int[Tensor, "b r"]], Float[Tensor, "b r k"]],
    hidden: Int[Tensor, "b s"],
    *,
    sampler: Sampler,
    generators: Sequence[torch.Generator],
) -> DecodedFrame:
    """Reveal all tokens of a frame that starts fully hidden.

    `hidden` holds the mask token everywhere; `compute_logits` sees the partly known frame and
    gives the logits of the places asked for: in random order only those that are revealed next.
    """
    tokens, mask_token, size = hidden, int(hidden[0, 0]), hidden.shape[1]
    entropy = torch.zeros(tokens.shape, device=tokens.device)
    everywhere = torch.arange(size, device=hidden.device).expand(tokens.shape)
    counts = masked_counts(size, sampler.num_steps)
    for before, after in itertools.pairwise((size, *counts)):
        noise = frame_noise(generators, size).to(tokens.device)
        is_hidden, count = tokens == mask_token, before - after
        if sampler.order == "random":
            priority = frame_noise(generators, size).to(tokens.device)
            places = hidden_places(is_hidden, priority, count=count)
            logits = compute_logits(tokens, places).float()
            revealed = _draw(logits, noise.gather(1, places), sampler)
        else:
            logits = compute_logits(tokens, everywhere).float()
            sampled = _draw(logits, noise, sampler)
            confidence = logits.log_softmax(-1).gather(-1, sampled[..., None])[..., 0]
            places = hidden_places(is_hidden, confidence, count=count)
            revealed = sampled.gather(1, places)
            logits = logits.take_along_dim(places[..., None], dim=1)
        tokens = tokens.scatter(1, places, revealed)
        entropy = entropy.scatter(1, places, token_entropy(logits))
    return DecodedFrame(tokens, entropy)


def _draw(
    logits: Float[Tensor, "b r k"], noise: Float[Tensor, "b r"], sampler: Sampler
) -> Int[Tensor, "b r"]:
    return sample_tokens(logits, noise, temperature=sampler.temperature, top_k=sampler.top_k)
