import numpy as np
import pytest

from genie_robo.eval_suites.metrics.verdicts import auroc, gap, gap_terms, share_terms
from genie_robo.eval_suites.statistics import ratio_of_sums

SCORE = np.array([3.0, 1.0, 2.0, 0.0])
SUCCESS = np.array([True, True, False, False])
EPISODE = np.array([0, 1, 0, 1])
ONE = np.ones(2)


def test_auroc_counts_pairs_in_order():
    assert auroc(SCORE, SUCCESS, EPISODE)(ONE) == pytest.approx(3 / 4)
    assert auroc(SUCCESS * 1.0, SUCCESS, EPISODE)(ONE) == 1.0
    assert auroc(SUCCESS * -1.0, SUCCESS, EPISODE)(ONE) == 0.0
    assert auroc(np.zeros(4), SUCCESS, EPISODE)(ONE) == 0.5


def test_auroc_of_a_resample_is_that_of_the_repeated_trials():
    counts = np.array([2.0, 1.0])
    chosen = np.array([0, 0, 1, 2, 2, 3])
    repeated = auroc(SCORE[chosen], SUCCESS[chosen], np.zeros(6, int))(np.ones(1))
    assert auroc(SCORE, SUCCESS, EPISODE)(counts) == pytest.approx(repeated)


def test_gap_and_share():
    assert gap(gap_terms(SCORE, SUCCESS).sum(axis=0)) == pytest.approx(1.0)
    assert ratio_of_sums(share_terms(SCORE > 0, ~SUCCESS).sum(axis=0)) == 0.5
    first_episode = share_terms(SCORE <= 0, SUCCESS)[EPISODE == 0]
    assert ratio_of_sums(first_episode.sum(axis=0)) == 0.0


def test_without_successes_there_is_no_verdict():
    never = np.zeros(4, bool)
    assert np.isnan(auroc(SCORE, never, EPISODE)(ONE))
    with np.errstate(invalid="ignore"):
        assert np.isnan(gap(gap_terms(SCORE, never).sum(axis=0)))
        assert np.isnan(ratio_of_sums(share_terms(SCORE > 0, never).sum(axis=0)))
