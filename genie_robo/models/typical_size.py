"""How large something in the data is, measured while training begins: a unit for it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from genie_robo.ranks import Ranks

MEASURED_STEPS = 20
"""Training steps that are measured; then the unit stays."""


class TypicalSize(nn.Module):
    """Root mean square of a quantity over the first training steps, and a guess before them.

    From one robot's video to the next motions and changes differ tenfold, and steps of an optimizer
    do not: what is told in such units is about 1 in all of them. Sums are pooled in `finish_step`,
    so the unit is the same whether a batch was computed at once, in parts, or by several processes.
    """

    squares: Float[Tensor, ""]
    count: Float[Tensor, ""]
    num_steps: Float[Tensor, ""]
    pending: Float[Tensor, " 2"]

    def __init__(self, guess: float) -> None:
        super().__init__()
        self.guess = guess
        for name in ("squares", "count", "num_steps"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))
        self.register_buffer("pending", torch.zeros(2, dtype=torch.float64), persistent=False)

    @torch.no_grad()
    def see(self, values: Float[Tensor, "b t *n"], valid: Bool[Tensor, "b t"]) -> None:
        """Take valid values in, while training begins."""
        if self.training and self.num_steps < MEASURED_STEPS:
            chosen = values[valid].double()
            self.pending += torch.stack([chosen.square().sum(), chosen.new_tensor(chosen.numel())])

    @torch.no_grad()
    def finish_step(self, ranks: Ranks) -> None:
        """Count what all processes saw in this step."""
        squares, count = ranks.sum(self.pending.clone())
        self.pending.zero_()
        if count:
            self.squares += squares
            self.count += count
            self.num_steps += 1

    def forward(self) -> Float[Tensor, ""]:
        """The unit: a scalar above 0."""
        size = (self.squares / self.count.clamp(min=1)).sqrt().float()
        return torch.where(size > 0, size, torch.full_like(size, self.guess))
