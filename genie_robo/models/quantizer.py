"""Vector quantisation (van den Oord et al. 2017): encodings to codes and their indices.

    index = argmin_k |e - c_k|,    decoder input = e + stop_gradient(c_index - e)

The gradient passes straight through to the encoding e. Losses are returned per encoding, and
counts are pooled in `finish_step`, so a training step is the same whether its batch was computed at
once, in parts, or by several processes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genie_robo.models.settings import Space
from genie_robo.models.step_counter import StepCounter
from genie_robo.ranks import Ranks
from genie_robo.types import move

ENTROPY_TEMPERATURE = 0.1
"""Temperature of the soft code assignment in the entropy term."""
MARGINAL_DECAY = 0.9
"""Decay per training step of the running code frequencies in the entropy term."""
MEAN_DECAY = 0.99
"""Decay per training step of the running means of a continuous bottleneck's clusters."""
KMEANS_ROUNDS = 10
INITIAL_COUNT = 20
"""Number of encodings that the initial mean of a cluster counts for."""
WARMUP_NOISE = 0.2
"""Length of the noise added to bounded encodings that are not quantised."""
MAX_JOINT_CODES = 1024
"""Limit on latent actions: training and suites keep statistics of each one."""


class Quantized(NamedTuple):
    """Codes chosen for continuous encodings, and the quantisation loss."""

    codes: Float[Tensor, "*n e"]
    """Decoder input: the chosen codes, or noisy encodings where nothing is quantised; with a
    straight-through gradient."""
    chosen: Float[Tensor, "*n e"]
    """The chosen codes without a gradient; equal to `codes` during warm-up."""
    indices: Int[Tensor, "*n"]
    loss: Float[Tensor, "*n"]


class CodeUse(NamedTuple):
    """How the codes were used in one training step; stays on the device."""

    perplexity: Float[Tensor, ""]
    """1 when collapsed, num_codes at best; NaN when nothing was quantised."""
    num_dead: Int[Tensor, ""]
    """Codes unused for `reset_after` steps."""
    num_restarted: Int[Tensor, ""]


class Quantizer(StepCounter, ABC):
    """Maps continuous encodings to a finite set of codes and counts the use of each."""

    age: Int[Tensor, " k"]
    use: Int[Tensor, " k"]

    def __init__(self, *, num_codes: int, code_dim: int, reset_after: int) -> None:
        super().__init__()
        self.num_codes = num_codes
        self.code_dim = code_dim
        self.reset_after = reset_after
        self.register_buffer("age", torch.zeros(num_codes, dtype=torch.long))
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("use", torch.zeros(num_codes, dtype=torch.long), persistent=False)

    @property
    def adds_noise(self) -> bool:
        """Whether the decoder currently gets encodings with noise in place of codes."""
        return False

    @property
    def is_additive(self) -> bool:
        """Whether codes are means of their encodings, so that errors can be fed back."""
        return False

    def forward(
        self,
        encoded: Float[Tensor, "*n e"],
        valid: Bool[Tensor, "*n"] | None = None,
        noise: Float[Tensor, "*n e"] | None = None,
    ) -> Quantized:
        """Quantise in fp32, and in training count the use of every code.

        Args:
            encoded: Encodings, not yet bounded.
            valid: False for padding, which is not counted.
            noise: Standard normal, used where encodings are not quantised; None draws it.
        """
        valid = torch.ones_like(encoded[..., 0]).bool() if valid is None else valid
        with torch.autocast(encoded.device.type, enabled=False):
            return self._quantize(encoded, valid, noise)

    @abstractmethod
    def bound(self, encoded: Float[Tensor, "*n e"]) -> Float[Tensor, "*n e"]:
        """Map encodings into the space of the codes."""

    @abstractmethod
    def nearest(self, bounded: Float[Tensor, "*n e"]) -> Int[Tensor, "*n"]:
        """Index of the code nearest to an encoding that `bound` returned."""

    @abstractmethod
    def lookup(self, indices: Int[Tensor, "*n"]) -> Float[Tensor, "*n e"]:
        """The codes of the given indices."""

    @torch.no_grad()
    def code_probabilities(self, bounded: Float[Tensor, "n e"]) -> Float[Tensor, "n k"]:
        """Soft assignment of bounded encodings to codes; the nearest code is the likeliest.

        As in the entropy term: softmax of the negative squared distance over twice
        ENTROPY_TEMPERATURE, which on the unit sphere is softmax(cosine / temperature).
        """
        codes = self.lookup(torch.arange(self.num_codes, device=bounded.device)).double()
        mode = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(bounded.double(), codes, compute_mode=mode)
        return (-distances.square() / (2 * ENTROPY_TEMPERATURE)).softmax(-1)

    @torch.no_grad()
    def finish_step(self, ranks: Ranks, generator: torch.Generator) -> CodeUse:
        """After an optimizer step: age unused codes and restart dead ones.

        Args:
            ranks: All processes of the training run.
            generator: On the CPU, in the same state on every process.
        """
        use = ranks.sum(self.use.clone())
        self.use.zero_()
        self.count_step()
        has_codes = use.any()  # else nothing was quantised
        self.age.add_(has_codes.long()).masked_fill_(use > 0, 0)
        is_dead = (self.age >= self.reset_after) & has_codes
        num_restarted = self._restart(is_dead, ranks, generator)
        found = torch.where(has_codes, perplexity(use), torch.nan)
        return CodeUse(found, is_dead.sum(), num_restarted)

    @abstractmethod
    def _quantize(
        self, encoded: Float[Tensor, "*n e"], valid: Bool[Tensor, "*n"], noise: Tensor | None
    ) -> Quantized: ...

    def _count(self, indices: Int[Tensor, "*n"], valid: Bool[Tensor, "*n"]) -> None:
        if self.training:
            self.use.index_add_(0, indices.flatten(), valid.flatten().long())

    def _restart(
        self, is_dead: Bool[Tensor, " k"], ranks: Ranks, generator: torch.Generator
    ) -> Int[Tensor, ""]:
        """Move dead codes if the quantizer can; returns how many were moved."""
        del ranks, generator
        return torch.zeros_like(is_dead.sum())


class VectorQuantizer(Quantizer):
    """A codebook learned with the VQ loss (van den Oord et al. 2017, eq. 3).

    On the `sphere` encodings and codes are l2-normalised, so the nearest code has the highest
    cosine (Yu et al. 2022, section 3.2). In the `box` encodings are squashed by tanh: they keep
    their size, so few dimensions can encode how far something moves (docs/LOG.md).

    For the first `warmup_steps` training steps encodings pass unquantised, with a little noise;
    then the codebook starts at the k-means centres of the last batch. Encodings that are already
    informative lose little when they are quantised (docs/LOG.md). With `continuous` the decoder
    always gets unquantised encodings, and codes are the running means of their clusters.
    """

    marginal: Float[Tensor, " k"]
    soft_use: Float[Tensor, " k"]
    members: Float[Tensor, "k e+1"]
    new_members: Float[Tensor, "k e+1"]

    def __init__(
        self,
        *,
        num_codes: int,
        code_dim: int,
        commitment: float,
        reset_after: int,
        entropy_weight: float = 0.0,
        warmup_steps: int = 0,
        continuous: bool = False,
        space: Space = Space.sphere,
    ) -> None:
        super().__init__(num_codes=num_codes, code_dim=code_dim, reset_after=reset_after)
        self.space: Space = space
        self.commitment = commitment
        self.entropy_weight = entropy_weight
        self.warmup_steps = warmup_steps
        self.continuous = continuous
        self.codebook = nn.Parameter(F.normalize(torch.randn(num_codes, code_dim), dim=-1))
        self.register_buffer("marginal", torch.full((num_codes,), 1 / num_codes))
        self.register_buffer("soft_use", torch.zeros(num_codes), persistent=False)
        # Running sum and, in the last column, count of the encodings nearest to each code.
        self.register_buffer("members", torch.zeros(num_codes, code_dim + 1))
        self.register_buffer("new_members", torch.zeros(num_codes, code_dim + 1), persistent=False)
        self._samples: list[Float[Tensor, "n e"]] = []

    @property
    def adds_noise(self) -> bool:
        """True during warm-up, and always for a continuous bottleneck."""
        return self.continuous or self._is_warming_up

    @property
    def is_additive(self) -> bool:
        """True in the box; on the sphere encodings have no size."""
        return self.space is Space.box

    @property
    def _is_warming_up(self) -> bool:
        return self.steps_made < self.warmup_steps

    def bound(self, encoded: Float[Tensor, "*n e"]) -> Float[Tensor, "*n e"]:
        """Encodings on the sphere or in the box."""
        return F.normalize(encoded, dim=-1) if self.space is Space.sphere else encoded.tanh()

    def lookup(self, indices: Int[Tensor, "*n"]) -> Float[Tensor, "*n e"]:
        """The codes of the given indices, of unit length on the sphere."""
        return F.embedding(indices, self._project(self.codebook))

    def nearest(self, bounded: Float[Tensor, "*n e"]) -> Int[Tensor, "*n"]:
        """Index of the nearest code."""
        with torch.autocast(bounded.device.type, enabled=False):
            return self._closeness(bounded.float()).max(-1).indices

    def _quantize(
        self, encoded: Float[Tensor, "*n e"], valid: Bool[Tensor, "*n"], noise: Tensor | None
    ) -> Quantized:
        encoded = self.bound(encoded.float())
        nearness = self._closeness(encoded)
        indices = nearness.max(-1).indices  # on a CPU five times as fast as argmax
        # Zero, but with a gradient: optimizers and engines expect one for every parameter.
        no_loss = torch.zeros_like(encoded[..., 0]) + 0.0 * self.codebook.sum()
        if self._is_warming_up:
            if self.training and self.steps_made == self.warmup_steps - 1:
                self._samples.append(encoded.detach()[valid])
            noisy = _add_noise(encoded, noise)
            return Quantized(noisy, noisy.detach(), indices, no_loss)
        codes = self.lookup(indices)
        self._count(indices, valid)
        if self.continuous:
            self._collect(encoded.detach(), indices, valid)
            return Quantized(_add_noise(encoded, noise), codes.detach(), indices, no_loss)
        loss = vq_loss(encoded, codes, beta=self.commitment)
        if self.entropy_weight:
            loss = loss - self.entropy_weight * self._information(nearness, valid)
        straight_through = encoded + (codes - encoded).detach()
        return Quantized(straight_through, codes.detach(), indices, loss)

    def _information(
        self, nearness: Float[Tensor, "*n k"], valid: Bool[Tensor, "*n"]
    ) -> Float[Tensor, "*n"]:
        assignment = (nearness / ENTROPY_TEMPERATURE).softmax(-1)
        if self.training:
            self.soft_use += (assignment.detach() * valid[..., None]).flatten(0, -2).sum(0)
        return code_information(assignment, self.marginal)

    def _collect(
        self, encoded: Float[Tensor, "*n e"], indices: Int[Tensor, "*n"], valid: Bool[Tensor, "*n"]
    ) -> None:
        """Add valid encodings to the clusters of this step."""
        if self.training:
            counted = torch.cat([encoded, torch.ones_like(encoded[..., :1])], dim=-1)
            counted = (counted * valid[..., None]).flatten(0, -2)
            self.new_members.index_add_(0, indices.flatten(), counted)

    @torch.no_grad()
    def finish_step(self, ranks: Ranks, generator: torch.Generator) -> CodeUse:
        """Also initialise the codebook when the warm-up ends, and update running means."""
        if self.steps_made == self.warmup_steps - 1:
            samples = ranks.gather(torch.cat(self._samples))
            self._samples.clear()
            centres = cluster(samples, self.num_codes, generator, project=self._project)
            ranks.write(self.codebook, centres)
            self.members.copy_(F.pad(centres, (0, 1), value=1.0) * INITIAL_COUNT)
        elif self.continuous and self.steps_made >= self.warmup_steps:
            self._move_to_means(ranks)
        soft_use = ranks.sum(self.soft_use.clone())
        self.soft_use.zero_()
        total = soft_use.sum()
        marginal = torch.where(total > 0, soft_use / total, self.marginal)
        self.marginal.lerp_(marginal, 1 - MARGINAL_DECAY)
        return super().finish_step(ranks, generator)

    def _move_to_means(self, ranks: Ranks) -> None:
        """Move codes to the running means of their encodings (van den Oord et al. 2017, A.1)."""
        self.members.mul_(MEAN_DECAY).add_(ranks.sum(self.new_members.clone()))
        self.new_members.zero_()
        sums, counts = self.members[:, :-1], self.members[:, -1:]
        means = sums / counts.clamp(min=1e-6)
        codes = ranks.read(self.codebook)
        ranks.write(self.codebook, torch.where(counts > 1, self._project(means), codes))

    def _restart(
        self, is_dead: Bool[Tensor, " k"], ranks: Ranks, generator: torch.Generator
    ) -> Int[Tensor, ""]:
        """Move dead codes next to random live ones."""
        is_live = self.age == 0
        num_live = is_live.sum().clamp(min=1)
        live_first = is_live.long().argsort(descending=True, stable=True)
        draws = move(torch.rand(self.num_codes, generator=generator), is_dead.device)
        chosen = live_first[(draws * num_live).long().clamp(max=num_live - 1)]
        codebook = ranks.read(self.codebook)
        copies = self._project(codebook[chosen])
        noise = move(torch.randn(copies.shape, generator=generator), copies.device) * 0.1
        moved = self._project(copies + noise / self.code_dim**0.5)
        ranks.write(self.codebook, torch.where(is_dead[:, None], moved, codebook))
        self.age.masked_fill_(is_dead, 0)
        self.members.masked_fill_(is_dead[:, None], 0)
        return is_dead.sum()

    def _project(self, codes: Float[Tensor, "k e"]) -> Float[Tensor, "k e"]:
        """Codes in the space of bounded encodings."""
        return F.normalize(codes, dim=-1) if self.space is Space.sphere else codes

    def _closeness(self, bounded: Float[Tensor, "*n e"]) -> Float[Tensor, "*n k"]:
        return closeness(bounded, self._project(self.codebook.float()))


class JointQuantizer(Quantizer):
    """Splits an encoding into `num_parts` equal parts, all quantised by one codebook.

    The codes of the parts are the digits of the joint index in base K, the first part's most
    significant: a codebook of K codes makes K ** num_parts joint codes. A loss is the mean over the
    parts; perplexity is that of joint codes, dead and restarted codes are those of the codebook.
    """

    def __init__(self, part: Quantizer, num_parts: int) -> None:
        """Join the codes of a codebook.

        Raises:
            ValueError: No part, or more joint codes than `MAX_JOINT_CODES`.
        """
        if num_parts < 1 or part.num_codes**num_parts > MAX_JOINT_CODES:
            raise ValueError(
                f"model.latent_action.codes_per_transition={num_parts} with {part.num_codes} codes "
                f"each must be at least 1 and make at most {MAX_JOINT_CODES} latent actions; take "
                "fewer, or a smaller model.latent_action.quantizer.num_codes"
            )
        super().__init__(
            num_codes=part.num_codes**num_parts,
            code_dim=part.code_dim * num_parts,
            reset_after=part.reset_after,
        )
        self.part = part
        self.num_parts = num_parts

    @property
    def adds_noise(self) -> bool:
        """Whether the codebook adds noise."""
        return self.part.adds_noise

    @property
    def is_additive(self) -> bool:
        """Whether the codebook is additive."""
        return self.part.is_additive

    def bound(self, encoded: Float[Tensor, "*n e"]) -> Float[Tensor, "*n e"]:
        """Bound every part as the codebook does."""
        return self.part.bound(self._split(encoded)).flatten(-2)

    def nearest(self, bounded: Float[Tensor, "*n e"]) -> Int[Tensor, "*n"]:
        """Index of the nearest joint code."""
        return self._join(self.part.nearest(self._split(bounded)))

    def lookup(self, indices: Int[Tensor, "*n"]) -> Float[Tensor, "*n e"]:
        """The concatenated codes of the parts."""
        digits = indices[..., None] // self._place_values(indices.device) % self.part.num_codes
        return self.part.lookup(digits).flatten(-2)

    def finish_step(self, ranks: Ranks, generator: torch.Generator) -> CodeUse:
        """Finish the codebook's step, and count the joint codes."""
        of_part = self.part.finish_step(ranks, generator)
        joint = super().finish_step(ranks, generator)
        is_known = ~of_part.perplexity.isnan()
        found = torch.where(is_known, joint.perplexity, torch.nan)
        return of_part._replace(perplexity=found)

    def _quantize(
        self, encoded: Float[Tensor, "*n e"], valid: Bool[Tensor, "*n"], noise: Tensor | None
    ) -> Quantized:
        quantized = self.part(
            self._split(encoded),
            valid[..., None].expand(*valid.shape, self.num_parts),
            None if noise is None else self._split(noise),
        )
        indices = self._join(quantized.indices)
        self._count(indices, valid)
        codes, chosen = quantized.codes.flatten(-2), quantized.chosen.flatten(-2)
        return Quantized(codes, chosen, indices, quantized.loss.mean(-1))

    def _split(self, encoded: Float[Tensor, "*n e"]) -> Float[Tensor, "*n parts e_part"]:
        return encoded.unflatten(-1, (self.num_parts, self.part.code_dim))

    def _join(self, digits: Int[Tensor, "*n parts"]) -> Int[Tensor, "*n"]:
        return (digits * self._place_values(digits.device)).sum(-1)

    def _place_values(self, device: torch.device) -> Int[Tensor, " parts"]:
        exponents = torch.arange(self.num_parts - 1, -1, -1, device=device)
        return self.part.num_codes**exponents


def vq_loss(
    encoded: Float[Tensor, "*n e"], codes: Float[Tensor, "*n e"], *, beta: float
) -> Float[Tensor, "*n"]:
    """Pull codes to encodings, and encodings to codes at weight beta.

    |sg(e) - c|^2 + beta |e - sg(c)|^2 for each encoding, sg = stop gradient. Source: van den Oord
    et al. 2017, eq. 3, last two terms.
    """
    to_codes = (encoded.detach() - codes).square().sum(-1)
    to_encodings = (encoded - codes.detach()).square().sum(-1)
    return to_codes + beta * to_encodings


def _add_noise(encoded: Float[Tensor, "*n e"], noise: Tensor | None) -> Float[Tensor, "*n e"]:
    noise = torch.randn_like(encoded) if noise is None else noise
    return encoded + noise * WARMUP_NOISE / encoded.shape[-1] ** 0.5


def code_information(
    assignment: Float[Tensor, "*n k"], marginal: Float[Tensor, " k"]
) -> Float[Tensor, "*n"]:
    """KL divergence (nats) of each soft code assignment from the code frequencies `marginal`.

    Its mean is the mutual information of encodings and codes when the marginal is the mean
    assignment: high when every code is used and every assignment is certain. Source: Yu et al. 2023
    (MAGVIT-v2), eq. 6. Differs: a running marginal in place of the batch's, so that parts of a
    batch and several processes give exactly the same loss.
    """
    cross_entropy = -(assignment * marginal.clamp(min=1e-9).log()).sum(-1)
    return cross_entropy - _entropy(assignment)


def perplexity(use: Int[Tensor, " k"]) -> Float[Tensor, ""]:
    """exp(entropy) of counts: the effective number of codes in use."""
    return _entropy(use.float() / use.sum().clamp(min=1)).exp()


def _entropy(probabilities: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
    return -(probabilities * probabilities.clamp(min=1e-9).log()).sum(-1)


def closeness(points: Float[Tensor, "*n e"], codes: Float[Tensor, "k e"]) -> Float[Tensor, "*n k"]:
    """Minus half the squared distance to every code; on the unit sphere the cosine less 1.

    -|p - c|^2 / 2 = [p, -|p|^2 / 2, 1] . [c, 1, -|c|^2 / 2], one product instead of three passes.
    """
    points = torch.cat([points, _half_squares(points), torch.ones_like(points[..., :1])], dim=-1)
    codes = torch.cat([codes, torch.ones_like(codes[:, :1]), _half_squares(codes)], dim=-1)
    return points @ codes.T


def _half_squares(x: Float[Tensor, "*n e"]) -> Float[Tensor, "*n 1"]:
    return -x.square().sum(-1, keepdim=True) / 2


@torch.no_grad()
def cluster(
    samples: Float[Tensor, "n e"],
    num_clusters: int,
    generator: torch.Generator,
    *,
    project: Callable[[Tensor], Tensor],
) -> Float[Tensor, "k e"]:
    """Centres of k-means, started by k-means++; `project` maps means into the code space."""
    centres = _spread_start(samples, num_clusters, generator)
    for _ in range(KMEANS_ROUNDS):
        nearest = closeness(samples, centres).max(-1).indices
        sums = torch.zeros_like(centres).index_add_(0, nearest, samples)
        counts = torch.bincount(nearest, minlength=num_clusters)[:, None]
        centres = torch.where(counts == 0, centres, project(sums / counts.clamp(min=1)))
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
