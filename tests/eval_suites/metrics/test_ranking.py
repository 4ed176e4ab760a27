import numpy as np
import pytest
from scipy import stats

from genie_robo.eval_suites.metrics.ranking import mean_absolute_error, mmrv, pearson, spearman

# Success published with the code of Li et al. 2024 (SIMPLER): RT-2-X, RT-1 converged, RT-1 15 %,
# RT-1-X, RT-1 begin, Octo; "move near" and "pick coke can".
REAL = np.array([0.733, 0.633, 0.583, 0.450, 0.017, 0.350])
SIMULATED = np.array([0.779, 0.442, 0.354, 0.317, 0.050, 0.042])
REAL_CAN = np.array([0.907, 0.853, 0.920, 0.760, 0.133, 0.293])
SIMULATED_CAN = np.array([0.787, 0.857, 0.710, 0.567, 0.027, 0.170])


def test_published_numbers():
    # Worst pair of each policy: begin and Octo are swapped and 0.333 apart.
    assert mmrv(SIMULATED, REAL) == pytest.approx((0.333 + 0.333) / 6)
    # Swapped arguments weigh by 0.050 - 0.042 instead, and look excellent.
    assert mmrv(REAL, SIMULATED) == pytest.approx((0.008 + 0.008) / 6)
    assert mmrv(SIMULATED_CAN, REAL_CAN) == pytest.approx((0.054 + 0.067 + 0.067) / 6)
    assert pearson(SIMULATED, REAL) == pytest.approx(0.8561, abs=1e-4)
    assert pearson(SIMULATED, REAL) == pytest.approx(np.corrcoef(SIMULATED, REAL)[0, 1])


def test_mmrv_weighs_by_true_differences():
    predicted, true = np.array([0.1, 0.2, 0.9]), np.array([0.5, 0.4, 0.9])
    # The first two are swapped: 0.1 apart in truth, each of them violates; the third does not.
    assert mmrv(predicted, true) == pytest.approx((0.1 + 0.1 + 0.0) / 3)
    close = np.array([0.500, 0.501])
    far = np.array([0.9, 0.1])
    assert mmrv(close, far) == pytest.approx(0.8)
    assert mmrv(far, close) == pytest.approx(0.001)


def test_mmrv_of_equal_predictions_counts_each_pair_once():
    # Of each pair only the worse policy is ordered wrongly: max distances 0.6, 0.4 and none.
    assert mmrv(np.zeros(3), np.array([0.1, 0.3, 0.7])) == pytest.approx((0.6 + 0.4 + 0.0) / 3)


def test_perfect_predictions():
    assert mmrv(REAL, REAL) == 0.0
    assert pearson(REAL, REAL) == pytest.approx(1.0)
    assert spearman(REAL**3, REAL) == pytest.approx(1.0)


def test_correlations_agree_with_scipy_under_ties():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 4, size=(2, 20)) / 4
    assert pearson(first, second) == pytest.approx(stats.pearsonr(first, second)[0])
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second)[0])


def test_equal_values_have_no_correlation():
    assert np.isnan(pearson(np.zeros(4), REAL[:4]))
    assert np.isnan(spearman(REAL[:4], np.ones(4)))


def test_leading_axes_are_kept():
    both = np.stack([REAL, SIMULATED])
    assert mmrv(both, np.stack([REAL, REAL])) == pytest.approx([0.0, mmrv(SIMULATED, REAL)])


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e6])
def test_values_equal_up_to_rounding_have_no_correlation(scale):
    equal, other = np.array([0.1 + 0.2, 0.3, 0.3, 0.3]) * scale, np.arange(4.0)
    assert equal[0] != equal[1]
    assert np.isnan(pearson(equal, other))
    assert np.isnan(pearson(other, equal))
    assert np.isnan(spearman(equal, other))
    rows = pearson(np.stack([equal, other]), other)
    np.testing.assert_allclose(rows, [np.nan, 1.0])


def test_mean_absolute_error_is_over_policies():
    assert mean_absolute_error(np.array([0.2, 0.5, 1.0]), np.array([0.5, 0.5, 0.0])) == (
        pytest.approx(1.3 / 3)
    )
    found = mean_absolute_error(np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([1.0, 1.0]))
    np.testing.assert_array_equal(found, [0.5, 0.0])


@pytest.mark.parametrize("statistic", [pearson, spearman, mmrv])
def test_a_policy_without_trials_leaves_no_number(statistic):
    predicted, true = (
        np.array([[0.1, np.nan, 0.5], [0.1, 0.3, 0.5]]),
        np.array([[0.2, 0.4, 0.6]] * 2),
    )
    first, second = statistic(predicted, true)
    assert np.isnan(first)
    assert np.isfinite(second)
