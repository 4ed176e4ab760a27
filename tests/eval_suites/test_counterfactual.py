from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from eval_fakes import FakeEncoder, ToyRobot, make_context
from mujoco_fakes import TruePoseReader, record_context

from genie_robo.eval_suites import counterfactual
from genie_robo.eval_suites.base import SuiteResult, run_suite
from genie_robo.eval_suites.captions import CAPTIONS
from genie_robo.eval_suites.comparing import compare
from genie_robo.eval_suites.counterfactual import Counterfactual, perturb
from genie_robo.eval_suites.plugs import plug
from genie_robo.eval_suites.simulated.trials import task_margin
from genie_robo.eval_suites.simulated.truth import look, stack
from genie_robo.eval_suites.table import Table
from genie_robo.inference.world import Codes, HeldFrame
from genie_robo.sim.policies import make_policy, roll_policy
from genie_robo.sim.restore import restore

SUITE = Counterfactual(num_episodes=3, tasks=["reach"], severities=[0.0, 0.5, 1.0], horizon=9)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("perturbed")
    return record_context(path, num_frames=11, num_episodes=5, num_steps=8)


@pytest.fixture
def exact(monkeypatch):
    reader = TruePoseReader(monkeypatch)
    monkeypatch.setattr(counterfactual, "fit_pose_readers", reader.as_readers())


@pytest.mark.usefixtures("exact")
def test_mujoco_itself_knows_what_would_have_happened(recorded):
    result = SUITE.evaluate(plug(recorded, world_model="mujoco"))
    successes = result.table.columns["success"]
    assert 0 < sum(successes) < len(successes) == 9
    assert result.metrics["auroc"].value == 1.0
    assert result.metrics["optimism"].value == 0.0
    assert result.metrics["pessimism"].value == 0.0
    assert result.metrics["success_failure_gap"].value > 10
    assert result.metrics["sensitivity/0.5"].value == pytest.approx(1.0)
    assert result.metrics["sensitivity/1"].value == pytest.approx(1.0)
    assert set(result.figures) == {"scores", "sensitivity"} == set(CAPTIONS["counterfactual"])


@pytest.mark.usefixtures("exact")
def test_a_standing_picture_is_pessimistic_and_insensitive(recorded):
    context = plug(recorded, world_model="copy_last")
    metrics = SUITE.evaluate(context).metrics
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
        with closing(restore(episode, 0, task=task)) as env:
            seen, _ = roll_policy(
                env,
                lambda env, _, p=policy: p.act(env),
                lambda env: (look(env), env.is_success),
                num_actions=24,
            )
        moments, is_solved = zip(*seen, strict=True)
        margin = task_margin(stack(moments).poses, env.scene)
        assert ((margin > 0) == np.array(is_solved)).all()
        solved += is_solved
    assert any(solved)
    assert not all(solved)


def test_a_scene_without_a_goal_has_no_margin(recorded):
    with closing(restore(recorded.dataset[0], 0, task="explore")) as env:
        truth = stack([look(env)])
    with pytest.raises(ValueError, match="task=explore has no goal"):
        task_margin(truth.poses, env.scene)


def test_severities_begin_with_the_untouched_actions(recorded):
    with pytest.raises(ValueError, match="must begin with 0"):
        Counterfactual(severities=[0.5]).evaluate(recorded)


def test_what_no_robot_steers_is_undefined_with_a_reason():
    context = make_context(ToyRobot(4), encoder=FakeEncoder(2, lambda w: []))
    world = HeldFrame()
    world.takes = (Codes,)
    metrics = run_suite(Counterfactual(), replace(context, world=world)).metrics
    assert "nothing maps robot actions" in metrics["auroc"].reason


def perturbed_trials(shift):
    """Ten episodes with a trial of each of two severities; scores are off by `shift` (mm)."""
    rng = np.random.default_rng(0)
    margin = rng.normal(scale=20, size=20)
    score = margin + rng.normal(scale=10, size=20) + shift
    severity = np.tile([0.0, 0.5], 10)
    table = Table([f"e{e}" for e in range(10) for _ in range(2)], severity=severity)
    table.add("success", margin > 0)
    table.add("score_imagined_mm", score)
    table.add("score_read_mm", margin)
    table.add("apart_imagined_mm", 10.0 * severity * (2.0 if shift else 1.0))
    table.add("apart_true_mm", 10.0 * severity, given=True)
    found = counterfactual._measurements(table, [0.0, 0.5])
    return SuiteResult.of(found, seed=0, headline=tuple(found), table=table)


def test_verdicts_over_trials_are_paired():
    compared = compare({"a": perturbed_trials(0.0), "b": perturbed_trials(30.0)})
    found = {metric.name: metric.differences[0] for metric in compared}

    # A constant added to all scores changes no order and no gap.
    assert found["auroc"].ci95 == (0.0, 0.0)
    assert "trials of different episodes" in found["auroc"].reason
    assert found["success_failure_gap"].value == pytest.approx(0.0, abs=1e-9)
    assert found["success_failure_gap"].ci95 == pytest.approx((0.0, 0.0), abs=1e-9)
    assert found["optimism"].value > 0.3
    assert found["optimism"].ci95[0] > 0
    assert found["pessimism"].value < 0
    assert found["sensitivity/0.5"].ci95 == pytest.approx((1.0, 1.0))
    assert found["sensitivity/0.5"].p_value == 2 / 2**10
