import numpy as np
import pytest
from eval_fakes import FakeEncoder, ToyRobot, make_context
from mujoco_fakes import TruePoseReader, record_context

from eval_suites.counterfactual import Counterfactual, perturb
from eval_suites.plugs.choose import plug
from eval_suites.plugs.truth import follow_policy, restored
from eval_suites.simulated import trials
from eval_suites.simulated.task_margin import task_margin
from genie_robo.sim.policies import make_policy

SUITE = Counterfactual(num_episodes=3, tasks=["reach"], severities=[0.0, 0.5, 1.0], horizon=9)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("perturbed")
    return record_context(path, num_frames=11, num_episodes=5, num_steps=8)


@pytest.fixture
def exact(monkeypatch):
    reader = TruePoseReader(monkeypatch)
    monkeypatch.setattr(trials, "fit_pose_reader", lambda *_, **__: reader)


@pytest.mark.usefixtures("exact")
def test_mujoco_itself_knows_what_would_have_happened(recorded):
    result = SUITE.evaluate(plug(recorded, world_model="mujoco"))
    successes = [row["success"] for row in result.per_episode]
    assert 0 < sum(successes) < len(successes) == 9
    assert result.metrics["auroc"].value == 1.0
    assert result.metrics["optimism"].value == 0.0
    assert result.metrics["pessimism"].value == 0.0
    assert result.metrics["success_failure_gap"].value > 10
    assert result.metrics["sensitivity/0.5"].value == pytest.approx(1.0)
    assert result.metrics["sensitivity/1"].value == pytest.approx(1.0)
    assert set(result.figures) == {"scores", "sensitivity"}


@pytest.mark.usefixtures("exact")
def test_a_standing_picture_is_pessimistic_and_insensitive(recorded):
    metrics = SUITE.evaluate(plug(recorded, world_model="copy_last")).metrics
    assert metrics["pessimism"].value == 1.0
    assert metrics["optimism"].value == 0.0
    assert metrics["sensitivity/1"].value == 0.0


def test_severity_is_how_much_of_the_action_is_replaced():
    actions = np.full((6, 7), 0.01)
    assert (perturb(actions, 0.0, rng=np.random.default_rng(0)) == actions).all()
    half, all_of_it = (perturb(actions, s, rng=np.random.default_rng(0)) for s in (0.5, 1.0))
    assert half[:, :6] == pytest.approx((actions + all_of_it)[:, :6] / 2)
    assert set(all_of_it[:, 6]) <= {0.0, 1.0}


@pytest.mark.parametrize("task", ["reach", "push", "pick"])
def test_the_margin_is_positive_exactly_where_the_task_is_solved(recorded, task):
    solved = []
    for number in recorded.test.episodes:
        episode = recorded.dataset[number]
        policy = make_policy(task, seed=1, noise=0.0)
        _, truth = follow_policy(episode, policy.act, num_steps=24, task=task, image_size=(8, 8))
        env = restored(episode, 0, task=task)
        assert ((task_margin(truth.poses, env.scene) > 0) == truth.is_solved).all()
        solved += list(truth.is_solved)
    assert any(solved)
    assert not all(solved)


def test_a_scene_without_a_goal_has_no_margin(recorded):
    env = restored(recorded.dataset[0], 0, task="explore")
    _, truth = follow_policy(
        recorded.dataset[0],
        make_policy("idle", seed=0).act,
        num_steps=1,
        task="explore",
        image_size=(8, 8),
    )
    with pytest.raises(ValueError, match="task=explore has no goal"):
        task_margin(truth.poses, env.scene)


def test_severities_begin_with_the_untouched_actions(recorded):
    with pytest.raises(ValueError, match="must begin with 0"):
        Counterfactual(severities=[0.5]).evaluate(recorded)


def test_what_no_robot_steers_is_undefined_with_a_reason():
    context = make_context(ToyRobot(4), encoder=FakeEncoder(2, lambda w: []))
    metrics = Counterfactual().evaluate(context).metrics
    assert "nothing maps robot actions" in metrics["auroc"].reason
