import numpy as np
import pytest
from sklearn.cluster import KMeans

from genie_robo.inference.error_feedback import ErrorFeedback, FeedbackState

CENTROIDS = np.array([[0.0, 0.0], [1.0, 0.0]])
"""Standing still, and one step along x."""


def test_motions_equal_to_a_centroid_leave_no_residual():
    feedback = ErrorFeedback.to_nearest(CENTROIDS)
    motions = CENTROIDS[[1, 0, 0, 1, 1, 0]]
    assert feedback.encode_sequence(motions).tolist() == [1, 0, 0, 1, 1, 0]


def test_a_third_of_a_step_becomes_every_third_step():
    nearest = ErrorFeedback.to_nearest(CENTROIDS).quantise
    feedback = ErrorFeedback(
        quantise=nearest, centroids=CENTROIDS, accumulates=np.ones(2, bool), decay=1.0
    )
    motions = np.tile([0.34, 0.0], (30, 1))
    assert (nearest(motions) == 0).all()  # without feedback all of them stand still
    assert feedback.encode_sequence(motions).sum() == 10


@pytest.mark.parametrize("seed", range(3))
def test_paths_with_feedback_end_nearer_to_the_true_ones(seed):
    rng = np.random.default_rng(seed)
    motions = rng.normal(size=(200, 12, 3))
    kmeans = KMeans(8, random_state=0, n_init=1).fit(motions.reshape(-1, 3))
    centroids = kmeans.cluster_centers_
    feedback = ErrorFeedback.to_nearest(centroids)
    codes = {
        "feedback": np.stack([feedback.encode_sequence(rollout) for rollout in motions]),
        "alone": np.stack([feedback.quantise(rollout) for rollout in motions]),
    }
    missed = {
        name: np.linalg.norm((centroids[k] - motions).sum(1), axis=1) for name, k in codes.items()
    }
    assert missed["feedback"].mean() < 0.6 * missed["alone"].mean()


def test_the_residual_of_a_motion_out_of_reach_stays_bounded():
    feedback = ErrorFeedback.to_nearest(CENTROIDS)
    residual = np.zeros((1, 2))
    for _ in range(1000):
        _, residual = feedback.step(np.array([[2.0, 0.0]]), residual)
    np.testing.assert_allclose(residual, [[4.0, 0.0]])  # 0.8 / (1 - 0.8) of the error of one step
    stopped = np.concatenate([np.tile([2.0, 0.0], (1000, 1)), np.zeros((6, 2))])
    assert feedback.encode_sequence(stopped)[-6:].tolist() == [1, 1, 1, 0, 0, 0]


def test_only_dimensions_that_accumulate_carry_a_residual():
    feedback = ErrorFeedback(
        quantise=lambda motions: np.zeros(len(motions), np.int64),
        centroids=np.zeros((1, 2)),
        accumulates=np.array([True, False]),
        decay=0.5,
    )
    motions, carried = np.array([[1.0, 1.0], [2.0, 2.0]]), np.array([[0.0, 0.0], [2.0, 0.0]])
    codes, residual = feedback.step(motions, carried)
    assert codes.tolist() == [0, 0]
    assert residual.tolist() == [[0.5, 0.0], [2.0, 0.0]]


def test_sequences_side_by_side_keep_their_own_residuals():
    feedback = ErrorFeedback.to_nearest(CENTROIDS)
    motions = np.random.default_rng(0).uniform(-1, 2, size=(3, 9, 2))
    state = FeedbackState(feedback)
    together = np.stack([state.step(motion) for motion in motions.swapaxes(0, 1)], axis=1)
    alone = np.stack([feedback.encode_sequence(sequence) for sequence in motions])
    assert (together == alone).all()


def test_an_empty_sequence_has_no_codes():
    assert ErrorFeedback.to_nearest(CENTROIDS).encode_sequence(np.zeros((0, 2))).tolist() == []
