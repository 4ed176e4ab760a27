import numpy as np
import pytest
from eval_fakes import FakeEncoder, ToyEpisodes, ToyRobot, make_context
from seen_robot import NUM_CODES, SeeingEncoder, SeenPhysics, SeenRobot

from genie_robo.eval_suites.captions import CAPTIONS
from genie_robo.eval_suites.latent_structure import LatentStructure
from genie_robo.eval_suites.probes.latent_algebra import (
    backward_measurements,
    backwards,
    best_permutation,
    sums_over_time,
)
from genie_robo.eval_suites.table import Table
from genie_robo.inference.world import HeldFrame


def random_codes(window):
    seed = [len(window.video), *window.video[0, :, :, 0].ravel(), *window.video[-1, 0, 0]]
    return np.random.default_rng(seed).integers(NUM_CODES, size=len(window.video) - 1)


@pytest.fixture(scope="module")
def robot():
    return SeenRobot(24)


def structure(robot, encoder, world, **changes):
    context = make_context(robot, encoder=encoder, world=world, **changes)
    return LatentStructure().evaluate(context)


@pytest.fixture(scope="module")
def seen(robot):
    return structure(robot, SeeingEncoder(), SeenPhysics())


@pytest.fixture(scope="module")
def random(robot):
    return structure(robot, FakeEncoder(NUM_CODES, random_codes), HeldFrame())


def test_codes_that_see_the_motion_are_turned_by_a_permutation(seen):
    metrics = seen.metrics
    assert metrics["forward_backward/agreement"].value == 1.0
    assert metrics["forward_backward/involution"].value == 1.0
    information = metrics["forward_backward/information"]
    assert information.value == pytest.approx(information.ceiling, abs=0.05)


def test_random_codes_turn_at_random(random):
    agreement = random.metrics["forward_backward/agreement"]
    assert agreement.value == pytest.approx(1 / NUM_CODES, abs=0.06)
    low, high = random.metrics["forward_backward/information"].ci95
    assert low - 0.1 <= 0.0 <= high


def test_swapped_frames_decode_to_the_negative_motion(seen, random):
    swap = seen.metrics["endpoint_swap/r2"]
    assert swap.value == pytest.approx(1.0, abs=0.01)
    assert swap.ceiling == pytest.approx(1.0, abs=0.01)
    assert swap.baselines["unchanged_code"] < -2
    assert random.metrics["endpoint_swap/r2"].value == pytest.approx(0.0, abs=0.15)


def test_motions_of_codes_add_up(seen, random):
    for h in (2, 4, 8):
        metric = seen.metrics[f"composition/h{h}"]
        assert metric.value == pytest.approx(1.0, abs=0.01)
        assert metric.baselines["mean"] == 0.0
        assert random.metrics[f"composition/h{h}"].value < 0.1


def test_the_true_world_gains_over_copying_and_copying_does_not(seen, random):
    for name in ("psnr", "changed_psnr"):
        assert seen.metrics[f"gain_over_copying/{name}"].ci95[0] > 20
        assert random.metrics[f"gain_over_copying/{name}"].value == 0.0


def test_dead_and_used_codes_are_all_codes(seen):
    assert seen.metrics["codes/dead"].value == 0.0
    assert seen.metrics["codes/used"].value == NUM_CODES


def test_codes_that_follow_each_other_are_seen_in_the_transitions(robot, random):
    cycle = FakeEncoder(4, lambda window: np.arange(len(window.video) - 1) % 4)
    information = structure(robot, cycle, HeldFrame()).metrics["transitions/information"]
    assert information.value == pytest.approx(2.0, abs=0.05)
    assert random.metrics["transitions/information"].value == pytest.approx(0.0, abs=0.15)


def test_a_collapsed_codebook_is_undefined_not_consistent(robot):
    still = FakeEncoder(4, lambda window: np.zeros(len(window.video) - 1, int))
    metrics = structure(robot, still, HeldFrame()).metrics
    assert metrics["forward_backward/agreement"].value is None
    assert "only one code" in metrics["forward_backward/agreement"].reason
    assert metrics["codes/dead"].value == 3.0
    assert metrics["endpoint_swap/r2"].value == pytest.approx(0.0, abs=0.01)


def test_a_robot_that_never_moves_is_undefined_with_a_reason():
    robot = ToyRobot(4)
    for actions, poses in zip(robot.actions, robot.poses, strict=True):
        actions[:] = poses[:] = 0.0
    metrics = structure(robot, FakeEncoder(NUM_CODES, random_codes), HeldFrame()).metrics
    for name in ("endpoint_swap/r2", "composition/h2"):
        assert metrics[name].value is None
        assert "never moves" in metrics[name].reason
    assert metrics["gain_over_copying/changed_psnr"].value is None


def test_agreement_literal():
    fit = np.array([[[0, 5], [5, 0]]], dtype=float)
    test = np.array([[[1, 3], [4, 0]], [[1, 0], [1, 0]]], dtype=float)
    found = backward_measurements(Table(["a", "b"]), fit, test)
    agreement = found["forward_backward/agreement"].metric(seed=0)
    assert agreement.value == pytest.approx(8 / 10)
    assert agreement.baselines["most_frequent_code"] == 0.7
    assert found["forward_backward/involution"].metric(seed=0).value == 1.0


def test_best_permutation_uses_every_code_once():
    counts = np.array([[9.0, 8.0], [7.0, 0.0]])
    assert best_permutation(counts).tolist() == [1, 0]


def test_backwards_undoes_motions_and_drops_padding(robot):
    window = ToyEpisodes(robot, [0], num_pad=3).whole_episode(0)
    turned = backwards(window)
    video = robot.video(0)
    np.testing.assert_array_equal(turned.video, video[::-1])
    np.testing.assert_allclose(turned.robot_actions[0, :6], -robot.actions[0][-1, :6])
    np.testing.assert_allclose(turned.robot_actions[0, 6], robot.actions[0][-1, 6])
    pair = backwards(window, first=4, num_frames=2)
    np.testing.assert_array_equal(pair.video, video[[5, 4]])
    np.testing.assert_allclose(pair.robot_actions[0, :6], -robot.actions[0][4, :6])


def test_sums_over_time_never_cross_episodes():
    values = np.arange(6.0)[:, None]
    starts, sums = sums_over_time(values, np.array([0, 0, 0, 1, 1, 1]), 2)
    assert starts.tolist() == [0, 1, 3, 4]
    assert sums.ravel().tolist() == [1.0, 3.0, 7.0, 9.0]
    assert len(sums_over_time(values, np.array([0, 0, 0, 1, 1, 1]), 4)[0]) == 0


def test_structure_figures(seen):
    assert (
        set(seen.figures)
        == {"transitions", "forward_backward", "code_usage"}
        == set(CAPTIONS["latent_structure"])
    )
    assert set(seen.headline) <= set(seen.metrics)
    assert len(seen.table) == 12
