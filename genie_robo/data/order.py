"""In which order windows are visited: pure functions of a seed and a position, nothing to store."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

_BLOCK = 1000
"""Positions in which the shares of a mixture come out exactly, to whole windows."""
_LEAST_PER_BLOCK = 10
"""Windows that the rarest dataset has in a block; blocks grow until it does."""


def epoch_order(num_windows: int, *, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
    """The order of windows in an epoch: a permutation that depends on nothing else."""
    return np.random.default_rng([seed, epoch]).permutation(num_windows)


class EpochOrder:
    """The epochs' permutations laid end to end: every epoch shows each window once."""

    def __init__(self, num_windows: int, *, seed: int) -> None:
        self._num_windows, self._seed = num_windows, seed
        self._last: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def numbers(self, first: int, count: int) -> list[int]:
        """The windows at the positions first .. first + count - 1."""
        epoch, position = divmod(first, self._num_windows)
        found: list[int] = []
        while len(found) < count:
            found += self._permutation(epoch)[position : position + count - len(found)].tolist()
            epoch, position = epoch + 1, 0
        return found

    def _permutation(self, epoch: int) -> Int[np.ndarray, " n"]:
        """The epoch's order, kept until another epoch is asked for."""
        last, order = self._last
        if last != epoch:
            order = epoch_order(self._num_windows, seed=self._seed, epoch=epoch)
            self._last = (epoch, order)
        return order


class MixedOrder:
    """Several datasets by weight. Each one's own windows still come epoch by epoch.

    Positions are cut into blocks. In a block every dataset has its share of the positions, to a
    whole window, in an order drawn for the block; the n-th position that is a dataset's own shows
    the n-th window of its epochs. Windows are numbered through: those of the first dataset, then
    those of the second, and so on.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], *, seed: int) -> None:
        """Plan the mixture.

        Args:
            sizes: Windows in each dataset.
            weights: Share of each dataset relative to the others; none may be zero or less.
            seed: Of the blocks' order and of every dataset's own.

        Raises:
            ValueError: A weight is not positive and finite.
        """
        if not all(math.isfinite(weight) and weight > 0 for weight in weights):
            raise ValueError(f"weights of a mixture must be positive numbers, but are {weights}")
        shares = np.asarray(weights, np.float64) / np.sum(weights)
        self._seed = seed
        self._block = max(_BLOCK, round(_LEAST_PER_BLOCK / shares.min()))
        self._counts = _whole_shares(shares, self._block)
        self._starts = np.cumsum([0, *sizes[:-1]]).tolist()
        self._orders = [
            EpochOrder(size, seed=_own_seed(seed, part)) for part, size in enumerate(sizes)
        ]
        none = np.empty(0, np.int64)
        self._last: tuple[int, np.ndarray, np.ndarray] = (-1, none, none)

    def numbers(self, first: int, count: int) -> list[int]:
        """The windows at the positions first .. first + count - 1."""
        return [self._number(position) for position in range(first, first + count)]

    def _number(self, position: int) -> int:
        block, offset = divmod(position, self._block)
        parts, ranks = self._plan(block)
        part = int(parts[offset])
        turn = block * int(self._counts[part]) + int(ranks[offset])
        (number,) = self._orders[part].numbers(turn, 1)
        return self._starts[part] + number

    def _plan(self, block: int) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """Which dataset each position of a block belongs to, and its how many-th that is."""
        last, parts, ranks = self._last
        if last != block:
            rng = np.random.default_rng([self._seed, block, len(self._counts)])
            parts = rng.permutation(np.repeat(np.arange(len(self._counts)), self._counts))
            ranks = np.empty_like(parts)
            for part, number in enumerate(self._counts):
                ranks[parts == part] = np.arange(number)
            self._last = (block, parts, ranks)
        return parts, ranks


def _whole_shares(shares: np.ndarray, total: int) -> Int[np.ndarray, " d"]:
    """Whole numbers closest to the shares that add up to the total (largest remainders)."""
    exact = shares * total
    counts = np.floor(exact).astype(int)
    missing = total - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1
    return counts


def _own_seed(seed: int, part: int) -> int:
    """Datasets of one size must not come in the same order."""
    return int(np.random.SeedSequence([seed, part]).generate_state(1, np.uint64)[0])
