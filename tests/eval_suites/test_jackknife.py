"""Intervals of what is fitted to the episodes that it is measured on."""

import numpy as np
import pytest

from genie_robo.eval_suites.metrics.information import joint_counts, mutual_information
from genie_robo.eval_suites.probes.code_meaning import code_sums, eta_squared
from genie_robo.eval_suites.statistics import (
    Estimate,
    bootstrap,
    jackknife,
    perplexity,
    ratio_of_sums,
)

NUM_EPISODES, LENGTH, NUM_CODES = 24, 20, 8
EPISODE = np.repeat(np.arange(NUM_EPISODES), LENGTH)


def information(rng):
    shape = (NUM_EPISODES, NUM_CODES, NUM_CODES)
    labels = rng.integers(NUM_CODES, size=(2, len(EPISODE)))
    return joint_counts(*labels, EPISODE, shape=shape), mutual_information, 0.0


def uses(rng):
    codes = rng.integers(NUM_CODES, size=len(EPISODE))
    counts = np.zeros((NUM_EPISODES, NUM_CODES))
    np.add.at(counts, (EPISODE, codes), 1.0)
    return counts, perplexity, float(NUM_CODES)


def meaning(rng):
    codes, motions = rng.integers(32, size=len(EPISODE)), rng.normal(size=(len(EPISODE), 1))
    sums = code_sums(codes, motions, EPISODE, num_episodes=NUM_EPISODES, num_codes=32)
    # What it is on average without any relation.
    return sums, eta_squared, 31 / (len(EPISODE) - 1)


def coverage(draw, interval):
    found = []
    for trial in range(40):
        sums, statistic, truth = draw(np.random.default_rng(trial))
        low, high = interval(sums, statistic).ci95
        found.append(low <= truth <= high)
    return np.mean(found)


@pytest.mark.parametrize("draw", [information, uses, meaning])
def test_leaving_out_covers_what_a_bootstrap_misses(draw):
    assert coverage(draw, jackknife) >= 0.85

    def resampled(sums, statistic):
        return bootstrap(sums, statistic, num_resamples=200)

    assert coverage(draw, resampled) <= 0.3


def test_of_a_mean_it_is_the_textbook_interval():
    values = np.random.default_rng(0).normal(size=30)
    low, high = jackknife(np.stack([values, np.ones(30)], axis=1), ratio_of_sums).ci95
    reach = 1.96 * values.std(ddof=1) / np.sqrt(30)
    assert (low, high) == pytest.approx((values.mean() - reach, values.mean() + reach))


def test_few_episodes_have_a_value_but_no_interval_here_either():
    assert jackknife(np.array([[3.0, 2.0]] * 4), ratio_of_sums) == Estimate(1.5, None)


def test_what_is_undefined_without_an_episode_has_no_interval():
    sums = np.array([[1.0, 1.0]] + [[0.0, 0.0]] * 5)
    assert jackknife(sums, ratio_of_sums) == Estimate(1.0, None)
    assert jackknife(np.zeros((6, 2)), ratio_of_sums) == Estimate(None, None)
