import numpy as np
import pytest

from genie_robo.eval_suites.metrics.following import (
    best_lag,
    distance,
    gain_terms,
    lag_terms,
    slope,
)


@pytest.fixture
def path():
    return np.cumsum(np.random.default_rng(0).normal(size=(12, 3)) * 0.02, axis=0)


@pytest.mark.parametrize("gain", [0.0, 0.5, 1.0, 2.0])
def test_gain_is_the_factor_on_displacement(path, gain):
    imagined = path[0] + gain * (path - path[0])
    product, unit = gain_terms(imagined, path, path)
    assert product / unit == pytest.approx(gain)


def test_gain_terms_hand_computed():
    true = np.array([[1.0, 0, 0], [2, 0, 0], [4, 0, 0]])  # 1 and 3 from where it began
    imagined = np.array([[1.0, 0, 0], [2, 0, 0], [3, 0, 0]])
    np.testing.assert_array_equal(gain_terms(imagined, true, true), [1 * 1 + 2 * 3, 1 + 9])


def test_a_reader_that_shrinks_motion_leaves_the_gain(path):
    shrunk = 0.7 * path + 0.01
    product, unit = gain_terms(0.7 * (path[0] + 0.5 * (path - path[0])) + 0.01, shrunk, path)
    assert product / unit == pytest.approx(0.5)


@pytest.mark.parametrize("lag", [-2, -1, 0, 1, 2])
def test_lag_is_where_motions_agree(path, lag):
    imagined = path[np.clip(np.arange(12) - lag, 0, 11)]
    assert best_lag(lag_terms(imagined, path)) == lag


@pytest.mark.parametrize("num_frames", [4, 12])
def test_equal_motion_at_constant_velocity_has_no_lag(num_frames):
    """All lags agree exactly; the smallest is taken."""
    steady = np.linspace([0, 0, 0], [0.3, 0.1, -0.2], num_frames)
    assert best_lag(lag_terms(steady, steady)) == 0
    held = np.concatenate([steady[:1], steady[:-1]])  # one frame late
    assert best_lag(lag_terms(held, steady)) == 1


@pytest.mark.parametrize("lag", [-4, -3, 3, 4])
@pytest.mark.parametrize("is_smooth", [True, False])
def test_a_lag_beyond_the_range_claims_no_number(lag, is_smooth):
    rng = np.random.default_rng(0)
    velocity = rng.normal(size=(40, 3))
    if is_smooth:
        velocity = np.stack([np.convolve(v, np.ones(5), mode="same") for v in velocity.T], axis=1)
    path = np.cumsum(velocity, axis=0)
    imagined = path[np.clip(np.arange(40) - lag, 0, 39)]
    assert np.isnan(best_lag(lag_terms(imagined, path)))


def test_motion_that_does_not_follow_has_no_lag(path):
    other = np.cumsum(np.random.default_rng(5).normal(size=(400, 3)), axis=0)
    true = np.cumsum(np.random.default_rng(6).normal(size=(400, 3)), axis=0)
    assert np.isnan(best_lag(lag_terms(other, true)))
    assert np.isnan(best_lag(lag_terms(-path, path)))


def test_nothing_that_moves_has_no_lag(path):
    assert np.isnan(best_lag(lag_terms(np.repeat(path[:1], 12, axis=0), path)))


def test_slope_is_growth_per_frame():
    rows = np.array([[1.0, 3.0, 5.0, 7.0], [2.0, 2.0, 2.0, 2.0]])
    assert slope(rows) == pytest.approx([2.0, 0.0])
    assert np.isnan(slope(rows[:, :1])).all()


def test_distance_is_in_millimetres():
    assert distance(np.array([0.003, 0.0, 0.004]), np.zeros(3)) == pytest.approx(5.0)
