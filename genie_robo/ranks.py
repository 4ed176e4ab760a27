"""Collective operations that a model needs when several processes train it."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class Ranks(Protocol):
    """Collective operations: every process must call each method, in the same order."""

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of every process's tensor."""
        ...

    def gather(self, tensor: Tensor) -> Tensor:
        """Every process's rows, one process after the other; they may differ in number."""
        ...

    def read(self, parameter: nn.Parameter) -> Tensor:
        """The whole of a parameter that may be sharded."""
        ...

    def write(self, parameter: nn.Parameter, value: Tensor) -> None:
        """Replace a parameter by a value that is the same on every process."""
        ...


class OneProcess:
    """Single-process."""

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor."""
        return tensor

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensor."""
        return tensor

    def read(self, parameter: nn.Parameter) -> Tensor:
        """The parameter."""
        return parameter.detach()

    def write(self, parameter: nn.Parameter, value: Tensor) -> None:
        """Replace it."""
        with torch.no_grad():
            parameter.copy_(value)
