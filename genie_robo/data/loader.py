"""An endless stream of batches: ordered by seed, prefetched, resumable, divided between ranks."""

import math
import os
import queue
import threading
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int, Shaped

from genie_robo.types import EpisodeBatch, Window

_PREFETCH = 3
_MAX_THREADS = 8
_POLL_S = 0.1
_STATE_KEYS = ("seed", "num_windows")
_BLOCK = 1000
"""Positions per block; within a block the shares of a mixture are exact to one window."""
_LEAST_PER_BLOCK = 10
"""Minimum windows of the rarest dataset in a block; blocks are enlarged to reach it."""


def epoch_order(num_windows: int, *, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
    """The order of windows in an epoch: a permutation that depends only on the arguments."""
    return np.random.default_rng([seed, epoch]).permutation(num_windows)


class EpochOrder:
    """The epochs' permutations, concatenated: every epoch has each window once."""

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
        """The epoch's order; the last one is cached."""
        last, order = self._last
        if last != epoch:
            order = epoch_order(self._num_windows, seed=self._seed, epoch=epoch)
            self._last = (epoch, order)
        return order


class MixedOrder:
    """Several datasets drawn by weight; the windows of each dataset come epoch by epoch.

    Positions are divided into blocks. In a block every dataset has its share of the positions, to
    one window, in a random order; the n-th position of a dataset has the n-th window of its
    epochs. Window numbers continue from one dataset to the next.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], *, seed: int) -> None:
        """Plan the mixture.

        Args:
            sizes: Windows in each dataset.
            weights: Share of each dataset relative to the others; all positive.
            seed: Seed of the order of blocks and of the order within each dataset.

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
        """Dataset of each position of a block, and rank of the position within that dataset."""
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
    """A seed per dataset: datasets of equal size must not be in the same order."""
    return int(np.random.SeedSequence([seed, part]).generate_state(1, np.uint64)[0])


@runtime_checkable
class WindowSet(Protocol):
    """Windows by number, and the order in which to draw them."""

    def __len__(self) -> int:
        """Number of windows."""
        ...

    def __getitem__(self, k: int) -> Window:
        """The k-th window."""
        ...

    def order(self, seed: int) -> EpochOrder | MixedOrder:
        """Maps positions of the endless stream to windows."""
        ...


class WindowLoader:
    """An endless stream of batches.

    Each rank takes `batch_size` consecutive windows of the order. So every batch is full, each
    epoch of one dataset has every window exactly once over all ranks, and a batch depends only on
    (seed, position): a loader resumes where another stopped, also with another batch size or
    number of ranks.
    """

    def __init__(
        self,
        windows: WindowSet,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        num_threads: int = 0,
    ) -> None:
        """Plan the stream.

        Args:
            windows: What to draw from.
            batch_size: Windows in one batch of one rank.
            seed: Seed of the order, 0 or more.
            rank: This process, from 0.
            world_size: Number of processes.
            num_threads: Threads that decode; 0 takes half of this process's share of the cores.

        Raises:
            ValueError: A number is out of range.
        """
        if batch_size < 1 or seed < 0 or not 0 <= rank < world_size:
            raise ValueError(
                f"batch_size={batch_size} must be at least 1, seed={seed} at least 0 and "
                f"rank={rank} between 0 and world_size={world_size} - 1"
            )
        self._windows = windows
        self._batch_size = batch_size
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        share = (os.cpu_count() or 1) // (2 * world_size)
        self._num_threads = num_threads or min(max(1, share), _MAX_THREADS)
        self._position = 0
        self._order = windows.order(seed)

    def state_dict(self) -> dict[str, int]:
        """Windows drawn by all ranks so far, and the settings of their order."""
        return {"position": self._position, **self._settings()}

    def load_state_dict(self, state: Mapping[str, int], *, other_windows: bool = False) -> None:
        """Resume where the loader with this state stopped.

        `other_windows` lets the number of windows differ.

        Raises:
            ValueError: That loader had other windows or another seed.
        """
        mine = self._settings()
        differences = [
            f"{key} {state.get(key)} -> {mine[key]}"
            for key in _STATE_KEYS
            if state.get(key) != mine[key] and not (other_windows and key == "num_windows")
        ]
        if differences or "position" not in state:
            raise ValueError(
                f"the saved position in the data does not fit this loader ({', '.join(differences)}"
                "): resume with the settings and the dataset of the first run, or start a new run"
            )
        self._position = state["position"]

    def __iter__(self) -> Generator[EpisodeBatch]:
        """Batches from the next position on; closing the iterator stops its thread."""
        batches: queue.Queue[EpisodeBatch | BaseException] = queue.Queue(maxsize=_PREFETCH)
        stop = threading.Event()
        thread = threading.Thread(
            target=self._produce, args=(self._position, batches, stop), daemon=True
        )
        thread.start()
        try:
            while True:
                item = batches.get()
                if isinstance(item, BaseException):
                    raise item
                self._position += self._stride
                yield item
        finally:
            stop.set()
            thread.join()

    @property
    def _stride(self) -> int:
        """Windows that all ranks draw for one batch each."""
        return self._batch_size * self._world_size

    def window_numbers(self, position: int) -> list[int]:
        """The windows of this rank when the batches of all ranks start at `position`."""
        return self._order.numbers(self._own(position), self._batch_size)

    def _own(self, position: int) -> int:
        """Position of this rank's first window."""
        return position + self._rank * self._batch_size

    def _produce(
        self,
        position: int,
        batches: "queue.Queue[EpisodeBatch | BaseException]",
        stop: threading.Event,
    ) -> None:
        """Fill the queue until stopped; errors are passed to the consumer."""
        with ThreadPoolExecutor(self._num_threads) as pool:
            while not stop.is_set():
                try:
                    windows = list(
                        pool.map(self._windows.__getitem__, self.window_numbers(position))
                    )
                    item = collate(windows, first_position=self._own(position))
                except BaseException as error:  # noqa: BLE001  raised again by the consumer
                    item = error
                position += self._stride
                _put(item, batches, stop)
                if isinstance(item, BaseException):
                    return

    def _settings(self) -> dict[str, int]:
        return {"seed": self._seed, "num_windows": len(self._windows)}


def _put(
    item: EpisodeBatch | BaseException,
    batches: "queue.Queue[EpisodeBatch | BaseException]",
    stop: threading.Event,
) -> None:
    """Wait for room in the queue, unless stopped."""
    while not stop.is_set():
        try:
            batches.put(item, timeout=_POLL_S)
        except queue.Full:
            continue
        return


def collate(windows: Sequence[Window], *, first_position: int = 0) -> EpisodeBatch:
    """Stack windows of equal length into contiguous tensors.

    Robot actions are padded with zeros, outside the mask, to the widest. `first_position` is the
    place of the first one in the stream.
    """
    return EpisodeBatch(
        episode_ids=tuple(window.episode_id for window in windows),
        video=torch.from_numpy(np.stack([window.video for window in windows])),
        robot_actions=_stack_padded([window.robot_actions for window in windows]),
        action_mask=_stack_padded([window.action_mask for window in windows]),
        is_pad=torch.from_numpy(np.stack([window.is_pad for window in windows])),
        positions=torch.arange(first_position, first_position + len(windows)),
        tokens=_stack_tokens(windows),
    )


def _stack_padded(arrays: Sequence[Shaped[np.ndarray, "... _"]]) -> torch.Tensor:
    """Arrays stacked, zero (False) where one has fewer columns than the widest."""
    widest = max(array.shape[-1] for array in arrays)
    stacked = np.zeros((len(arrays), *arrays[0].shape[:-1], widest), arrays[0].dtype)
    for row, array in zip(stacked, arrays, strict=True):
        row[..., : array.shape[-1]] = array
    return torch.from_numpy(stacked)


def _stack_tokens(windows: Sequence[Window]) -> torch.Tensor | None:
    found = [window.tokens for window in windows if window.tokens is not None]
    return torch.from_numpy(np.stack(found)) if len(found) == len(windows) else None
