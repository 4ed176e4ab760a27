from dataclasses import replace

import numpy as np
import pytest
from eval_fakes import FakeEncoder, ToyRobot, make_context
from mujoco_fakes import TruePoseReader, record_context

from eval_suites import policy_ranking
from eval_suites.base import SuiteResult, run_suite
from eval_suites.comparing import compare
from eval_suites.plugs import plug
from eval_suites.policy_ranking import POLICIES, PolicyRanking
from eval_suites.simulated import trials
from eval_suites.table import Table
from genie_robo.inference.world import Codes, HeldFrame


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranked")
    return record_context(path, num_frames=11, num_episodes=5, num_steps=8)


def rank(recorded, world_model, **settings):
    defaults = {"num_episodes": 1, "tasks": ["reach"], "horizon": 9}
    suite = PolicyRanking(**defaults | settings)
    return run_suite(suite, plug(recorded, world_model=world_model))


def test_mujoco_itself_orders_policies_perfectly(recorded, monkeypatch):
    reader = TruePoseReader(monkeypatch)
    monkeypatch.setattr(trials, "fit_pose_readers", reader.as_readers())
    result = rank(recorded, "mujoco", tasks=["reach", "push"])
    for value in ("success", "return"):
        assert result.metrics[f"{value}/mmrv"].value == 0.0
        assert result.metrics[f"{value}/pearson"].value == pytest.approx(1.0)
        assert result.metrics[f"{value}/spearman"].value == pytest.approx(1.0)
        assert result.metrics[f"{value}/mmrv"].baselines["all_equal"] > 0
    rows = list(result.table.rows())
    assert len(rows) == 2 * len(POLICIES)
    assert all(row["success_imagined"] == row["success_true"] for row in rows)
    reached = {p: [r for r in rows if (r["task"], r["policy"]) == ("reach", p)] for p in POLICIES}
    mean = {p: np.mean([row["return_true"] for row in found]) for p, found in reached.items()}
    assert mean["expert"] > 0.1
    assert mean["idle"] == mean["wrong_way"] == 0
    assert set(result.figures) == {"ranking"}


def test_reading_is_the_same_on_both_sides_with_a_fitted_reader(recorded):
    metrics = rank(recorded, "mujoco").metrics
    for name in ("pearson", "spearman", "mmrv"):
        assert metrics[f"success/{name}"].value == metrics[f"success/{name}"].ceiling
    assert metrics["success/mmrv/same_reader"].value == 0.0


def test_a_standing_picture_ranks_nothing(recorded, monkeypatch):
    reader = TruePoseReader(monkeypatch)
    monkeypatch.setattr(trials, "fit_pose_readers", reader.as_readers())
    metrics = rank(recorded, "copy_last").metrics
    assert metrics["success/pearson"].value is None
    assert "same value" in metrics["success/pearson"].reason
    assert metrics["success/mmrv"].value == metrics["success/mmrv"].baselines["all_equal"]


def test_few_policies_are_insufficient(recorded):
    result = rank(recorded, "mujoco", policies=["expert", "idle", "random", "jitter", "wrong_way"])
    for name in result.headline:
        assert "insufficient: 5 policies" in result.metrics[name].reason


def test_unknown_policies_are_refused(recorded):
    with pytest.raises(ValueError, match=r"\['lucky'\] are not known; choose from expert"):
        rank(recorded, "mujoco", policies=[*POLICIES, "lucky"])


def test_what_no_robot_steers_is_undefined_with_a_reason():
    context = make_context(ToyRobot(4), encoder=FakeEncoder(2, lambda w: []))
    world = HeldFrame()
    world.takes = (Codes,)
    result = run_suite(PolicyRanking(), replace(context, world=world))
    assert "nothing maps robot actions" in result.metrics["success/mmrv"].reason
    plugged = plug(context, world_model="copy_last")
    assert "no simulator state" in run_suite(PolicyRanking(), plugged).notes[0]


def ranked(of_true):
    """Six policies of rising success in eight episodes; imagination makes `of_true` of it."""
    true = np.tile(np.arange(6) / 5, 8)
    table = Table(
        [f"e{e}" for e in range(8) for _ in range(6)],
        task=["reach"] * 48,
        policy=[f"p{p}" for p in range(6)] * 8,
    )
    for value in ("success", "return"):
        table.add(f"{value}_imagined", of_true(true))
        table.add(f"{value}_read", true)
        table.add(f"{value}_true", true, given=True)
    found = policy_ranking._measurements(table, ["reach"])
    return SuiteResult.of(found, seed=0, headline=tuple(found), table=table)


def test_rankings_of_policies_are_paired():
    compared = compare({"a": ranked(lambda true: true), "b": ranked(lambda true: 1 - true)})
    found = {metric.name: metric.differences[0] for metric in compared}

    assert found["return/pearson"].value == pytest.approx(-2.0)
    assert found["return/pearson"].ci95 == pytest.approx((-2.0, -2.0))
    # Every policy is ordered wrongly against the one that is farthest away: 1 .8 .6 .6 .8 1.
    for name in ("return/mmrv", "return/mmrv/same_reader/reach"):
        assert found[name].value == pytest.approx(0.8)
        assert found[name].ci95 == pytest.approx((0.8, 0.8))
