"""Finite scalar quantisation: a grid of codes that needs no learning.

code_i = 2 round((tanh(e_i) + 1) / 2 * (L_i - 1)) / (L_i - 1) - 1   with L_i levels in dimension i
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from genie_robo.models.quantizer import Quantized, Quantizer
from genie_robo.models.settings import MAX_CODES


class FiniteScalarQuantizer(Quantizer):
    """Rounds every dimension of an encoding, squashed by tanh, to one of a few levels.

    There is no loss and no noise. Source: Mentzer et al. 2023 (arXiv 2309.15505), section 3.
    Differs: an even number of levels is also symmetric on [-1, 1]. The paper shifts it by half a
    level, which for two levels moves the decision boundary away from most encodings.
    """

    digit_values: Int[Tensor, " e"]
    top: Int[Tensor, " e"]

    def __init__(self, levels: Sequence[int], *, reset_after: int) -> None:
        """Make the grid from the number of levels of every dimension.

        Raises:
            ValueError: No dimension, one with fewer than two levels, or more codes than MAX_CODES.
        """
        if not levels or min(levels) < 2 or math.prod(levels) > MAX_CODES:
            raise ValueError(
                f"quantizer.levels={list(levels)} must name at least one dimension, each with 2 "
                f"levels or more, and make at most {MAX_CODES} codes; for example [8, 5, 5, 5]"
            )
        super().__init__(num_codes=math.prod(levels), code_dim=len(levels), reset_after=reset_after)
        values = [math.prod(levels[:dimension]) for dimension in range(len(levels))]
        self.register_buffer("digit_values", torch.tensor(values), persistent=False)
        self.register_buffer("top", torch.tensor(levels) - 1, persistent=False)

    def bound(self, encoded: Float[Tensor, "*n e"]) -> Float[Tensor, "*n e"]:
        """Encodings squashed into the cube of the grid."""
        return encoded.tanh()

    def nearest(self, bounded: Float[Tensor, "*n e"]) -> Int[Tensor, "*n"]:
        """Index of the grid point that an encoding rounds to."""
        digits = ((bounded.float().clamp(-1, 1) + 1) / 2 * self.top).round().long()
        return (digits * self.digit_values).sum(-1)

    def lookup(self, indices: Int[Tensor, "*n"]) -> Float[Tensor, "*n e"]:
        """The points of the grid in [-1, 1]."""
        digits = indices[..., None] // self.digit_values % (self.top + 1)
        return digits / self.top * 2 - 1

    def _quantize(
        self, encoded: Float[Tensor, "*n e"], valid: Bool[Tensor, "*n"], noise: Tensor | None
    ) -> Quantized:
        del noise
        bounded = self.bound(encoded.float())
        indices = self.nearest(bounded)
        self._count(indices, valid)
        codes = self.lookup(indices)
        straight_through = bounded + (codes - bounded).detach()
        return Quantized(straight_through, codes, indices, torch.zeros_like(bounded[..., 0]))
