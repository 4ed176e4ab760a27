"""Windows of several datasets or cameras as one set to draw from."""

from collections.abc import Sequence

import numpy as np

from genie_robo.data.index import digest
from genie_robo.data.order import EpochOrder, MixedOrder
from genie_robo.data.windows import WindowDataset
from genie_robo.types import Window


class MixedWindows:
    """The windows of several sets, numbered through.

    Every set maps its own actions to the seven named dimensions and says by mask which it has, so
    sets of different robots, rates and sizes can share a batch.
    """

    def __init__(self, parts: Sequence[WindowDataset], weights: Sequence[float]) -> None:
        """Join sets of windows of one shape.

        Args:
            parts: What to draw from.
            weights: Share of each part relative to the others; all zero draws every window of
                every part once in an epoch.

        Raises:
            ValueError: Some weights are zero and others are not, or one is negative.
        """
        if any(weight < 0 for weight in weights) or (any(weights) and not all(weights)):
            raise ValueError(
                f"data.weight of the mixed datasets is {', '.join(map(str, weights))}: give every "
                "dataset a positive weight, or none of them one"
            )
        self.parts = tuple(parts)
        self.weights = tuple(weights)
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, k: int) -> Window:
        """The k-th window.

        Raises:
            IndexError: There is no such window.
            ValueError: Too many episodes of its dataset are unreadable.
        """
        if not 0 <= k < len(self):
            raise IndexError(f"window {k} of {len(self)}")
        part = int(np.searchsorted(self._ends, k, side="right"))
        return self.parts[part][k - (int(self._ends[part - 1]) if part else 0)]

    @property
    def fingerprint(self) -> str:
        """Of the windows of all parts."""
        return digest(*(part.fingerprint.encode() for part in self.parts))

    def order(self, seed: int) -> EpochOrder | MixedOrder:
        """In which order to draw windows."""
        if not any(self.weights):
            return EpochOrder(len(self), seed=seed)
        return MixedOrder([len(part) for part in self.parts], self.weights, seed=seed)
