"""Vector quantisation: nearest code, straight-through gradient, usage, reset from live codes."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genie_robo.models.clustering import closeness, cluster
from genie_robo.models.code_use import code_information, perplexity
from genie_robo.models.settings import Space
from genie_robo.ranks import Ranks

ENTROPY_TEMPERATURE = 0.1
"""Softness of the code assignment inside the entropy term."""

MARGINAL_DECAY = 0.9
"""Memory of the running code use inside the entropy term, per training step."""

FOLLOWING_DECAY = 0.99
"""Memory, per training step, of the means that a codebook follows."""
FIRST_MEMBERS = 20
"""As many encodings as this a code counts for where it starts."""

WARMUP_NOISE = 0.2
"""Length of the noise added to bounded encodings while they are not yet quantised."""


class Quantized(NamedTuple):
    """Codes chosen for continuous encodings, and the losses of choosing them."""

    codes: Float[Tensor, "*n e"]
    """What the decoder is given: the chosen codes, or encodings with noise where they pass
    unquantised. The gradient passes straight through to the encodings."""
    chosen: Float[Tensor, "*n e"]
    """The chosen codes without a gradient; as long as there are none, the same as `codes`."""
    indices: Int[Tensor, "*n"]
    loss: Float[Tensor, "*n"]
    """Of each encoding."""


class CodeUse(NamedTuple):
    """How the codes were used in one training step."""

    perplexity: float
    """exp of the entropy of code use: 1 when collapsed, num_codes at best; NaN while nothing is
    quantised yet."""
    num_dead: int
    """Codes unused for `reset_after` steps."""
    num_restarted: int


class Quantizer(nn.Module, ABC):
    """Continuous encodings to a finite set of codes, with a count of which are used.

    Losses come back for each encoding and counts are pooled in `finish_step`, so a training step
    is the same whether its batch was computed at once, in parts, or by several processes.
    """

    age: Int[Tensor, " k"]
    num_steps: Int[Tensor, ""]
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
    def wants_noise(self) -> bool:
        """Whether encodings are not quantised now and take noise instead."""
        return False

    @property
    @abstractmethod
    def is_additive(self) -> bool:
        """Whether what a code leaves of an encoding unsaid can be added to the next encoding."""

    @abstractmethod
    def forward(
        self,
        encoded: Float[Tensor, "*n e"],
        valid: Bool[Tensor, "*n"] | None = None,
        noise: Float[Tensor, "*n e"] | None = None,
    ) -> Quantized:
        """Quantise, and in training count the use of every code.

        Args:
            encoded: What to quantise.
            valid: False for padding, which is not counted.
            noise: Standard normal, used where encodings are not quantised; None draws it.
        """

    @abstractmethod
    def bound(self, encoded: Float[Tensor, "*n e"]) -> Float[Tensor, "*n e"]:
        """Encodings as they are compared with codes."""

    @abstractmethod
    def nearest(self, encoded: Float[Tensor, "*n e"]) -> Int[Tensor, "*n"]:
        """Index of the code that an encoding becomes."""

    @abstractmethod
    def lookup(self, indices: Int[Tensor, "*n"]) -> Float[Tensor, "*n e"]:
        """The codes of the given indices."""

    @torch.no_grad()
    def finish_step(self, ranks: Ranks, generator: torch.Generator) -> CodeUse:
        """Take stock after an optimizer step: age unused codes and restart dead ones.

        Args:
            ranks: All processes of the training.
            generator: On the CPU, in the same state on every process.
        """
        use = ranks.sum(self.use.clone())
        self.use.zero_()
        self.num_steps += 1
        if not use.any():  # nothing was quantised
            return CodeUse(float("nan"), num_dead=0, num_restarted=0)
        self.age.add_(1).masked_fill_(use > 0, 0)
        is_dead = self.age >= self.reset_after
        num_restarted = self._restart(is_dead, ranks, generator) if is_dead.any() else 0
        return CodeUse(float(perplexity(use)), int(is_dead.sum()), num_restarted)

    def _count(self, indices: Int[Tensor, "*n"], valid: Bool[Tensor, "*n"]) -> None:
        if self.training:
            self.use += torch.bincount(indices[valid], minlength=self.num_codes)

    def _restart(
        self, is_dead: Bool[Tensor, " k"], ranks: Ranks, generator: torch.Generator
    ) -> int:
        """Move dead codes, where codes can be moved; returns how many were."""
        del is_dead, ranks, generator
        return 0


class VectorQuantizer(Quantizer):
    """A codebook learned with the VQ loss (van den Oord et al. 2017, eq. 3).

    On the `sphere` encodings and codes are l2-normalised, so the nearest code is the one of the
    highest cosine (Yu et al. 2022, section 3.2). In the `box` encodings are squashed by tanh: they
    keep their size, so few dimensions can say how far something moves (docs/LOG.md). A code unused
    for `reset_after` training steps restarts at a live one. Everything here is fp32.

    For the first `warmup_steps` training steps encodings pass unquantised, with a little noise;
    then the codebook starts at the cluster centres of the last batch. A network that has found
    something to say first loses little when it must say it in codes (docs/LOG.md). With
    `continuous` they always pass so, and the codebook only follows them: codes are then the
    clusters of what a network says freely.
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
        # Sum and, in the last column, number of the encodings nearest to each code, running.
        self.register_buffer("members", torch.zeros(num_codes, code_dim + 1))
        self.register_buffer("new_members", torch.zeros(num_codes, code_dim + 1), persistent=False)
        self._samples: list[Float[Tensor, "n e"]] = []

    @property
    def wants_noise(self) -> bool:
        """In the warm-up, and always where the bottleneck is continuous."""
        return self.continuous or self._is_warming_up

    @property
    def is_additive(self) -> bool:
        """In the box; on the sphere encodings have no size."""
        return self.space is Space.box

    @property
    def _is_warming_up(self) -> bool:
        return bool(self.num_steps < self.warmup_steps)

    def bound(self, encoded: Float[Tensor, "*n e"]) -> Float[Tensor, "*n e"]:
        """Encodings on the sphere or in the box."""
        return F.normalize(encoded, dim=-1) if self.space is Space.sphere else encoded.tanh()

    def lookup(self, indices: Int[Tensor, "*n"]) -> Float[Tensor, "*n e"]:
        """The codes of the given indices, on the sphere of unit length."""
        return F.embedding(indices, self._place(self.codebook))

    def nearest(self, encoded: Float[Tensor, "*n e"]) -> Int[Tensor, "*n"]:
        """Index of the nearest code."""
        with torch.autocast(encoded.device.type, enabled=False):
            return self._closeness(self.bound(encoded.float())).argmax(-1)

    def forward(
        self,
        encoded: Float[Tensor, "*n e"],
        valid: Bool[Tensor, "*n"] | None = None,
        noise: Float[Tensor, "*n e"] | None = None,
    ) -> Quantized:
        """Quantise, and in training count the use of every code."""
        with torch.autocast(encoded.device.type, enabled=False):
            encoded = self.bound(encoded.float())
            valid = torch.ones_like(encoded[..., 0]).bool() if valid is None else valid
            if self._is_warming_up:
                return self._pass_through(encoded, valid, noise)
            return self._quantize(encoded, valid, noise)

    def _pass_through(
        self, encoded: Float[Tensor, "*n e"], valid: Bool[Tensor, "*n"], noise: Tensor | None
    ) -> Quantized:
        """Encodings with noise instead of codes; those of the last such step make the codebook."""
        if self.training and self.num_steps == self.warmup_steps - 1:
            self._samples.append(encoded.detach()[valid])
        # Zero, but with a gradient: optimizers and engines expect one for every parameter.
        none = torch.zeros_like(encoded[..., 0]) + 0.0 * self.codebook.sum()
        passed = _blur(encoded, noise)
        return Quantized(passed, passed.detach(), self._closeness(encoded).argmax(-1), none)

    def _quantize(
        self, encoded: Float[Tensor, "*n e"], valid: Bool[Tensor, "*n"], noise: Tensor | None
    ) -> Quantized:
        nearness = self._closeness(encoded)
        indices = nearness.argmax(-1)
        codes = self.lookup(indices)
        self._count(indices, valid)
        if self.continuous:
            self._remember(encoded.detach()[valid], indices[valid])
            none = torch.zeros_like(encoded[..., 0]) + 0.0 * self.codebook.sum()
            return Quantized(_blur(encoded, noise), codes.detach(), indices, none)
        loss = vq_loss(encoded, codes, beta=self.commitment)
        if self.entropy_weight:
            loss = loss - self.entropy_weight * self._information(nearness, valid)
        straight_through = encoded + (codes - encoded).detach()
        return Quantized(straight_through, codes.detach(), indices, loss)

    def _remember(self, encoded: Float[Tensor, "n e"], indices: Int[Tensor, " n"]) -> None:
        """Take encodings into the clusters of this step."""
        if self.training:
            counted = torch.cat([encoded, torch.ones_like(encoded[:, :1])], dim=1)
            self.new_members.index_add_(0, indices, counted)

    def _follow(self, ranks: Ranks) -> None:
        """Move codes to the running means of their encodings (van den Oord et al. 2017, A.1)."""
        self.members.mul_(FOLLOWING_DECAY).add_(ranks.sum(self.new_members.clone()))
        self.new_members.zero_()
        sums, counts = self.members[:, :-1], self.members[:, -1:]
        means = sums / counts.clamp(min=1e-6)
        codes = ranks.read(self.codebook)
        ranks.write(self.codebook, torch.where(counts > 1, self._place(means), codes))

    def _information(
        self, nearness: Float[Tensor, "*n k"], valid: Bool[Tensor, "*n"]
    ) -> Float[Tensor, "*n"]:
        """What each encoding's soft code tells, given how often every code was used lately."""
        assignment = (nearness / ENTROPY_TEMPERATURE).softmax(-1)
        if self.training:
            self.soft_use += assignment.detach()[valid].sum(0)
        return code_information(assignment, self.marginal)

    @torch.no_grad()
    def finish_step(self, ranks: Ranks, generator: torch.Generator) -> CodeUse:
        """Also start the codebook when warming up ends, and remember how often codes are used."""
        if self.num_steps == self.warmup_steps - 1:
            samples = ranks.gather(torch.cat(self._samples))
            self._samples.clear()
            centres = cluster(samples, self.num_codes, generator, place=self._place)
            ranks.write(self.codebook, centres)
            self.members.copy_(F.pad(centres, (0, 1), value=1.0) * FIRST_MEMBERS)
        elif self.continuous and self.num_steps >= self.warmup_steps:
            self._follow(ranks)
        soft_use = ranks.sum(self.soft_use.clone())
        self.soft_use.zero_()
        if soft_use.any():
            self.marginal.lerp_(soft_use / soft_use.sum(), 1 - MARGINAL_DECAY)
        return super().finish_step(ranks, generator)

    def _restart(
        self, is_dead: Bool[Tensor, " k"], ranks: Ranks, generator: torch.Generator
    ) -> int:
        """Move codes that nobody used for `reset_after` steps onto random live codes."""
        live = (self.age == 0).nonzero().flatten()
        num_dead = int(is_dead.sum())
        choice = torch.randint(len(live), (num_dead,), generator=generator).to(live.device)
        codebook = ranks.read(self.codebook).clone()
        copies = self._place(codebook[live[choice]])
        noise = torch.randn(copies.shape, generator=generator).to(copies) * 0.1
        codebook[is_dead] = self._place(copies + noise / self.code_dim**0.5)
        ranks.write(self.codebook, codebook)
        self.age[is_dead] = 0
        self.members[is_dead] = 0
        return num_dead

    def _place(self, codes: Float[Tensor, "k e"]) -> Float[Tensor, "k e"]:
        """Codes where encodings can be."""
        return F.normalize(codes, dim=-1) if self.space is Space.sphere else codes

    def _closeness(self, bounded: Float[Tensor, "*n e"]) -> Float[Tensor, "*n k"]:
        """Of every code, for encodings that are bounded already."""
        return closeness(bounded, self._place(self.codebook.float()))


def vq_loss(
    encoded: Float[Tensor, "*n e"], codes: Float[Tensor, "*n e"], *, beta: float
) -> Float[Tensor, "*n"]:
    """Pull codes to encodings, and encodings to codes at weight beta.

    Source: van den Oord et al. 2017, eq. 3, last two terms, per encoding.
    """
    to_codes = (encoded.detach() - codes).square().sum(-1)
    to_encodings = (encoded - codes.detach()).square().sum(-1)
    return to_codes + beta * to_encodings


def _blur(encoded: Float[Tensor, "*n e"], noise: Tensor | None) -> Float[Tensor, "*n e"]:
    """Bounded encodings with noise of length `WARMUP_NOISE`."""
    noise = torch.randn_like(encoded) if noise is None else noise
    return encoded + noise * WARMUP_NOISE / encoded.shape[-1] ** 0.5
