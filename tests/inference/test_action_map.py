import numpy as np
import pytest

from genie_robo.inference.action_map import ActionDictionary


def dictionary():
    codes = np.array([0, 0, 2])
    actions = np.array([[1.0, 0.0], [3.0, 0.0], [-4.0, 6.0]])
    return ActionDictionary.fit(codes, actions, num_codes=3)


def test_mean_per_code_and_overall_mean_where_nothing_was_seen():
    assert dictionary().mean(np.array([0, 2, 1])).tolist() == [[2.0, 0.0], [-4.0, 6.0], [0.0, 2.0]]


def test_samples_come_from_the_list_of_the_code():
    drawn = dictionary().sample(np.zeros(200, dtype=int), np.random.default_rng(0))

    assert set(drawn[:, 0]) == {1.0, 3.0}


def test_nearest_never_names_a_code_without_labels():
    assert dictionary().nearest(np.array([[2.1, 0.1], [-3.0, 5.0], [0.0, 2.0]])).tolist()[:2] == [
        0,
        2,
    ]
    assert 1 not in dictionary().nearest(np.random.default_rng(0).normal(size=(50, 2)))


def test_counts():
    assert dictionary().counts.tolist() == [2, 0, 1]


def test_refuses_no_labels_and_foreign_codes():
    with pytest.raises(ValueError, match="at least one labelled transition, got 0"):
        ActionDictionary.fit(np.zeros(0, dtype=int), np.zeros((0, 7)), num_codes=8)
    with pytest.raises(ValueError, match=r"must be 0\.\.7, got 3 to 8"):
        ActionDictionary.fit(np.array([3, 8]), np.zeros((2, 7)), num_codes=8)
