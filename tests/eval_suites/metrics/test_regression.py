import numpy as np
import pytest

from genie_robo.eval_suites.metrics.regression import (
    choose_components,
    cluster,
    fit_standardiser,
    predict_by_ridge,
    predict_from_codes,
    principal_components,
)


def r2(targets, guesses):
    return 1 - ((targets - guesses) ** 2).sum() / ((targets - targets.mean(axis=0)) ** 2).sum()


def test_each_code_predicts_its_mean_and_an_unseen_one_the_overall_mean():
    targets = np.array([[0.0], [2.0], [10.0]])
    guesses = predict_from_codes(np.array([0, 0, 2]), targets, np.array([0, 1, 2]), num_codes=3)
    np.testing.assert_allclose(guesses, [[1.0], [4.0], [10.0]])


def test_uniform_action_and_k_equal_bins_explain_all_but_one_over_k_squared():
    rng = np.random.default_rng(0)
    fit, test = rng.random((2, 20_000, 1))
    codes = [(values[:, 0] * 8).astype(int) for values in (fit, test)]
    guesses = predict_from_codes(codes[0], fit, codes[1], num_codes=8)
    assert r2(test, guesses) == pytest.approx(1 - 1 / 64, abs=2e-3)


def test_kmeans_on_a_gaussian_reaches_lloyd_max():
    rng = np.random.default_rng(0)
    fit, test = rng.normal(size=(2, 20_000, 1))
    fit_codes, codes = cluster(fit, test, num_codes=8)
    guesses = predict_from_codes(fit_codes, fit, codes, num_codes=8)
    assert r2(test, guesses) == pytest.approx(0.9655, abs=4e-3)


def test_fewer_distinct_points_than_codes_give_fewer_clusters():
    points = np.array([[0.0], [0.0], [1.0]])
    fit_codes, codes = cluster(points, np.array([[0.1], [0.9]]), num_codes=8)
    assert fit_codes[0] == fit_codes[1] == codes[0] != fit_codes[2] == codes[1]


def test_ridge_recovers_a_linear_map_and_gives_up_on_noise():
    rng = np.random.default_rng(0)
    features, new = rng.normal(size=(2, 300, 4)) * [1, 10, 0.1, 0] + [0, 5, 0, 3]
    weights = np.array([1.0, -0.2, 3.0, 0.0])

    def targets(x):
        return np.stack([x @ weights + 2, rng.normal(size=len(x))], axis=1)

    groups = np.repeat(np.arange(10), 30)
    fit_targets, new_targets = targets(features), targets(new)
    guesses = predict_by_ridge(features, fit_targets, new, groups=groups)
    assert r2(new_targets[:, :1], guesses[:, :1]) > 0.999
    assert np.std(guesses[:, 1]) < 0.15


def test_a_feature_that_was_all_but_still_does_not_explode():
    rng = np.random.default_rng(0)
    features, new = rng.normal(size=(2, 100, 2))
    features[:, 1] *= 1e-6
    targets, new_targets = features[:, :1].copy(), new[:, :1].copy()
    targets[:, 0] += 0.1 * rng.normal(size=100)
    guesses = predict_by_ridge(features, targets, new, groups=np.repeat(np.arange(10), 10))
    assert r2(new_targets, guesses) > 0.9


def test_ridge_works_with_a_single_episode():
    features = np.arange(12.0)[:, None]
    guesses = predict_by_ridge(features, 2 * features, features, groups=np.zeros(12, int))
    np.testing.assert_allclose(guesses, 2 * features, atol=0.05)


def test_ridge_folds_never_cut_an_episode():
    # Episode-id features look perfect inside an episode and are worth nothing outside.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(10), 20)
    offsets = rng.normal(size=20)
    features, new = np.eye(20)[groups], np.eye(20)[groups + 10]
    targets = offsets[groups][:, None] + 0.1 * rng.normal(size=(200, 1))
    new_targets = offsets[groups + 10][:, None]
    guesses = predict_by_ridge(features, targets, new, groups=groups)
    assert np.abs(guesses - targets.mean()).max() < 0.05
    assert r2(new_targets, guesses) < 0.1


def test_principal_components_are_ordered_and_centred():
    rng = np.random.default_rng(0)
    fit = rng.normal(size=(500, 3)) * [1.0, 5.0, 0.1] + 4
    scores, _ = principal_components(fit, fit[:3], num_components=2)
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(scores.std(axis=0), [5.0, 1.0], rtol=0.1)


def test_standardiser_leaves_constant_columns_at_zero():
    values = np.array([[1.0, 3.0], [3.0, 3.0]])
    np.testing.assert_allclose(fit_standardiser(values)(values), [[-1.0, 0.0], [1.0, 0.0]])


def test_clipping_is_kept_only_where_it_helps():
    """A rare feature that is linear far beyond five spreads: clipping it would lose the tail."""
    rng = np.random.default_rng(0)
    feature = rng.standard_t(2, size=(2, 2000, 1))
    targets = 0.5 * feature
    guess = predict_by_ridge(feature[0], targets[0], feature[1], groups=np.arange(2000) % 20)
    assert np.abs(feature[1]).max() > 10
    np.testing.assert_allclose(guess, targets[1], rtol=0.01, atol=0.01)


def test_a_feature_that_is_constant_up_to_rounding_predicts_nothing():
    rng = np.random.default_rng(0)
    known = rng.normal(size=(200, 1))
    almost = np.full((200, 1), 0.3)
    almost[::2] = 0.1 + 0.2
    fit = np.concatenate([known, almost], axis=1)
    other = np.concatenate([known, np.full((200, 1), 0.9)], axis=1)
    guess = predict_by_ridge(fit, known, other, groups=np.arange(200) % 10)
    np.testing.assert_allclose(guess, known, atol=0.05)


def test_the_number_of_components_is_the_one_that_predicts():
    """The target is in the first component; the others are louder together than it is."""
    rng = np.random.default_rng(0)
    signal = rng.choice([-1.0, 1.0], size=(400, 1))
    features = np.concatenate([3 * signal, rng.normal(size=(400, 15)) * 2.0], axis=1)
    found = choose_components(
        features, signal, num_codes=2, most=16, groups=np.arange(400) % 20, seed=0
    )
    assert found < 16
    only = choose_components(
        features[:, :1], signal, num_codes=2, most=1, groups=np.zeros(400, int)
    )
    assert only == 1
