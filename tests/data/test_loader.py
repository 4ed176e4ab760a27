import threading
import time
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rlds_files import open_table

from genie_robo.data.loader import EpochOrder, MixedOrder, WindowLoader, collate, epoch_order
from genie_robo.data.windows import WindowDataset

SIZES, WEIGHTS = [50, 400, 7], [1.0, 2.0, 1.0]
ENDS = np.cumsum(SIZES)


@pytest.fixture(scope="module")
def windows(table):
    """The 65 windows of two frames of ten episodes."""
    return WindowDataset(open_table(table), range(10), num_frames=2, image_size=(8, 8))


def take(loader: WindowLoader, number: int) -> list:
    stream = iter(loader)
    batches = list(islice(stream, number))
    stream.close()
    return batches


def same(one, other) -> bool:
    return one.episode_ids == other.episode_ids and all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ("video", "robot_actions", "action_mask", "is_pad", "positions")
    )


def num_threads_of() -> int:
    return sum(thread.name.startswith("Thread") for thread in threading.enumerate())


def test_a_batch(windows):
    (batch,) = take(WindowLoader(windows, batch_size=5, seed=3), 1)
    order = epoch_order(65, seed=3, epoch=0)[:5]
    assert batch.episode_ids == tuple(windows[int(k)].episode_id for k in order)
    for row, k in enumerate(order):
        np.testing.assert_array_equal(batch.video[row], windows[int(k)].video)
        np.testing.assert_array_equal(batch.robot_actions[row], windows[int(k)].robot_actions)
    assert batch.positions.tolist() == [0, 1, 2, 3, 4]
    assert batch.video.shape == (5, 2, 8, 8, 3)
    assert batch.video.dtype == torch.uint8
    assert batch.robot_actions.dtype == torch.float32
    assert all(
        tensor.is_contiguous()
        for tensor in (batch.video, batch.robot_actions, batch.action_mask, batch.is_pad)
    )


def test_collate_copies(windows):
    window = windows[0]
    batch = collate([window, window])
    window.video[:] = 0
    assert batch.video.any()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch_size=st.integers(1, 80),
    world_size=st.integers(1, 5),
    seed=st.integers(0, 2**40),
    num_epochs=st.integers(1, 3),
)
def test_every_epoch_shows_each_window_once(windows, batch_size, world_size, seed, num_epochs):
    """Laid end to end in rank order, the batches are the epochs' permutations."""
    loaders = [
        WindowLoader(windows, batch_size=batch_size, seed=seed, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    num_batches = -(-num_epochs * len(windows) // (batch_size * world_size))
    stream = [
        number
        for batch in range(num_batches)
        for loader in loaders
        for number in loader.window_numbers(batch * batch_size * world_size)
    ]
    for epoch in range(num_epochs):
        shown = stream[epoch * len(windows) : (epoch + 1) * len(windows)]
        assert shown == epoch_order(len(windows), seed=seed, epoch=epoch).tolist()


def test_ranks_share_an_epoch(windows):
    """65 windows in batches of 13 on five ranks: one batch each is exactly one epoch."""
    seen = Counter()
    for rank in range(5):
        loader = WindowLoader(windows, batch_size=13, seed=0, rank=rank, world_size=5)
        (batch,) = take(loader, 1)
        seen.update(zip(batch.episode_ids, batch.robot_actions[:, 0, 0].tolist(), strict=True))
    every = [windows[k] for k in range(65)]
    assert seen == Counter((w.episode_id, float(w.robot_actions[0, 0])) for w in every)


def test_more_windows_in_a_batch_than_there_are(windows):
    (batch,) = take(WindowLoader(windows, batch_size=150, seed=0), 1)
    assert batch.video.shape[0] == 150


def test_the_number_of_threads_changes_nothing(windows):
    one, many = (
        take(WindowLoader(windows, batch_size=9, seed=2, num_threads=n), 8) for n in (1, 5)
    )
    assert all(same(a, b) for a, b in zip(one, many, strict=True))


@pytest.mark.parametrize("stopped_after", [1, 7, 8, 20])
def test_resuming_gives_the_same_next_batch(windows, stopped_after):
    straight = take(WindowLoader(windows, batch_size=9, seed=1), stopped_after + 3)
    first = WindowLoader(windows, batch_size=9, seed=1)
    take(first, stopped_after)
    state = first.state_dict()
    assert state["position"] == 9 * stopped_after  # not what was prefetched
    second = WindowLoader(windows, batch_size=9, seed=1)
    second.load_state_dict(state)
    for one, other in zip(take(second, 3), straight[stopped_after:], strict=True):
        assert same(one, other)


@pytest.mark.parametrize(("batch_size", "world_size"), [(2, 3), (6, 1), (3, 4), (65, 1)])
def test_resuming_with_other_batches_and_ranks_goes_on_with_the_same_windows(
    windows, batch_size, world_size
):
    """No window is skipped or comes twice, and each keeps its position."""
    straight = take(WindowLoader(windows, batch_size=1, seed=4), 12 + batch_size * world_size)
    first = WindowLoader(windows, batch_size=4, seed=4, rank=2, world_size=3)
    take(first, 1)
    parts = []
    for rank in range(world_size):
        settings = {"batch_size": batch_size, "rank": rank, "world_size": world_size}
        loader = WindowLoader(windows, seed=4, **settings)
        loader.load_state_dict(first.state_dict())
        parts += take(loader, 1)
    positions = torch.cat([part.positions for part in parts])
    assert positions.tolist() == list(range(12, len(straight)))
    assert torch.equal(
        torch.cat([part.video for part in parts]),
        torch.cat([batch.video for batch in straight[12:]]),
    )


def test_the_state_counts_while_the_stream_is_open(windows):
    loader = WindowLoader(windows, batch_size=4, seed=0)
    stream = iter(loader)
    positions = []
    for _ in range(3):
        next(stream)
        positions.append(loader.state_dict()["position"])
    stream.close()
    assert positions == [4, 8, 12]
    assert loader.state_dict() == {"position": 12, "seed": 0, "num_windows": 65}


def test_a_state_of_other_data_is_refused(windows):
    state = WindowLoader(windows, batch_size=4, seed=0).state_dict()
    loader = WindowLoader(windows, batch_size=8, seed=1)
    with pytest.raises(ValueError, match=r"does not fit this loader \(seed 0 -> 1\): resume"):
        loader.load_state_dict(state)
    with pytest.raises(ValueError, match=r"does not fit this loader .*num_windows None -> 65"):
        loader.load_state_dict({"position": 3})
    assert loader.state_dict()["position"] == 0


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"seed": -1}, {"rank": 2, "world_size": 2}, {"rank": -1}],
)
def test_numbers_out_of_range(windows, wrong):
    with pytest.raises(ValueError, match=r"must be at least 1, seed=.* at least 0 and rank="):
        WindowLoader(windows, **({"batch_size": 1, "seed": 0} | wrong))


def test_what_goes_wrong_in_the_thread_reaches_the_consumer(table):
    windows = WindowDataset(open_table(table), range(10), num_frames=2, image_size=(8, 8))
    loader = WindowLoader(windows, batch_size=4, seed=0)

    class UnreadableError(Exception):
        pass

    def fail(_k):
        raise UnreadableError("the disk is gone")

    windows.__class__ = type("Failing", (WindowDataset,), {"__getitem__": lambda s, k: fail(k)})
    with pytest.raises(UnreadableError, match="the disk is gone"):
        next(iter(loader))
    assert num_threads_of() == 0


def test_closing_stops_the_thread(windows):
    stream = iter(WindowLoader(windows, batch_size=4, seed=0))
    assert num_threads_of() == 0  # nothing runs before the first batch is asked for
    next(stream)
    assert num_threads_of() >= 2
    stream.close()
    assert num_threads_of() == 0
    with pytest.raises(StopIteration):
        next(stream)


def test_a_dropped_stream_stops_its_thread(windows):
    for _ in iter(WindowLoader(windows, batch_size=4, seed=0)):
        break
    deadline = time.monotonic() + 5
    while num_threads_of() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert num_threads_of() == 0


def test_a_slow_consumer_finds_few_batches_waiting(table):
    """Prefetching stays a few batches ahead and does not fill the memory."""
    windows = WindowDataset(open_table(table), range(10), num_frames=2, image_size=(8, 8))
    asked = []
    windows.__class__ = type(
        "Counting",
        (WindowDataset,),
        {"__getitem__": lambda s, k: (asked.append(k), WindowDataset.__getitem__(s, k))[1]},
    )
    stream = iter(WindowLoader(windows, batch_size=1, seed=0))
    next(stream)
    time.sleep(0.3)
    stream.close()
    assert 1 < len(asked) <= 6


def test_cached_batches_come_fast(windows):
    """A 16 x 16 x 64 x 64 batch takes 3 ms; 50 leaves room for a busy machine."""
    large = WindowDataset(windows.dataset, range(10), num_frames=16, image_size=(64, 64))
    loader = WindowLoader(large, batch_size=16, seed=0)
    collate([large[k] for k in loader.window_numbers(0)])
    times = []
    for batch in range(10):
        begin = time.perf_counter()
        collate([large[k] for k in loader.window_numbers(16 * batch)])
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.05


def part_of(number: int) -> int:
    return int(np.searchsorted(ENDS, number, side="right"))


@given(st.integers(1, 60), st.integers(0, 3), st.integers(0, 200), st.integers(1, 150))
def test_epochs_lie_end_to_end(num_windows, seed, first, count):
    order = EpochOrder(num_windows, seed=seed)
    stream = np.concatenate(
        [epoch_order(num_windows, seed=seed, epoch=e) for e in range(1 + 350 // num_windows)]
    )
    assert order.numbers(first, count) == stream[first : first + count].tolist()


def test_shares_come_out_exactly_in_every_block():
    order = MixedOrder(SIZES, WEIGHTS, seed=0)
    for block in range(3):
        counts = Counter(map(part_of, order.numbers(1000 * block, 1000)))
        assert counts == {0: 250, 1: 500, 2: 250}


def test_each_dataset_comes_epoch_by_epoch():
    """However they are mixed, no window of a dataset repeats before all of it were shown."""
    order = MixedOrder(SIZES, WEIGHTS, seed=3)
    stream = order.numbers(0, 4000)
    for part, size in enumerate(SIZES):
        own = [number for number in stream if part_of(number) == part]
        for begin in range(0, len(own) - size + 1, size):
            assert len(set(own[begin : begin + size])) == size


@settings(max_examples=30)
@given(st.integers(0, 5000), st.integers(1, 30))
def test_any_position_can_be_asked_for_alone(first, count):
    straight = MixedOrder(SIZES, WEIGHTS, seed=1)
    assert straight.numbers(first, count) == [
        MixedOrder(SIZES, WEIGHTS, seed=1).numbers(position, 1)[0]
        for position in range(first, first + count)
    ]


def test_a_rare_dataset_gets_its_share():
    order = MixedOrder([100, 100], [1.0, 999.0], seed=0)
    assert sum(number < 100 for number in order.numbers(0, 10_000)) == 10


def test_seeds_and_datasets_of_one_size_differ():
    one, other = (MixedOrder([30, 30], [1.0, 1.0], seed=seed).numbers(0, 60) for seed in (0, 1))
    assert one != other
    first = [number for number in one if number < 30]
    second = [number - 30 for number in one if number >= 30]
    assert first[:20] != second[:20]


@pytest.mark.parametrize("weights", [[1.0, 0.0], [1.0, -1.0], [1.0, float("nan")]])
def test_weights_that_are_none(weights):
    with pytest.raises(ValueError, match="must be positive numbers, but are"):
        MixedOrder([3, 3], weights, seed=0)
