"""Several codes of one codebook as one: the latent action of several action tokens."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from genie_robo.models.quantizer import CodeUse, Quantized, Quantizer
from genie_robo.ranks import Ranks

MAX_CODES = 1024
"""Latent actions are counted one by one, also by the suites: more than this is no small set."""


class JointQuantizer(Quantizer):
    """Splits an encoding into `num_parts` equal parts and gives each a code of the one codebook.

    The joint index is the number whose digits, to the base of the codebook's size, are the codes
    of the parts, the first part's first: K codes make K ** num_parts. A loss is the mean over the
    parts; perplexity is that of joint codes, dead and restarted codes are those of the codebook.
    """

    def __init__(self, part: Quantizer, num_parts: int) -> None:
        """Join the codes of a codebook.

        Raises:
            ValueError: No part, or more joint codes than `MAX_CODES`.
        """
        if num_parts < 1 or part.num_codes**num_parts > MAX_CODES:
            raise ValueError(
                f"model.latent_action.codes_per_transition={num_parts} with {part.num_codes} codes "
                f"each must be at least 1 and make at most {MAX_CODES} latent actions; take fewer, "
                "or a smaller model.latent_action.quantizer.num_codes"
            )
        super().__init__(
            num_codes=part.num_codes**num_parts,
            code_dim=part.code_dim * num_parts,
            reset_after=part.reset_after,
        )
        self.part = part
        self.num_parts = num_parts

    @property
    def wants_noise(self) -> bool:
        """Whether the codebook does."""
        return self.part.wants_noise

    @property
    def is_additive(self) -> bool:
        """Whether the codebook does."""
        return self.part.is_additive

    def forward(
        self,
        encoded: Float[Tensor, "*n e"],
        valid: Bool[Tensor, "*n"] | None = None,
        noise: Float[Tensor, "*n e"] | None = None,
    ) -> Quantized:
        """Quantise every part, and in training count the use of every joint code."""
        valid = torch.ones_like(encoded[..., 0]).bool() if valid is None else valid
        quantized = self.part(
            self._split(encoded),
            valid[..., None].expand(*valid.shape, self.num_parts),
            None if noise is None else self._split(noise),
        )
        indices = self._join(quantized.indices)
        self._count(indices, valid)
        codes, chosen = quantized.codes.flatten(-2), quantized.chosen.flatten(-2)
        return Quantized(codes, chosen, indices, quantized.loss.mean(-1))

    def bound(self, encoded: Float[Tensor, "*n e"]) -> Float[Tensor, "*n e"]:
        """Every part as the codebook bounds it."""
        return self.part.bound(self._split(encoded)).flatten(-2)

    def nearest(self, encoded: Float[Tensor, "*n e"]) -> Int[Tensor, "*n"]:
        """Index of the joint code that an encoding becomes."""
        return self._join(self.part.nearest(self._split(encoded)))

    def lookup(self, indices: Int[Tensor, "*n"]) -> Float[Tensor, "*n e"]:
        """The codes of the parts, one behind the other."""
        digits = indices[..., None] // self._place_values(indices.device) % self.part.num_codes
        return self.part.lookup(digits).flatten(-2)

    def finish_step(self, ranks: Ranks, generator: torch.Generator) -> CodeUse:
        """Take stock of the codebook and of the joint codes."""
        of_part = self.part.finish_step(ranks, generator)
        joint = super().finish_step(ranks, generator)
        nothing_quantized = math.isnan(of_part.perplexity)
        return of_part if nothing_quantized else of_part._replace(perplexity=joint.perplexity)

    def _split(self, encoded: Float[Tensor, "*n e"]) -> Float[Tensor, "*n parts e_part"]:
        return encoded.unflatten(-1, (self.num_parts, self.part.code_dim))

    def _join(self, digits: Int[Tensor, "*n parts"]) -> Int[Tensor, "*n"]:
        return (digits * self._place_values(digits.device)).sum(-1)

    def _place_values(self, device: torch.device) -> Int[Tensor, " parts"]:
        exponents = torch.arange(self.num_parts - 1, -1, -1, device=device)
        return self.part.num_codes**exponents
