"""Decode the tokens of one frame in a few MaskGIT steps (Chang et al. 2022, section 3.2)."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genie_robo.inference.settings import Order, Sampler
from genie_robo.models.maskgit import hidden_places, masked_counts, sample_tokens
from genie_robo.types import move


class DecodedFrame(NamedTuple):
    """The tokens of a frame and their entropies."""

    tokens: Int[Tensor, "b s"]
    entropy: Float[Tensor, "b s"]
    """Nats; of the logits that revealed a token, before temperature and top_k."""


def _frame_noise(
    generators: Sequence[torch.Generator], num_tokens: int, device: torch.device
) -> Float[Tensor, "b s"]:
    """Uniform noise, one generator per rollout, so that rollouts do not depend on their batch."""
    drawn = [torch.rand(num_tokens, generator=generator) for generator in generators]
    return move(torch.stack(drawn), device)


def decode_frame(
    compute_logits: Callable[[Int[Tensor, "b s"], Int[Tensor, "b r"]], Float[Tensor, "b r k"]],
    hidden: Int[Tensor, "b s"],
    *,
    sampler: Sampler,
    generators: Sequence[torch.Generator],
) -> DecodedFrame:
    """Reveal all tokens of a frame that starts fully masked.

    `hidden` holds the mask token everywhere. `compute_logits(tokens, places)` gives logits at some
    places of a partly masked frame: in random order only at those that are revealed next.
    """
    tokens, mask_token, size = hidden, hidden[0, 0], hidden.shape[1]
    entropy = torch.zeros(tokens.shape, device=tokens.device)
    everywhere = torch.arange(size, device=hidden.device).expand(tokens.shape)
    counts = masked_counts(size, sampler.num_steps)
    for before, after in itertools.pairwise((size, *counts)):
        noise = _frame_noise(generators, size, tokens.device)
        is_hidden, count = tokens == mask_token, before - after
        if sampler.order is Order.random:
            priority = _frame_noise(generators, size, tokens.device)
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


def token_entropy(logits: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
    """Entropy (nats) of softmax(logits): 0 when certain, log(k) when uniform."""
    log_chances = logits.log_softmax(-1)
    return -(log_chances.exp() * log_chances).sum(-1)


def disagreement(tokens: Int[Tensor, "n ..."]) -> Float[Tensor, "..."]:
    """Share of n samples whose token is not the most frequent one: 0 when all agree.

    Samples are rollouts of one prompt and the same actions with different seeds. At most
    1 - 1 / min(n, k) for k tokens.
    """
    most_frequent = tokens.mode(dim=0).values
    return (tokens != most_frequent).float().mean(dim=0)
