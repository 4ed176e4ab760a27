from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genie_robo.data.order import EpochOrder, MixedOrder, epoch_order

SIZES, WEIGHTS = [50, 400, 7], [1.0, 2.0, 1.0]
ENDS = np.cumsum(SIZES)


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
    order = MixedOrder([100, 100], [1.0, 9999.0], seed=0)
    assert sum(number < 100 for number in order.numbers(0, 100_000)) == 10


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
