import numpy as np
import pytest

from eval_suites.metrics.verdicts import auroc, gap, share

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
    assert gap(SCORE, SUCCESS, EPISODE)(ONE) == pytest.approx(1.0)
    assert share(SCORE > 0, ~SUCCESS, EPISODE)(ONE) == 0.5
    assert share(SCORE <= 0, SUCCESS, EPISODE)(np.array([[1.0, 0.0]])) == pytest.approx([0.0])


def test_without_successes_there_is_no_verdict():
    never = np.zeros(4, bool)
    for verdict in (auroc(SCORE, never, EPISODE), gap(SCORE, never, EPISODE)):
        assert np.isnan(verdict(ONE))
    assert np.isnan(share(SCORE > 0, never, EPISODE)(ONE))
