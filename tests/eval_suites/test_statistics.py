import numpy as np
import pytest
from eval_fakes import episode_mean

from genie_robo.eval_suites.statistics import (
    Estimate,
    balanced_accuracy,
    bootstrap,
    circular_shift_p_value,
    episode_sums,
    mean_r2,
    notes_on_units,
    perplexity,
    r2_difference,
    r2_fraction,
    ratio_of_sums,
    reassignment_p_value,
)


def correlated(rng, num_episodes, num_frames, correlation=0.9):
    values = rng.normal(size=(num_episodes, num_frames))
    for t in range(1, num_frames):
        values[:, t] = correlation * values[:, t - 1] + np.sqrt(1 - correlation**2) * values[:, t]
    return values


def test_episode_sums_literal():
    values = np.array([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]])
    sums = episode_sums(values, np.array([0, 2, 0]), num_episodes=3)
    np.testing.assert_array_equal(sums, [[5, 50], [0, 0], [2, 20]])


def test_mean_r2_literal():
    # SSE 1 of SST 4, and SSE 6 of SST 8: 0.75 and 0.25.
    assert mean_r2(np.array([[[1.0, 6.0], [4.0, 8.0]]])).tolist() == [0.5]


def test_r2_difference_and_fraction_literal():
    rows = np.array([[[1.0], [2.0], [4.0]]])
    assert r2_difference(rows).tolist() == [0.25]
    assert r2_fraction(rows).tolist() == [0.75 / 0.5]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([1, 1, 1, 1], 4.0), ([5, 0, 0, 0], 1.0), ([2, 1, 1], 2 * np.sqrt(2))],
)
def test_perplexity_known_answers(counts, expected):
    assert perplexity(np.array([counts], dtype=float)) == pytest.approx(expected)


def test_balanced_accuracy_weighs_classes_equally():
    hits, occurs = [90.0, 0.0], [100.0, 10.0]
    assert balanced_accuracy(np.array([[hits, occurs]])) == pytest.approx(0.45)


def test_bootstrap_value_is_the_statistic_of_the_totals():
    sums = np.array([[3.0, 2.0], [1.0, 2.0]])
    assert bootstrap(sums, ratio_of_sums).value == 1.0


def test_bootstrap_of_equal_episodes_has_no_width():
    assert bootstrap(np.array([[3.0, 2.0]] * 5), ratio_of_sums) == Estimate(1.5, (1.5, 1.5))


def test_few_episodes_have_a_value_but_no_interval():
    assert bootstrap(np.array([[3.0, 2.0]] * 4), ratio_of_sums) == Estimate(1.5, None)


@pytest.mark.parametrize(
    ("num_episodes", "note"),
    [(4, "too few for intervals"), (5, "narrower than"), (11, "narrower than")],
)
def test_few_episodes_are_noted(num_episodes, note):
    assert note in notes_on_units(num_episodes)[0]
    assert f"Only {num_episodes} test" in notes_on_units(num_episodes)[0]


def test_enough_episodes_need_no_note():
    assert notes_on_units(12) == ()


def test_undefined_statistic_is_none():
    assert bootstrap(np.zeros((4, 2)), ratio_of_sums) == Estimate(None, None)


def test_statistic_that_few_resamples_can_form_has_no_interval():
    sums = np.array([[1.0, 1.0]] + [[0.0, 0.0]] * 9)
    assert bootstrap(sums, ratio_of_sums) == Estimate(1.0, None)


def test_same_seed_same_interval():
    sums = np.random.default_rng(0).random((9, 2))
    assert bootstrap(sums, ratio_of_sums, seed=3) == bootstrap(sums, ratio_of_sums, seed=3)
    assert bootstrap(sums, ratio_of_sums, seed=3) != bootstrap(sums, ratio_of_sums, seed=4)


def test_duplicating_episodes_as_one_unit_narrows_nothing():
    values = np.random.default_rng(0).random((12, 5))
    episode = np.arange(12)
    single = episode_mean(values, episode)
    double = episode_mean(np.concatenate([values, values]), np.concatenate([episode, episode]))
    assert double.value == pytest.approx(single.value)
    assert double.ci95 == pytest.approx(single.ci95)


def test_episode_mean_leaves_nan_out():
    values = np.array([[1.0, np.nan], [4.0, 4.0]])
    assert episode_mean(values, np.array([0, 1])).value == 3.0


def test_intervals_cover_by_episode_and_not_by_frame():
    rng = np.random.default_rng(0)
    episode = np.repeat(np.arange(30), 30)
    covered = np.zeros(2)
    for trial in range(60):
        values = correlated(rng, 30, 30).ravel()
        by_episode = episode_mean(values, episode, seed=trial)
        by_frame = bootstrap(
            np.stack([values, np.ones_like(values)], axis=1),
            ratio_of_sums,
            seed=trial,
            num_resamples=100,
        )
        for way, estimate in enumerate((by_episode, by_frame)):
            low, high = estimate.ci95
            covered[way] += low <= 0.0 <= high
    by_episode, by_frame = covered / 60
    assert by_episode >= 0.88
    assert by_frame <= 0.55


@pytest.mark.parametrize("p_value", [circular_shift_p_value, reassignment_p_value])
def test_permutation_finds_a_real_relation(p_value):
    rng = np.random.default_rng(0)
    targets = [rng.normal(size=(20, 2)) for _ in range(12)]
    guesses = [0.5 * target + rng.normal(size=target.shape) * 0.3 for target in targets]
    smallest = 1 / 2001
    assert p_value(targets, guesses, np.zeros(2)) == pytest.approx(smallest)


@pytest.mark.parametrize("p_value", [circular_shift_p_value, reassignment_p_value])
def test_permutation_p_values_are_uniform_without_relation(p_value):
    values = []
    for trial in range(60):
        rng = np.random.default_rng(trial)
        targets = list(correlated(rng, 10, 20)[..., None])
        guesses = list(correlated(rng, 10, 20)[..., None])
        values.append(p_value(targets, guesses, np.zeros(1), seed=trial, num_permutations=100))
    assert 0.4 <= np.mean(values) <= 0.6
    assert np.mean(np.array(values) < 0.1) <= 0.2


def test_constant_predictions_have_p_value_one():
    targets = [np.arange(6.0)[:, None], np.arange(4.0)[:, None]]
    guesses = [np.full_like(target, 2.0) for target in targets]
    assert circular_shift_p_value(targets, guesses, np.zeros(1)) == 1.0
    assert reassignment_p_value(targets, guesses, np.zeros(1)) == 1.0
