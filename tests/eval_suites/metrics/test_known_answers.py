"""Inputs to every metric function whose output can be worked out by hand, or is published."""

from collections.abc import Callable

import numpy as np
import pytest

from genie_robo.eval_suites.metrics.following import best_lag, gain_terms, lag_terms
from genie_robo.eval_suites.metrics.image_metrics import (
    changed_pixels,
    changed_psnr,
    frame_psnr,
    motion,
)
from genie_robo.eval_suites.metrics.information import mutual_information
from genie_robo.eval_suites.metrics.ranking import pearson
from genie_robo.eval_suites.metrics.regression import cluster, predict_by_ridge, predict_from_codes
from genie_robo.eval_suites.selfcheck import Known
from genie_robo.eval_suites.statistics import (
    balanced_accuracy,
    bootstrap,
    episode_sums,
    mean_r2,
    r2_difference,
    r2_fraction,
    ratio_of_sums,
)

_GREY = np.full((1, 16, 16, 3), 0.5)
_BRIGHTER = np.full((1, 16, 16, 3), 0.6)
_TWICE = np.concatenate([_GREY, _GREY])
_STEPS = np.zeros((3, 4, 4, 3), np.uint8)
_STEPS[1, 0, 0], _STEPS[2, 0, :2] = 51, 51
_PATH = np.cumsum(np.random.default_rng(0).normal(size=(12, 3)), axis=0) * 0.02
_SCORE = np.array([3.0, 1.0, 2.0, 0.0])
_SUCCESS = np.array([True, True, False, False])
_ALONE, _ONE = np.zeros(4, np.int64), np.ones(1)
_REAL = np.array([0.733, 0.633, 0.583, 0.450, 0.017, 0.350])
_SIMULATED = np.array([0.779, 0.442, 0.354, 0.317, 0.050, 0.042])
"""Success of six policies at "move near", published with the code of Li et al. 2024 (SIMPLER)."""
_MOTION = [np.random.default_rng(e).normal(size=(30, 2)) for e in range(8)]
_ERRORS = np.array([[1.0], [4.0]])


def _gain(factor: float) -> float:
    imagined = _PATH[0] + factor * (_PATH - _PATH[0])
    return float(ratio_of_sums(gain_terms(imagined, _PATH, _PATH)))


def _lag(frames: int) -> float:
    late = _PATH[np.clip(np.arange(len(_PATH)) - frames, 0, None)]
    return float(best_lag(lag_terms(late, _PATH)))


def _changed() -> float:
    changed = changed_pixels(_STEPS)
    return float(changed_psnr(_STEPS[1:], _STEPS[:-1], changed)[0])


def _ridge() -> float:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 3))
    targets = features @ np.array([[1.0], [2.0], [-1.0]]) + 4
    groups = np.arange(200) // 20
    read = predict_by_ridge(features, targets, np.ones((1, 3)), groups=groups)
    return float(read[0, 0])


def _codes() -> float:
    fit, targets = np.array([0, 0, 1]), np.array([[1.0], [3.0], [8.0]])
    return float(predict_from_codes(fit, targets, np.array([0]), num_codes=2)[0, 0])


def _clusters() -> float:
    points = np.array([[0.0], [0.1], [5.0], [5.1]])
    codes, _ = cluster(points, points, num_codes=2)
    return float((codes[0] == codes[1]) and (codes[2] == codes[3]) and codes[0] != codes[2])


def _p_value(test: Callable[..., float]) -> float:
    return test(_MOTION, _MOTION, np.zeros(2), num_permutations=199)


def _mean_interval(end: int) -> float:
    estimate = bootstrap(np.tile([3.0, 1.0], (6, 1)), ratio_of_sums)
    assert estimate.ci95 is not None
    return estimate.ci95[end]


def _value(number: float | None) -> float:
    return np.nan if number is None else number


KNOWN = (
    Known(
        "changed_psnr",
        "the changed pixel alone, off by 51 of 255: -20 log10 0.2",
        -20 * np.log10(0.2),
        _changed,
    ),
    Known(
        "changed_pixels", "one pixel changes, then one", 2.0, lambda: changed_pixels(_STEPS).sum()
    ),
    Known("motion", "one of 16 pixels moves by 0.2", 0.2 / 16, lambda: motion(_STEPS)[0]),
    Known("ratio_of_sums", "6 over 4", 1.5, lambda: ratio_of_sums(np.array([6.0, 4.0]))),
    Known("mean_r2", "error 1 of deviation 4", 0.75, lambda: mean_r2(_ERRORS)),
    Known("mean_r2", "predicting the mean", 0.0, lambda: mean_r2(np.array([[4.0], [4.0]]))),
    Known(
        "r2_difference",
        "errors 1 and 3 of deviation 4",
        0.5,
        lambda: r2_difference(np.array([[1.0], [3.0], [4.0]])),
    ),
    Known(
        "r2_fraction",
        "R2 of 0.25 under a ceiling of 0.75",
        1 / 3,
        lambda: r2_fraction(np.array([[3.0], [1.0], [4.0]])),
    ),
    Known(
        "balanced_accuracy",
        "recalls 1 and 0.5",
        0.75,
        lambda: balanced_accuracy(np.array([[9.0, 1.0], [9.0, 2.0]])),
    ),
    Known(
        "episode_sums",
        "second episode",
        5.0,
        lambda: episode_sums(np.array([1.0, 2.0, 3.0]), np.array([0, 1, 1]), num_episodes=2)[1],
    ),
    Known(
        "mutual_information",
        "independent: 0 but for the correction",
        -1 / (2 * 4000 * np.log(2)),
        lambda: mutual_information(np.full((2, 2), 1000.0)),
        1e-6,
    ),
    Known("predict_from_codes", "mean of 1 and 3", 2.0, _codes),
    Known("predict_by_ridge", "x + 2 y - z + 4 at 1 1 1", 6.0, _ridge, 0.01),
    Known("cluster", "two pairs of points", 1.0, _clusters),
    Known("pearson", "SIMPLER move near", 0.8561, lambda: pearson(_SIMULATED, _REAL), 1e-4),
    Known(
        "frame_psnr",
        "mean of 20 dB and 100 dB, not 23 dB of the mean error",
        60.0,
        lambda: frame_psnr(_TWICE, np.stack([_BRIGHTER[0], _GREY[0]])).mean(),
    ),
    Known(
        "controllability/motion_ratio",
        "half of the true motion",
        0.5,
        lambda: ratio_of_sums(np.array([motion(_STEPS / 510).sum(), motion(_STEPS).sum()])),
    ),
)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: f"{known.name}: {known.why}")
def test_known_answer(known):
    assert float(known.compute()) == pytest.approx(known.expected, abs=known.tolerance)
