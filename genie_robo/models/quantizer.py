"""Vector quantisation: nearest code, straight-through gradient, usage, reset from live codes."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

ENTROPY_TEMPERATURE = 0.1
"""Softness of the code assignment inside the entropy term."""

WARMUP_NOISE = 0.2
"""Length of the noise added to encodings of length 1 while they are not yet quantised."""


class Quantized(NamedTuple):
    """Codes chosen for continuous encodings, and the losses of choosing them."""

    codes: Float[Tensor, "*n e"]
    """The chosen codes; the gradient passes straight through to the encodings."""
    indices: Int[Tensor, "*n"]
    loss: Float[Tensor, ""]
    perplexity: Float[Tensor, ""]
    """exp of the entropy of code use in this batch: 1 when collapsed, num_codes at best."""


class VectorQuantizer(nn.Module):
    """A codebook on the unit sphere, learned with the VQ loss (van den Oord et al. 2017, eq. 3).

    Encodings and codes are l2-normalised, so the nearest code is the one of the highest cosine
    (Yu et al. 2022, section 3.2). A code unused for `reset_after` training steps restarts at a
    live one. Everything here is fp32.

    For the first `warmup_steps` training steps encodings pass unquantised, with a little noise;
    then the codebook starts at the cluster centres of the last batch. A network that has found
    something to say first loses little when it must say it in codes (docs/LOG.md).
    """

    age: Int[Tensor, " k"]
    num_steps: Int[Tensor, ""]

    def __init__(
        self,
        *,
        num_codes: int,
        code_dim: int,
        commitment: float,
        reset_after: int,
        entropy_weight: float = 0.0,
        warmup_steps: int = 0,
    ) -> None:
        super().__init__()
        self.commitment = commitment
        self.reset_after = reset_after
        self.entropy_weight = entropy_weight
        self.codebook = nn.Parameter(F.normalize(torch.randn(num_codes, code_dim), dim=-1))
        self.warmup_steps = warmup_steps
        self.register_buffer("age", torch.zeros(num_codes, dtype=torch.long))
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.long))

    @property
    def num_codes(self) -> int:
        """Size of the codebook."""
        return self.codebook.shape[0]

    def lookup(self, indices: Int[Tensor, "*n"]) -> Float[Tensor, "*n e"]:
        """The unit-length codes of the given indices."""
        return F.embedding(indices, F.normalize(self.codebook, dim=-1))

    def nearest(self, encoded: Float[Tensor, "*n e"]) -> Int[Tensor, "*n"]:
        """Index of the code with the highest cosine."""
        return _cosines(encoded, self.codebook).argmax(-1)

    def forward(
        self, encoded: Float[Tensor, "*n e"], valid: Bool[Tensor, "*n"] | None = None
    ) -> Quantized:
        """Quantise, and in training count the use of every code. Padding has `valid` False."""
        with torch.autocast(encoded.device.type, enabled=False):
            encoded = F.normalize(encoded.float(), dim=-1)
            weight = torch.ones_like(encoded[..., 0]).bool() if valid is None else valid
            if self.training:
                self.num_steps += 1
                if self.num_steps <= self.warmup_steps:
                    return self._pass_through(encoded, weight)
            return self._quantize(encoded, weight)

    def _pass_through(
        self, encoded: Float[Tensor, "*n e"], weight: Bool[Tensor, "*n"]
    ) -> Quantized:
        """Encodings with noise instead of codes; the last batch of them makes the codebook."""
        if self.num_steps == self.warmup_steps:
            centres = cluster_directions(encoded.detach()[weight], self.num_codes)
            self.codebook.data.copy_(centres)
        noise = torch.randn_like(encoded) * WARMUP_NOISE / encoded.shape[-1] ** 0.5
        none = encoded.new_zeros(())
        return Quantized(encoded + noise, self.nearest(encoded), none, none)

    def _quantize(self, encoded: Float[Tensor, "*n e"], weight: Bool[Tensor, "*n"]) -> Quantized:
        cosines = _cosines(encoded, self.codebook)
        indices = cosines.argmax(-1)
        codes = self.lookup(indices)
        loss = _masked_mean(vq_loss(encoded, codes, beta=self.commitment), weight)
        if self.entropy_weight:
            loss = loss - self.entropy_weight * code_information(cosines[weight])
        use = torch.bincount(indices[weight], minlength=self.num_codes)
        if self.training:
            self._grow_old(use)
        straight_through = encoded + (codes - encoded).detach()
        return Quantized(straight_through, indices, loss, perplexity(use))

    @torch.no_grad()
    def reset_dead_codes(self) -> int:
        """Move codes that nobody used for `reset_after` steps onto random live codes.

        Call it after the optimizer step. Returns the number of codes moved.
        """
        dead = self.age >= self.reset_after
        live = (self.age == 0).nonzero().flatten()
        num_dead = int(dead.sum())
        if num_dead == 0 or len(live) == 0:
            return 0
        source = live[torch.randint(len(live), (num_dead,), device=live.device)]
        copies = F.normalize(self.codebook[source], dim=-1)
        noise = torch.randn_like(copies) * 0.1 / copies.shape[-1] ** 0.5
        self.codebook[dead] = F.normalize(copies + noise, dim=-1)
        self.age[dead] = 0
        return num_dead

    @torch.no_grad()
    def _grow_old(self, use: Int[Tensor, " k"]) -> None:
        self.age += 1
        self.age[use > 0] = 0


def vq_loss(
    encoded: Float[Tensor, "*n e"], codes: Float[Tensor, "*n e"], *, beta: float
) -> Float[Tensor, "*n"]:
    """Pull codes to encodings, and encodings to codes at weight beta.

    Source: van den Oord et al. 2017, eq. 3, last two terms, per encoding.
    """
    to_codes = (encoded.detach() - codes).square().sum(-1)
    to_encodings = (encoded - codes.detach()).square().sum(-1)
    return to_codes + beta * to_encodings


def code_information(cosines: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """Mutual information in nats between encodings and their soft codes.

    Entropy of the mean assignment minus mean entropy of the assignments: high when every code is
    used and every encoding is sure of its own. Source: Yu et al. 2023 (MAGVIT-v2), eq. 6.
    """
    assignment = (cosines / ENTROPY_TEMPERATURE).softmax(-1)
    mean = assignment.mean(0)
    return _entropy(mean) - _entropy(assignment).mean()


@torch.no_grad()
def cluster_directions(
    samples: Float[Tensor, "n e"], num_clusters: int, *, num_rounds: int = 10
) -> Float[Tensor, "k e"]:
    """Spherical k-means, started by k-means++: unit vectors that many samples point along."""
    centres = _spread_start(samples, num_clusters)
    for _ in range(num_rounds):
        nearest = (samples @ centres.T).argmax(-1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, samples)
        is_empty = torch.bincount(nearest, minlength=num_clusters) == 0
        centres = torch.where(is_empty[:, None], centres, F.normalize(sums, dim=-1))
    return centres


def _spread_start(samples: Float[Tensor, "n e"], num_clusters: int) -> Float[Tensor, "k e"]:
    """Samples far from each other (Arthur and Vassilvitskii 2007, section 2.2)."""
    centres = samples[torch.randint(len(samples), (1,), device=samples.device)]
    cosine = samples @ centres[0]
    for _ in range(num_clusters - 1):
        distance = (1 - cosine).clamp(min=1e-9)
        new = samples[torch.multinomial(distance, 1)]
        centres = torch.cat([centres, new])
        cosine = torch.maximum(cosine, samples @ new[0])
    return centres


def perplexity(use: Int[Tensor, " k"]) -> Float[Tensor, ""]:
    """exp(entropy) of counts: the effective number of codes in use."""
    share = use.float() / use.sum().clamp(min=1)
    return _entropy(share).exp()


def _entropy(share: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
    return -(share * share.clamp(min=1e-9).log()).sum(-1)


def _cosines(encoded: Float[Tensor, "*n e"], codebook: Float[Tensor, "k e"]) -> Tensor:
    return F.normalize(encoded.float(), dim=-1) @ F.normalize(codebook.float(), dim=-1).T


def _masked_mean(values: Float[Tensor, "*n"], weight: Tensor) -> Float[Tensor, ""]:
    return (values * weight).sum() / weight.sum().clamp(min=1)
