"""How the latent action of a frame comes to the tokens of that frame."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genie_robo.models.settings import Joining


class ActionInput(nn.Module):
    """Joins one embedded latent action to all tokens of a frame, before a stack of blocks.

    - additive: added to every token, as in the paper (section 2.1).
    - concatenated: put beside the channels of every token, and a linear map back to the width.
    - prepended: a token of its own before the others; `drop` takes it off the stack's output.

    A frame that no action leads to, the first of a video, is joined with zeros.
    """

    def __init__(self, joining: Joining, *, dim: int) -> None:
        super().__init__()
        self.joining: Joining = joining
        if joining is Joining.concatenated:
            self.mix = nn.Linear(2 * dim, dim, bias=False)

    def forward(
        self, x: Float[Tensor, "b t s d"], action: Float[Tensor, "b t d"] | None
    ) -> Float[Tensor, "b t joined d"]:
        """Tokens that know their frame's action; None where no action leads to the frames."""
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

    def own(self, places: Int[Tensor, "b r"]) -> Int[Tensor, "b r"]:
        """Where a frame's own tokens of these places are among those that `forward` gave."""
        return places + 1 if self.joining is Joining.prepended else places

    def drop(self, x: Float[Tensor, "b t joined d"]) -> Float[Tensor, "b t s d"]:
        """The frame's own tokens among those that `forward` gave."""
        return x[:, :, 1:] if self.joining is Joining.prepended else x
