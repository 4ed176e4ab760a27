"""k-means of the encodings that a codebook starts from."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def closeness(points: Float[Tensor, "*n e"], codes: Float[Tensor, "k e"]) -> Float[Tensor, "*n k"]:
    """Minus half the squared distance to every code; on the unit sphere the cosine less 1."""
    squares = points.square().sum(-1, keepdim=True) + codes.square().sum(-1)
    return points @ codes.T - squares / 2


@torch.no_grad()
def cluster(
    samples: Float[Tensor, "n e"],
    num_clusters: int,
    generator: torch.Generator,
    *,
    place: Callable[[Tensor], Tensor],
    num_rounds: int = 10,
) -> Float[Tensor, "k e"]:
    """Centres of k-means, started by k-means++; `place` puts a mean where codes can be."""
    centres = _spread_start(samples, num_clusters, generator)
    for _ in range(num_rounds):
        nearest = closeness(samples, centres).argmax(-1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, samples)
        counts = torch.bincount(nearest, minlength=num_clusters)[:, None]
        centres = torch.where(counts == 0, centres, place(sums / counts.clamp(min=1)))
    return centres


def _spread_start(
    samples: Float[Tensor, "n e"], num_clusters: int, generator: torch.Generator
) -> Float[Tensor, "k e"]:
    """Samples far from each other (Arthur and Vassilvitskii 2007, section 2.2)."""
    draws = torch.rand(num_clusters, generator=generator).to(samples)
    centres = samples[(draws[:1] * len(samples)).long()]
    nearness = closeness(samples, centres)[:, 0]
    for draw in draws[1:]:
        distance = (-nearness).clamp(min=1e-9).cumsum(0)
        place = torch.searchsorted(distance, draw * distance[-1:]).clamp(max=len(samples) - 1)
        new = samples[place]
        centres = torch.cat([centres, new])
        nearness = torch.maximum(nearness, closeness(samples, new)[:, 0])
    return centres
