import numpy as np
import pytest
from sklearn.cluster import KMeans

from genie_robo.inference.error_diffusion import ErrorDiffusion

TWO = np.array([[0.0, 0.0], [1.0, 0.0]])
"""Standing still, and one step along x."""


def test_motions_that_codes_can_say_are_said_one_by_one():
    diffusion = ErrorDiffusion.to_nearest(TWO)
    motions = TWO[[1, 0, 0, 1, 1, 0]]
    assert diffusion.along(motions).tolist() == [1, 0, 0, 1, 1, 0]


def test_a_third_of_a_step_is_every_third_step():
    whole = ErrorDiffusion(
        choose=ErrorDiffusion.to_nearest(TWO).choose, says=TWO, adds_up=np.ones(2, bool), kept=1.0
    )
    motions = np.tile([0.34, 0.0], (30, 1))
    assert (ErrorDiffusion.to_nearest(TWO).choose(motions) == 0).all()  # alone they all stand still
    assert whole.along(motions).sum() == 10


@pytest.mark.parametrize("seed", range(3))
def test_told_paths_end_nearer_to_the_true_ones_than_motions_alone(seed):
    rng = np.random.default_rng(seed)
    motions = rng.normal(size=(200, 12, 3))
    says = KMeans(8, random_state=0, n_init=1).fit(motions.reshape(-1, 3)).cluster_centers_
    diffusion = ErrorDiffusion.to_nearest(says)
    codes = {
        "followed": np.stack([diffusion.along(rollout) for rollout in motions]),
        "alone": np.stack([diffusion.choose(rollout) for rollout in motions]),
    }
    missed = {name: np.linalg.norm((says[k] - motions).sum(1), axis=1) for name, k in codes.items()}
    assert missed["followed"].mean() < 0.6 * missed["alone"].mean()


def test_what_no_code_reaches_does_not_pile_up():
    diffusion = ErrorDiffusion.to_nearest(TWO)
    unsaid = np.zeros((1, 2))
    for _ in range(1000):
        _, unsaid = diffusion.step(np.array([[2.0, 0.0]]), unsaid)
    np.testing.assert_allclose(unsaid, [[4.0, 0.0]])  # 0.8 / (1 - 0.8) of what is missed each time
    stopped = np.concatenate([np.tile([2.0, 0.0], (1000, 1)), np.zeros((6, 2))])
    assert diffusion.along(stopped)[-6:].tolist() == [1, 1, 1, 0, 0, 0]


def test_only_what_adds_up_is_carried_on():
    diffusion = ErrorDiffusion(
        choose=lambda wanted: np.zeros(len(wanted), np.int64),
        says=np.zeros((1, 2)),
        adds_up=np.array([True, False]),
        kept=0.5,
    )
    codes, unsaid = diffusion.step(np.array([[1.0, 1.0], [2.0, 2.0]]), np.array([[0.0, 0], [2, 0]]))
    assert codes.tolist() == [0, 0]
    assert unsaid.tolist() == [[0.5, 0.0], [2.0, 0.0]]


def test_no_motion_has_no_code():
    assert ErrorDiffusion.to_nearest(TWO).along(np.zeros((0, 2))).tolist() == []
