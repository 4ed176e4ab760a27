"""How the latent action that leads to a frame conditions the tokens of that frame."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genie_robo.models.settings import Joining


class ActionInput(nn.Module):
    """Joins an embedded latent action a_t to the tokens x_t of a frame, before a stack of blocks.

    - additive: x_t + a_t for every token, as in the paper (section 2.1).
    - concatenated: W [x_t, a_t] for every token.
    - prepended: an additional first token; `drop` removes it from the stack's output.

    The first frame of a video has no action and is joined with zeros.
    """

    def __init__(self, joining: Joining, *, dim: int) -> None:
        super().__init__()
        self.joining: Joining = joining
        if joining is Joining.concatenated:
            self.mix = nn.Linear(2 * dim, dim, bias=False)

    def forward(
        self, x: Float[Tensor, "b t s d"], action: Float[Tensor, "b t d"] | None
    ) -> Float[Tensor, "b t joined d"]:
        """Tokens joined with their frame's action; None for frames without one."""
        if action is None:
            action = x.new_zeros(*x.shape[:2], x.shape[3])
        joined = action[:, :, None]
        match self.joining:
            case Joining.additive:
                return x + joined
            case Joining.concatenated:
                return self.mix(torch.cat([x, joined.expand_as(x)], dim=-1))
            case Joining.prepended:
                return torch.cat([joined, x], dim=2)

    def shift(self, places: Int[Tensor, "b r"]) -> Int[Tensor, "b r"]:
        """Indices of a frame's tokens in the output of `forward`."""
        return places + 1 if self.joining is Joining.prepended else places

    def drop(self, x: Float[Tensor, "b t joined d"]) -> Float[Tensor, "b t s d"]:
        """Remove the action token, if there is one."""
        return x[:, :, 1:] if self.joining is Joining.prepended else x
