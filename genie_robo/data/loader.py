"""An endless stream of batches: prefetched, resumable, shared out between ranks."""

import os
import queue
import threading
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from genie_robo.data.order import EpochOrder, MixedOrder
from genie_robo.types import EpisodeBatch, Window

_PREFETCH = 3
_MAX_THREADS = 8
_POLL_S = 0.1
_STATE_KEYS = ("seed", "num_windows")


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
        """Which window comes at which position of an endless stream."""
        ...


class WindowLoader:
    """Batches of windows without an end.

    The windows of the order go to the ranks in turn, `batch_size` to each. So every batch is
    full, each epoch of one dataset shows every window exactly once over all ranks, and a batch
    depends on (seed, position) alone: a loader goes on where another stopped, also with other
    batches or another number of ranks.
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
            seed: Of the order, 0 or more.
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

    @property
    def batches_per_epoch(self) -> int:
        """Batches of one rank in which every window is seen, rounded up."""
        return -(-len(self._windows) // (self._batch_size * self._world_size))

    def state_dict(self) -> dict[str, int]:
        """Windows drawn by all ranks so far, and what their order depends on."""
        return {"position": self._position, **self._settings()}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where the loader with this state stopped.

        Raises:
            ValueError: That loader had other windows or another seed.
        """
        mine = self._settings()
        differences = [
            f"{key} {state.get(key)} -> {mine[key]}"
            for key in _STATE_KEYS
            if state.get(key) != mine[key]
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
        """Which windows this rank draws when all ranks begin at a position."""
        return self._order.numbers(self._own(position), self._batch_size)

    def _own(self, position: int) -> int:
        """Where this rank's windows begin."""
        return position + self._rank * self._batch_size

    def _produce(
        self,
        position: int,
        batches: "queue.Queue[EpisodeBatch | BaseException]",
        stop: threading.Event,
    ) -> None:
        """Fill the queue until told to stop; what goes wrong goes to the consumer."""
        with ThreadPoolExecutor(self._num_threads) as pool:
            while not stop.is_set():
                try:
                    windows = list(pool.map(self._read, self.window_numbers(position)))
                    item = collate(windows, first_position=self._own(position))
                except BaseException as error:  # noqa: BLE001  raised again by the consumer
                    item = error
                position += self._stride
                _put(item, batches, stop)
                if isinstance(item, BaseException):
                    return

    def _read(self, k: int) -> Window:
        return self._windows[k]

    def _settings(self) -> dict[str, int]:
        return {
            "seed": self._seed,
            "num_windows": len(self._windows),
        }


def _put(
    item: EpisodeBatch | BaseException,
    batches: "queue.Queue[EpisodeBatch | BaseException]",
    stop: threading.Event,
) -> None:
    """Wait for room in the queue, unless told to stop."""
    while not stop.is_set():
        try:
            batches.put(item, timeout=_POLL_S)
        except queue.Full:
            continue
        return


def collate(windows: Sequence[Window], *, first_position: int = 0) -> EpisodeBatch:
    """Stack windows of equal length into contiguous tensors.

    `first_position` is the place of the first one in the stream.
    """
    return EpisodeBatch(
        episode_ids=tuple(window.episode_id for window in windows),
        video=torch.from_numpy(np.stack([window.video for window in windows])),
        robot_actions=torch.from_numpy(np.stack([w.robot_actions for w in windows])),
        action_mask=torch.from_numpy(np.stack([window.action_mask for window in windows])),
        is_pad=torch.from_numpy(np.stack([window.is_pad for window in windows])),
        positions=torch.arange(first_position, first_position + len(windows)),
        tokens=_stack_tokens(windows),
    )


def _stack_tokens(windows: Sequence[Window]) -> torch.Tensor | None:
    found = [window.tokens for window in windows if window.tokens is not None]
    return torch.from_numpy(np.stack(found)) if len(found) == len(windows) else None
