from types import SimpleNamespace

import numpy as np
import pytest
from eval_fakes import FakeEncoder, ToyEpisodes, ToyRobot, make_context
from seen_robot import NUM_CODES, SeeingEncoder, SeenRobot

from eval_suites.few_label import FewLabel
from eval_suites.probes import decoded_replay
from eval_suites.probes.decoded_replay import spread


def toy_replay(episode, *, start, robot_actions, image_size, renderer):
    """The toy's physics in the place of MuJoCo's."""
    assert (start, image_size, renderer) == (0, (16, 16), "auto")
    moves = np.concatenate([np.zeros((1, 3)), robot_actions[:, :3]])
    return SimpleNamespace(end_effector=episode.sim_state[0][:3] + np.cumsum(moves, axis=0))


@pytest.fixture(autouse=True)
def _toy_physics(monkeypatch):
    monkeypatch.setattr(decoded_replay, "replay", toy_replay)


def random_codes(window):
    seed = [1, *window.episode_id.encode()]
    return np.random.default_rng(seed).integers(NUM_CODES, size=len(window.video) - 1)


def few_label(robot, encoder, **changes):
    context = make_context(robot, encoder=encoder, **changes)
    return FewLabel(labels=(10, 100, 10_000), num_draws=3).evaluate(context)


@pytest.fixture(scope="module")
def robot():
    return SeenRobot(24, simulated=True)


def test_codes_that_are_actions_need_few_labels(robot):
    result = few_label(robot, SeeingEncoder())
    r2, error = result.metrics["r2/n100"], result.metrics["replay_error/n100"]
    assert r2.value == pytest.approx(1.0)
    assert r2.ceiling == pytest.approx(1.0)
    assert r2.baselines["inverse_dynamics"] < 0.9
    assert error.value == pytest.approx(0.0, abs=1e-9)
    assert error.ceiling == pytest.approx(0.0, abs=1e-9)
    assert error.baselines["stand_still"] > 0.02
    assert error.baselines["inverse_dynamics"] > 0.005
    assert result.metrics["r2/n10"].value < r2.value


def test_random_codes_bring_the_robot_no_nearer_than_standing_still(robot):
    metrics = few_label(robot, FakeEncoder(NUM_CODES, random_codes)).metrics
    assert metrics["r2/n100"].value < 0.05
    error = metrics["replay_error/n100"]
    assert error.value > 0.7 * error.baselines["stand_still"]


def test_a_stride_executes_each_action_in_parts():
    robot = SeenRobot(110, simulated=True)
    sides = {
        side: ToyEpisodes(robot, numbers, frame_stride=2)
        for side, numbers in (("fit", range(100)), ("test", range(100, 110)))
    }

    class Whole(SeeingEncoder):
        num_codes = 25

        def encode(self, window):
            steps = np.round(window.robot_actions[:, :2] / 0.02).astype(int) + 2
            return super().encode(window)._replace(codes=steps[:, 0] * 5 + steps[:, 1])

    context = make_context(robot, encoder=Whole(), **sides)
    metrics = FewLabel(labels=(800,), num_draws=1).evaluate(context).metrics
    assert metrics["replay_error/n800"].value == pytest.approx(0.0, abs=1e-9)


def test_spread_keeps_the_sum_and_the_gripper():
    actions = np.array([[0.04, 0, 0, 0, 0, 0.2, 1.0]])
    parts = spread(actions, 2)
    np.testing.assert_allclose(parts[:, :6].sum(axis=0), actions[0, :6])
    assert parts[:, 6].tolist() == [1.0, 1.0]
    assert actions[0, 0] == 0.04


def test_more_labels_than_transitions_are_undefined(robot):
    metrics = few_label(robot, SeeingEncoder()).metrics
    assert "only 228 transitions" in metrics["r2/n10000"].reason
    assert "too few transitions" in metrics["replay_error/n10000"].reason


def test_real_episodes_are_decoded_but_not_replayed():
    metrics = few_label(SeenRobot(8), SeeingEncoder()).metrics
    assert metrics["r2/n10"].value is not None
    assert "no simulator state" in metrics["replay_error/n10"].reason


def test_robot_without_motion_has_nothing_to_decode():
    still = ToyRobot(4)
    for actions, poses in zip(still.actions, still.poses, strict=True):
        actions[:] = poses[:] = 0.0
    result = few_label(still, FakeEncoder(NUM_CODES, random_codes))
    assert all(metric.value is None for metric in result.metrics.values())
    assert "no robot action moves" in result.notes[0]


def test_few_label_outputs(robot):
    result = few_label(robot, SeeingEncoder())
    assert set(result.figures) == {"labels"}
    assert result.headline == ("r2/n100", "replay_error/n100")
    assert len(result.per_episode) == 12
    mean = np.mean([row["codes/n10"] for row in result.per_episode])
    assert mean == pytest.approx(result.metrics["replay_error/n10"].value)
