"""MaskGIT as pure functions (Chang et al. 2022): schedule, training mask, one unmasking step.

No function needs a network or global random state; uniform noise is an argument.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def masked_counts(num_tokens: int, num_steps: int) -> tuple[int, ...]:
    """How many tokens are still masked after each decode step, cosine schedule.

    floor(num_tokens * cos(pi/2 * r)) at r = step / num_steps: with 16 tokens and 4 steps
    14, 11, 6, 0 stay masked, so 2, 5, 10, 16 are revealed. Source: section 3.3.

    Raises:
        ValueError: No token or no step.
    """
    if num_tokens < 1 or num_steps < 1:
        raise ValueError(
            f"decoding {num_tokens} tokens in {num_steps} steps: both must be at least 1"
        )
    ratios = (math.cos(math.pi / 2 * step / num_steps) for step in range(1, num_steps))
    return (*(math.floor(num_tokens * ratio) for ratio in ratios), 0)


def random_mask(rate: Float[Tensor, "*b"], noise: Float[Tensor, "*b s"]) -> Bool[Tensor, "*b s"]:
    """Bernoulli mask: True (hidden) at the given rate; `noise` is uniform in [0, 1)."""
    return noise < rate[..., None]


def sample_tokens(
    logits: Float[Tensor, "*n k"], noise: Float[Tensor, "*n"], *, temperature: float, top_k: int = 0
) -> Int[Tensor, "*n"]:
    """Sample from softmax(logits / temperature) by inverting its cumulative distribution.

    `noise` is one uniform number in [0, 1) per token. Temperature 0 takes the most likely token.
    `top_k` restricts sampling to the top_k most likely tokens; 0 disables.
    """
    if temperature == 0:
        return logits.max(-1).indices
    if 0 < top_k < logits.shape[-1]:
        best, tokens = logits.topk(top_k, dim=-1)
        drawn = sample_tokens(best, noise, temperature=temperature)
        return tokens.gather(-1, drawn[..., None])[..., 0]
    distribution = (logits / temperature).softmax(-1).cumsum(-1)
    threshold = noise[..., None] * distribution[..., -1:]
    drawn = torch.searchsorted(distribution, threshold, right=True)[..., 0]
    return drawn.clamp(max=logits.shape[-1] - 1)


def guide(
    conditioned: Float[Tensor, "*n k"], unconditioned: Float[Tensor, "*n k"], *, guidance: float
) -> Float[Tensor, "*n k"]:
    """Classifier-free guidance: 0 gives the unconditioned logits, 1 the conditioned ones.

    Above 1 it extrapolates. Source: Ho and Salimans 2022, eq. 6, for logits.
    """
    return unconditioned + guidance * (conditioned - unconditioned)


def hidden_places(
    is_hidden: Bool[Tensor, "b s"], priority: Float[Tensor, "b s"], *, count: int
) -> Int[Tensor, "b r"]:
    """Places of the `count` hidden tokens of highest priority, each frame's best first."""
    return priority.masked_fill(~is_hidden, -torch.inf).topk(count, dim=-1).indices
