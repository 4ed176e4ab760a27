"""Optimizers, learning-rate schedules and the moving average of weights."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from genie_robo.train.settings import Method, Schedule

TO_OUTPUT = ("to_logits", "to_copy", "to_pixels")
"""Output layers, which like embeddings are not optimised by Muon."""


def build_optimizers(
    module: nn.Module,
    *,
    method: Method = Method.adamw,
    learning_rate: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> Sequence[torch.optim.Optimizer]:
    """Optimizers that share the parameters; only matrices decay, not gains, biases or codebooks.

    `adamw` is one AdamW for all. `muon` gives the matrices between embedding and output to Muon
    (Jordan et al. 2024), whose step is the orthogonalised momentum, and the rest to AdamW. Muon's
    step is scaled to the size of AdamW's (Liu et al. 2025, arXiv 2502.16982, equation 4), so that
    both take the same learning rate.
    """
    hidden, output, plain = [], [], []
    for name, parameter in module.named_parameters():
        is_matrix = parameter.ndim == 2 and name.endswith("weight") and "embed" not in name
        is_output = any(part in name for part in TO_OUTPUT)
        (plain if not is_matrix else output if is_output else hidden).append(parameter)
    by_muon = hidden if method is Method.muon else []
    by_adamw = [
        {"params": output if by_muon else hidden + output, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    groups = [group for group in by_adamw if group["params"]]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=learning_rate, betas=betas, fused=True)
    ]
    if by_muon:
        muon = torch.optim.Muon(
            by_muon, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        optimizers.append(muon)
    return optimizers


def learning_rate_at(
    step: int,
    *,
    num_steps: int,
    warmup_steps: int,
    peak: float,
    final: float,
    schedule: Schedule = Schedule.cosine,
    decay_fraction: float = 0.1,
) -> float:
    """Linear warm-up from 0 to `peak`, then down to `final` at the last step.

    `cosine` goes down all the way. `wsd` (warmup-stable-decay, Hu et al. 2024, MiniCPM, section
    4.2) stays at the peak and goes down linearly in the last `decay_fraction` of the steps.
    `constant` stays at the peak.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    match schedule:
        case Schedule.constant:
            return peak
        case Schedule.wsd:
            decay_steps = max(1, round(decay_fraction * num_steps))
            left = (num_steps - step) / decay_steps
            return final + (peak - final) * min(1.0, max(0.0, left))
        case _:
            progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
            return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class WeightAverage:
    """Exponential moving average of all parameters (Polyak and Juditsky 1992).

    At step n the decay is min(decay, (1 + n) / (10 + n)), so that early weights fade quickly.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Start at the present weights.

        Raises:
            ValueError: The decay is outside of [0, 1).
        """
        if not 0 <= decay < 1:
            raise ValueError(f"optim.ema_decay={decay} must be at least 0 and less than 1")
        self.decay = decay
        self._parameters = dict(module.named_parameters())
        self._average = {
            name: parameter.detach().clone() for name, parameter in self._parameters.items()
        }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average with the weights after training step number `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, average in self._average.items():
            average.lerp_(self._parameters[name].detach(), 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the average and the weights of the module; twice leaves both as they were."""
        for name, average in self._average.items():
            parameter = self._parameters[name]
            kept = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(kept)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by parameter name."""
        return dict(self._average)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy saved averages."""
        for name, average in self._average.items():
            average.copy_(state[name])


@contextmanager
def evaluation_weights(module: nn.Module, average: WeightAverage | None) -> Iterator[None]:
    """Evaluation mode, with the averaged weights if there are any; restored afterwards."""
    module.eval()
    if average:
        average.swap()
    try:
        yield
    finally:
        if average:
            average.swap()
        module.train()
