import numpy as np
import pytest
from eval_fakes import FakeEncoder, ToyRobot, make_context
from seen_robot import NUM_CODES, SeeingEncoder, SeenPhysics, SeenRobot

from genie_robo.eval_suites.base import run_suite
from genie_robo.eval_suites.captions import CAPTIONS
from genie_robo.eval_suites.latent_transfer import LatentTransfer
from genie_robo.eval_suites.probes.code_meaning import (
    code_sums,
    eta_p_value,
    eta_squared,
    other_episode_errors,
    sign_agreement,
)
from genie_robo.eval_suites.statistics import mean_r2
from genie_robo.eval_suites.table import UnavailableError
from genie_robo.inference.world import HeldFrame


def random_codes(window):
    seed = [1, *window.episode_id.encode()]
    return np.random.default_rng(seed).integers(NUM_CODES, size=len(window.video) - 1)


@pytest.fixture(scope="module")
def robot():
    return SeenRobot(44)


def transfer_of(robot, encoder, world, **changes):
    context = make_context(robot, encoder=encoder, world=world, **changes)
    return run_suite(LatentTransfer(num_permutations=200, horizon=4), context)


@pytest.fixture(scope="module")
def seen(robot):
    return transfer_of(robot, SeeingEncoder(), SeenPhysics())


@pytest.fixture(scope="module")
def random(robot):
    return transfer_of(robot, FakeEncoder(NUM_CODES, random_codes), HeldFrame())


def test_codes_that_are_motions_mean_the_same_everywhere(seen):
    metrics = seen.metrics
    assert metrics["eta_squared"].value == pytest.approx(1.0)
    assert metrics["eta_squared/p_value"].value == pytest.approx(1 / 201)
    assert metrics["other_episodes/r2"].value == pytest.approx(1.0)
    assert metrics["sign_consistency"].value == 1.0
    assert metrics["sign_consistency/code8/dx"].value == 1.0
    # Code 4 stands still, code 3 moves along one axis only.
    assert metrics["sign_consistency/code4/dx"].value is None
    assert metrics["sign_consistency/code3/dy"].value == 1.0
    assert metrics["sign_consistency/code3/dx"].value is None


def test_random_codes_mean_nothing_anywhere(random):
    eta = random.metrics["eta_squared"]
    assert eta.value == pytest.approx(eta.baselines["permuted_codes"], abs=0.05)
    assert random.metrics["eta_squared/p_value"].value > 0.01
    assert random.metrics["other_episodes/r2"].value < 0.05
    low, high = random.metrics["sign_consistency"].ci95
    assert low - 0.05 <= 0.5 <= high + 0.05


def test_demonstrations_move_to_other_scenes_in_the_true_world(seen):
    codes = seen.metrics["demo_transfer/code_agreement"]
    assert codes.ceiling == 1.0
    # Where the square would leave the picture it comes back on the other side.
    assert codes.value > 0.85
    assert codes.baselines["own_codes"] < 0.3
    motion = seen.metrics["demo_transfer/motion_r2"]
    assert motion.ceiling > 0.25
    assert motion.value > motion.baselines["own_motion"] + 0.2


def test_nothing_moves_to_a_world_that_stands_still(robot):
    metrics = transfer_of(robot, SeeingEncoder(), HeldFrame()).metrics
    codes = metrics["demo_transfer/code_agreement"]
    assert codes.value == pytest.approx(1 / NUM_CODES, abs=0.08)
    assert metrics["demo_transfer/motion_r2"].value == pytest.approx(0.0, abs=0.05)


def test_eta_squared_literal():
    # Two codes with means 1 and 4 of 0 2 | 3 5: between 9, total 13.
    motions = np.array([[0.0], [2.0], [3.0], [5.0]])
    sums = code_sums(np.array([0, 0, 1, 1]), motions, np.zeros(4, int), num_episodes=1, num_codes=3)
    assert eta_squared(sums.sum(axis=0)) == pytest.approx(9 / 13)


def test_eta_p_values_are_uniform_without_relation():
    found = []
    for trial in range(60):
        rng = np.random.default_rng(trial)
        episode = np.repeat(np.arange(8), 15)
        found.append(
            eta_p_value(
                rng.integers(4, size=120),
                rng.normal(size=(120, 2)),
                episode,
                num_codes=4,
                seed=trial,
                num_permutations=99,
            )
        )
    assert 0.4 <= np.mean(found) <= 0.6
    assert np.mean(np.array(found) < 0.1) <= 0.2


def test_codes_of_one_episode_only_mean_nothing_in_others():
    episode = np.repeat(np.arange(3), 4)
    motions = np.array([0.0, 6.0, 12.0])[episode][:, None]
    sums = code_sums(episode, motions, episode, num_episodes=3, num_codes=3)
    errors = other_episode_errors(sums, episode, motions, episode)
    assert mean_r2(errors.sum(axis=0)[None])[0] == 0.0
    assert eta_squared(sums.sum(axis=0)) == pytest.approx(1.0)


def test_sign_agreement_literal():
    sums = np.zeros((2, 2, 3))
    sums[0, 0] = [2.0, 0.0, 1.0]
    sums[1, 0] = [-1.0, 0.0, 1.0]
    found = sign_agreement(sums, np.array([[0.5], [0.5]]), min_move=0.1)
    np.testing.assert_array_equal(found[:, 0, 0], [1.0, 0.0])
    assert np.isnan(found[:, 1]).all()
    assert np.isnan(sign_agreement(sums, np.array([[0.05], [0.5]]), min_move=0.1)).all()


def test_one_test_episode_and_still_robots_are_undefined(robot):
    context = make_context(robot, encoder=SeeingEncoder(), num_fit=43)
    with pytest.raises(UnavailableError, match="only one test"):
        LatentTransfer().evaluate(context)
    still = ToyRobot(4)
    for actions, poses in zip(still.actions, still.poses, strict=True):
        actions[:] = poses[:] = 0.0
    metrics = transfer_of(still, FakeEncoder(NUM_CODES, random_codes), HeldFrame()).metrics
    assert all(metric.value is None for metric in metrics.values())


def test_transfer_outputs(seen):
    assert set(seen.figures) == {"sign_consistency"} == set(CAPTIONS["latent_transfer"])
    assert len(seen.table) == 22
    assert set(seen.headline) <= set(seen.metrics)
