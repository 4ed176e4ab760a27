"""Randomness that belongs to windows, not to processes."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

STEP, MASK, ENCODING = 1, 2, 3
"""What the random numbers are for; each purpose has its own. None is 0, which numpy's SeedSequence
does not tell from nothing."""


class WindowNoise:
    """Random numbers for each window of a batch.

    They depend on the seed, the window's position in the stream and the purpose alone: computed
    by any process, with any other windows, before or after a resume, a window has the same ones.
    """

    def __init__(self, seed: int, positions: Int[Tensor, " b"], purpose: int) -> None:
        self._device = positions.device
        self._generators = [
            torch.Generator().manual_seed(_mix(seed, int(position), purpose))
            for position in positions.tolist()
        ]

    def uniform(self, *shape: int) -> Float[Tensor, "b ..."]:
        """Numbers in [0, 1) of a shape for every window."""
        drawn = [torch.rand(shape, generator=generator) for generator in self._generators]
        return torch.stack(drawn).to(self._device)

    def normal(self, *shape: int) -> Float[Tensor, "b ..."]:
        """Standard normal numbers of a shape for every window."""
        drawn = [torch.randn(shape, generator=generator) for generator in self._generators]
        return torch.stack(drawn).to(self._device)


def step_generator(seed: int, step: int) -> torch.Generator:
    """Random numbers of a training step, the same in every process."""
    return torch.Generator().manual_seed(_mix(seed, step, STEP))


def _mix(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
