"""A moving average of weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of all parameters (Polyak and Juditsky 1992).

    The average is over few steps at first: decay (1 + n) / (10 + n) at step n until that exceeds
    the decay asked for.
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
        """Take in the weights after training step number `step`."""
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
        """Take over saved averages."""
        for name, average in self._average.items():
            average.copy_(state[name])
