"""How sure the world model is of what it imagines."""

from jaxtyping import Float, Int
from torch import Tensor


def token_entropy(logits: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
    """Entropy (nats) of softmax(logits): 0 when sure, log(k) when every token is as likely."""
    log_chances = logits.log_softmax(-1)
    return -(log_chances.exp() * log_chances).sum(-1)


def disagreement(tokens: Int[Tensor, "n ..."]) -> Float[Tensor, "..."]:
    """Share of n samples whose token is not the most frequent one: 0 when all agree.

    The samples are rollouts of one prompt and the same latent actions under different seeds. With
    k tokens to choose from it is at most 1 - 1 / min(n, k).
    """
    most_frequent = tokens.mode(dim=0).values
    return (tokens != most_frequent).float().mean(dim=0)
