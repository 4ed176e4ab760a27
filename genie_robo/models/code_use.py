"""How often codes are used, and how much they tell."""

from jaxtyping import Float, Int
from torch import Tensor


def code_information(
    assignment: Float[Tensor, "*n k"], marginal: Float[Tensor, " k"]
) -> Float[Tensor, "*n"]:
    """Nats that each soft code assignment tells, given the usual frequency of the codes.

    KL divergence of the assignment from the marginal. Its mean is the mutual information of
    encodings and codes when the marginal is the mean assignment: high when every code is used and
    every encoding is sure of its own. Source: Yu et al. 2023 (MAGVIT-v2), eq. 6, there with the
    marginal of the batch, which several processes could not share exactly.
    """
    surprise = -(assignment * marginal.clamp(min=1e-9).log()).sum(-1)
    return surprise - _entropy(assignment)


def perplexity(use: Int[Tensor, " k"]) -> Float[Tensor, ""]:
    """exp(entropy) of counts: the effective number of codes in use."""
    share = use.float() / use.sum().clamp(min=1)
    return _entropy(share).exp()


def _entropy(share: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
    return -(share * share.clamp(min=1e-9).log()).sum(-1)
