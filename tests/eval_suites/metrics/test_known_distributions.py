"""Known answers of distances between sets of videos, and of intervals by leaving out."""

import numpy as np
import pytest

from genie_robo.eval_suites.metrics.frechet import frechet_distance, left_out
from genie_robo.eval_suites.selfcheck import Known
from genie_robo.eval_suites.statistics import jackknife, normal_interval, ratio_of_sums
from genie_robo.eval_suites.video_features import random_conv_distance

_CLOUD = np.random.default_rng(0).normal(size=(40, 3))
_SHIFT = np.array([3.0, 0.0, -4.0])
_LINE = np.zeros((2, 1000))
_LINE[:, 7] = [-1.0, 1.0]
_ZERO_ONE, _ONES = np.array([[0.0], [1.0]]), np.array([[1.0], [1.0]])
_NUMBERS = np.array([2.0, 4.0, 4.0, 6.0, 9.0])
_ALONE = np.arange(len(_CLOUD))
_VIDEO = np.random.default_rng(0).integers(128, size=(2, 16, 16, 3), dtype=np.uint8)


def _spread_of(factor: float) -> float:
    centred = _CLOUD - _CLOUD.mean(axis=0)
    return frechet_distance(centred, factor * centred) / _CLOUD.var(axis=0, ddof=1).sum()


def _standard_errors() -> float:
    estimate = jackknife(np.stack([_NUMBERS, np.ones(5)], axis=1), ratio_of_sums)
    assert estimate.value is not None
    assert estimate.ci95 is not None
    return (estimate.ci95[1] - estimate.value) / (_NUMBERS.std(ddof=1) / np.sqrt(5))


def _standard_errors_of_two_means() -> float:
    def gap(first: np.ndarray, second: np.ndarray) -> float:
        return float(first[:, 0].mean() - second[:, 0].mean())

    episodes = {"first_episode": _ALONE, "second_episode": _ALONE}
    low, high = normal_interval(0.0, left_out(gap, _CLOUD, _CLOUD, **episodes))
    return (high - low) / 2 / (_CLOUD[:, 0].std(ddof=1) * np.sqrt(2 / len(_CLOUD)))


def _without_the_last() -> float:
    def gap(first: np.ndarray, second: np.ndarray) -> float:
        return float(first.mean() - second.mean())

    samples = np.array([[1.0], [2.0], [9.0]])
    episodes = {"first_episode": np.arange(3), "second_episode": np.arange(3)}
    return left_out(gap, samples, np.zeros((3, 1)), **episodes)[0][-1]


KNOWN = (
    Known(
        "normal_interval of left_out",
        "of the gap of two means: 1.96 standard errors s (2 / n)^.5",
        1.96,
        _standard_errors_of_two_means,
    ),
    Known("left_out", "mean of 1 2 9 without the 9", 1.5, _without_the_last),
    Known(
        "normal_interval",
        "values 1 and 3 without either of two episodes: 1.96",
        1.96,
        lambda: normal_interval(0.0, [np.array([1.0, 3.0])])[1],
    ),
    Known(
        "random_conv_distance",
        "equal frames",
        0.0,
        lambda: random_conv_distance(_VIDEO, _VIDEO).max(),
    ),
    Known(
        "random_conv_distance",
        "twice as bright: a ReLU network without bias only scales",
        0.0,
        lambda: random_conv_distance(_VIDEO, 2 * _VIDEO).max(),
        1e-9,
    ),
)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: f"{known.name}: {known.why}")
def test_known_answer(known):
    assert float(known.compute()) == pytest.approx(known.expected, abs=known.tolerance)
