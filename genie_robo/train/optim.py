"""AdamW with parameter groups, and the learning rate of a step."""

import math
from typing import Literal

import torch
from torch import nn

Schedule = Literal["cosine", "wsd", "constant"]


def build_optimizer(
    module: nn.Module, *, learning_rate: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.AdamW:
    """AdamW; only matrices decay, not gains, biases, embeddings or codebooks."""
    decayed, plain = [], []
    for name, parameter in module.named_parameters():
        is_matrix = parameter.ndim == 2 and name.endswith("weight") and "embed" not in name
        (decayed if is_matrix else plain).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, fused=True)


def learning_rate_at(
    step: int,
    *,
    num_steps: int,
    warmup_steps: int,
    peak: float,
    final: float,
    schedule: Schedule = "cosine",
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
        case "constant":
            return peak
        case "wsd":
            decay_steps = max(1, round(decay_fraction * num_steps))
            left = (num_steps - step) / decay_steps
            return final + (peak - final) * min(1.0, max(0.0, left))
        case _:
            progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
            return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
