import numpy as np
import pytest
from eval_fakes import FakeEncoder, ToyEpisodes, ToyRobot, make_context
from seen_robot import NUM_CODES, SeeingEncoder, SeenRobot

from genie_robo.eval_suites.base import run_suite
from genie_robo.eval_suites.captions import CAPTIONS
from genie_robo.eval_suites.few_label import FewLabel
from genie_robo.sim.tabletop import Tabletop


class ToySimulator(Tabletop):
    """The toy's physics in the place of MuJoCo's."""

    pose = None

    def __init__(self, episode, step):
        assert step == 0
        self.pose = episode.sim_state[0]

    def advance(self, action):
        self.pose = self.pose + action

    def close(self):
        pass


@pytest.fixture(autouse=True)
def _toy_physics(monkeypatch):
    monkeypatch.setattr("genie_robo.eval_suites.few_label.restore", ToySimulator)


def random_codes(window):
    seed = [1, *window.episode_id.encode()]
    return np.random.default_rng(seed).integers(NUM_CODES, size=len(window.video) - 1)


def few_label(robot, encoder, **changes):
    context = make_context(robot, encoder=encoder, **changes)
    return run_suite(FewLabel(labels=(10, 100, 10_000), num_draws=3), context)


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
    assert set(result.figures) == {"labels"} == set(CAPTIONS["few_label"])
    assert result.headline == ("r2/n100", "replay_error/n100")
    assert len(result.table) == 12
    mean = result.table.columns["codes/n10"].mean()
    assert mean == pytest.approx(result.metrics["replay_error/n10"].value)
