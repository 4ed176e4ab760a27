"""Modules whose behaviour depends on the number of training steps."""

from typing import Any

from torch import Tensor, nn


class StepCounter(nn.Module):
    """A module that counts training steps, and knows their number without asking the device."""

    num_steps: Tensor
    """A buffer, which a subclass registers: it is saved with the module."""
    _steps_made: int | None = None

    @property
    def steps_made(self) -> int:
        """Training steps so far: those of `num_steps`, which is read once."""
        if self._steps_made is None:
            self._steps_made = int(self.num_steps)
        return self._steps_made

    def count_step(self) -> None:
        """One more step."""
        self._steps_made = self.steps_made + 1
        self.num_steps += 1

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._steps_made = None
