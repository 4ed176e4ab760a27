import numpy as np
import pytest
from eval_fakes import FakeEncoder, ToyRobot, TransitionCodes, TruePhysics, make_context
from seen_robot import SeeingEncoder, SeenPhysics, SeenRobot

from genie_robo.eval_suites.action_following import ActionFollowing
from genie_robo.eval_suites.base import run_suite
from genie_robo.eval_suites.captions import CAPTIONS
from genie_robo.inference.world import Codes, HeldFrame


@pytest.fixture(scope="module")
def robot():
    return SeenRobot(60)


def follow_actions(robot, world, *, context=None, **settings):
    made = make_context(
        robot,
        encoder=SeeingEncoder(),
        world=world,
        num_fit=40,
        **(context or {}),
    )
    return run_suite(ActionFollowing(**{"num_clips": 20, "horizon": 4} | settings), made)


@pytest.fixture(scope="module")
def perfect(robot):
    return follow_actions(robot, SeenPhysics())


def test_the_true_world_follows_as_well_as_reality(perfect):
    real = perfect.metrics["r2/real"]
    assert real.value > 0.3
    for way in ("inferred", "robot"):
        ratio = perfect.metrics[f"ratio/{way}"]
        assert ratio.value == pytest.approx(1.0, abs=1e-9)
        assert ratio.ci95 == pytest.approx((1.0, 1.0))
        assert perfect.metrics[f"r2/{way}"].value == pytest.approx(real.value)


def test_random_actions_are_not_followed_by_accident(perfect):
    assert perfect.metrics["ratio/inferred"].baselines["random"] < 0.2
    assert perfect.metrics["ratio/random"].value < 0.2


def test_a_world_that_stands_still_follows_nothing(robot):
    metrics = follow_actions(robot, HeldFrame()).metrics
    assert metrics["ratio/inferred"].value == pytest.approx(0.0, abs=0.05)
    assert metrics["ratio/inferred"].value == metrics["ratio/copy_last"].value


def test_robot_actions_that_nothing_maps_are_undefined(robot):
    class Codebook(HeldFrame):
        takes = (Codes,)

    metrics = follow_actions(robot, Codebook()).metrics
    assert metrics["ratio/robot"].value is None
    assert "nothing maps robot actions" in metrics["ratio/robot"].reason


def test_half_the_motion_scores_between(robot):
    class Reluctant(SeenPhysics):
        def moved(self):
            return self.given[-1] * (len(self.given) % 2)

    ratio = follow_actions(robot, Reluctant()).metrics["ratio/inferred"].value
    assert 0.2 < ratio < 0.8


def test_motion_that_real_frames_do_not_show_is_undefined():
    robot = ToyRobot(8)
    rng = np.random.default_rng(0)
    for poses in robot.poses:
        poses[1:, :2] += rng.normal(size=(19, 2))
    context = make_context(
        robot,
        encoder=TransitionCodes(robot),
        world=TruePhysics(robot, TransitionCodes(robot).table),
    )
    metrics = ActionFollowing(num_clips=4, horizon=3).evaluate(context).metrics
    assert metrics["ratio/inferred"].value is None
    assert "cannot be read off real frames" in metrics["ratio/inferred"].reason


def test_robot_that_stands_still_is_undefined():
    robot = ToyRobot(4)
    for actions, poses in zip(robot.actions, robot.poses, strict=True):
        actions[:] = poses[:] = 0.0
    encoder = FakeEncoder(2, lambda window: np.zeros(len(window.video) - 1, int))
    result = run_suite(ActionFollowing(), make_context(robot, encoder=encoder))
    assert result.metrics["ratio/inferred"].value is None
    assert "never moves" in result.metrics["ratio/inferred"].reason


def test_prompts_that_do_not_fit_are_undefined(robot):
    result = follow_actions(robot, HeldFrame(), horizon=25, context={"num_frames": 40})
    assert "lower suite.action_following.horizon" in result.metrics["ratio/inferred"].reason


def test_following_outputs(perfect):
    assert set(perfect.figures) == {"horizon"} == set(CAPTIONS["action_following"])
    assert len(perfect.per_episode) == 20
    error = sum(row["squared_error_real_dx"] for row in perfect.per_episode)
    deviation = sum(row["squared_deviation_dx"] for row in perfect.per_episode)
    assert 1 - error / deviation == pytest.approx(perfect.metrics["r2/real/dx"].value)
