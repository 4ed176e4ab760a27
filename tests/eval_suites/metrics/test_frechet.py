import numpy as np
import pytest
from scipy.linalg import sqrtm

from genie_robo.eval_suites.metrics.frechet import frechet_distance, left_out, unbiased_mmd
from genie_robo.eval_suites.statistics import normal_interval


def test_a_shifted_gaussian_is_the_squared_shift_away():
    samples = np.random.default_rng(0).normal(size=(50, 6))
    shift = np.array([3.0, 0, -4.0, 0, 0, 0])
    assert frechet_distance(samples, samples) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(samples, samples + shift) == pytest.approx(25.0)


def test_a_scaled_gaussian_is_the_squared_difference_of_spreads_away():
    samples = np.random.default_rng(0).normal(size=(2000, 5))
    # (3 - 1)^2 in each of 5 dimensions, times the sample variance.
    variance = samples.var(axis=0, ddof=1).sum()
    centred = samples - samples.mean(axis=0)
    assert frechet_distance(centred, 3 * centred) == pytest.approx(4 * variance)
    assert variance == pytest.approx(5.0, rel=0.05)


def test_the_nuclear_norm_is_the_trace_of_the_matrix_root():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 4))
    second = rng.normal(size=(150, 4)) @ rng.normal(size=(4, 4)) + 1
    covariances = np.cov(first.T), np.cov(second.T)
    shift = ((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum()
    root = np.trace(sqrtm(covariances[0] @ covariances[1])).real
    expected = shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * root
    assert frechet_distance(first, second) == pytest.approx(expected)


def test_fewer_samples_than_features_are_exact():
    # Two samples on a line in 1000 dimensions: spreads 2 and 8, one direction.
    first, second = np.zeros((2, 2, 1000))
    first[:, 7] = [-1.0, 1.0]
    second[:, 7] = [-2.0, 2.0]
    assert frechet_distance(first, second) == pytest.approx((np.sqrt(8) - np.sqrt(2)) ** 2)


def test_frechet_is_biased_and_mmd_is_not():
    rng = np.random.default_rng(0)
    pairs = [rng.normal(size=(2, 24, 16)) for _ in range(200)]
    assert np.mean([frechet_distance(*pair) for pair in pairs]) > 3
    found = [unbiased_mmd(*pair) for pair in pairs]
    assert np.mean(found) == pytest.approx(0.0, abs=3 * np.std(found) / np.sqrt(200))


def test_mmd_literal():
    # Kernel (x y + 1)^3 of 0, 1 and 1, 1: within 1 and 8, across (1 + 1 + 8 + 8) / 4.
    first, second = np.array([[0.0], [1.0]]), np.array([[1.0], [1.0]])
    assert unbiased_mmd(first, second) == pytest.approx(1 + 8 - 2 * 4.5)
    assert unbiased_mmd(first + 5, second) > 100


def gap(first, second):
    return float((first.mean(axis=0) - second.mean(axis=0))[0])


def test_the_jackknife_interval_covers_and_holds_copies_for_one_episode():
    rng = np.random.default_rng(0)
    episode = np.repeat(np.arange(20), 2)
    covered, widths = 0, []
    for _ in range(100):
        first, second = rng.normal(size=(2, 20, 3)).repeat(2, axis=1)
        sides = {"first_episode": episode, "second_episode": episode}
        low, high = normal_interval(gap(first, second), left_out(gap, first, second, **sides))
        covered += low <= 0.0 <= high
        widths.append(high - low)
    assert covered >= 88
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.sqrt(2 / 20), rel=0.15)


@pytest.mark.parametrize("distance", [frechet_distance, unbiased_mmd])
def test_too_few_samples_are_refused(distance):
    with pytest.raises(ValueError, match=r"at least 2 samples .* \(1, 3\) and \(4, 3\)"):
        distance(np.zeros((1, 3)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="equally many features"):
        distance(np.zeros((4, 2)), np.zeros((4, 3)))
