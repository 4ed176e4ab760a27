import sys
import types
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from eval_fakes import FakeEncoder, ToyRobot, make_context
from mujoco_fakes import TruePoseReader, record_context
from small_genie import build_small_genie

from genie_robo.eval_suites import policy_evaluation
from genie_robo.eval_suites.audit.checks import audit
from genie_robo.eval_suites.audit.trials_file import read_trials
from genie_robo.eval_suites.base import run_suite
from genie_robo.eval_suites.plugs import plug
from genie_robo.eval_suites.policy_evaluation import Mode, PolicyEvaluation
from genie_robo.eval_suites.settings import PANEL
from genie_robo.eval_suites.simulated.closed_loop import Played
from genie_robo.eval_suites.simulated.panel import CLONED, SCRIPTED
from genie_robo.eval_suites.table import Table
from genie_robo.inference.trust import Usual, WatchedWorld
from genie_robo.inference.world import Codes, GenieWorld, HeldFrame, RobotActions
from genie_robo.sim.mujoco_world import MujocoWorld


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("evaluated")
    return record_context(path, num_frames=11, num_episodes=7, num_steps=8)


@pytest.fixture
def exact(monkeypatch):
    reader = TruePoseReader(monkeypatch)
    monkeypatch.setattr(policy_evaluation, "fit_pose_readers", reader.as_readers())


def judge(recorded, world_model, **settings):
    defaults = {
        "policies": list(SCRIPTED),
        "num_starts": 2,
        "tasks": ["reach", "push"],
        "num_demonstrations": 4,
        "train_steps": 10,
    }
    suite = PolicyEvaluation(**defaults | settings)
    return run_suite(suite, plug(recorded, world_model=world_model))


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize(
    "mode", [pytest.param(Mode.closed_loop, marks=pytest.mark.slow), Mode.open_loop]
)
def test_mujoco_itself_judges_perfectly(recorded, mode):
    result = judge(recorded, "mujoco", mode=mode)
    metrics = result.metrics
    assert metrics["pearson"].value == pytest.approx(1.0)
    assert metrics["pearson"].ceiling == pytest.approx(1.0)
    assert metrics["mmrv"].value == metrics["absolute_error"].value == 0.0
    rows = list(result.table.rows())
    assert len(rows) == len(SCRIPTED) * 2 * 2
    assert all(row["predicted"] == row["true"] for row in rows)
    mean = pd.DataFrame(rows).groupby("policy")["true"].mean()
    assert mean["expert"] == mean.max() >= 0.5  # ten steps are too few for most pushes
    assert mean["idle"] == mean["wrong_way"] == 0


@pytest.mark.usefixtures("exact")
def test_policies_that_see_pixels_act_in_both_worlds(recorded):
    result = judge(recorded, "mujoco", policies=list(CLONED), tasks=["reach"], num_starts=1)
    rows = list(result.table.rows())
    assert [row["policy"] for row in rows] == list(CLONED)
    assert all(row["predicted_share"] == row["true_share"] for row in rows)
    motion = {row["policy"]: row["blind_motion"] for row in rows}
    assert motion["cloned_slow"] < 0.7 * motion["cloned"]


@pytest.mark.usefixtures("exact")
def test_a_held_frame_predicts_no_success(recorded):
    result = judge(recorded, "copy_last")
    assert result.metrics["pearson"].value is None
    assert "same success" in result.metrics["pearson"].reason
    assert set(result.table.columns["predicted"]) == {0.0}
    assert result.metrics["bias"].value == pytest.approx(-result.table.columns["true"].mean())
    assert "Nothing can be said about ranks" in result.notes[0]


@pytest.mark.usefixtures("exact")
def test_closed_loop_policies_act_on_what_the_world_shows(recorded):
    """In a held frame the expert never arrives, so it goes on moving towards the box."""
    closed, opened = (judge(recorded, "copy_last", mode=mode) for mode in Mode)
    where = np.array([policy == "expert" for policy in closed.table.keys["policy"]])
    moved = [result.table.columns["blind_motion"][where].mean() for result in (closed, opened)]
    assert moved[0] > moved[1]


@pytest.mark.usefixtures("exact")
def test_the_table_is_one_that_audit_reads(recorded, tmp_path):
    result = judge(recorded, "mujoco", policies=list(SCRIPTED)[:6], num_starts=5)
    pd.DataFrame(result.per_episode).to_csv(tmp_path / "per_episode.csv", index=False)
    tables = read_trials(tmp_path / "per_episode.csv")
    assert set(tables) == {"", "reach", "push"}
    found = audit(tables[""])
    assert found.is_paired
    assert found.findings["mmrv"].value == result.metrics["mmrv"].value
    assert found.starts_of_policy == (5, 5)
    assert result.metrics["spearman"].ci95 == pytest.approx(found.findings["spearman"].over_both)
    for name in ("name", "motion"):
        known = result.metrics["pearson"].baselines[f"blind_{name}"]
        assert found.findings["pearson"].blind[name] == pytest.approx(known)


@pytest.mark.usefixtures("exact")
def test_a_policy_of_the_users_is_judged_too(recorded, monkeypatch):
    told = []

    class Still:
        def reset(self, instruction, seed):
            pass

        def act(self, observation):
            assert observation.pixels.shape == (32, 32, 3)
            assert observation.instruction.split()[0] in ("reach", "push")
            told.append(observation.poses_are_read)
            return [0, 0, 0, 0, 0, 0, 1]

    module = types.ModuleType("mine")
    module.Still = Still
    monkeypatch.setitem(sys.modules, "mine", module)
    result = judge(recorded, "mujoco", policy="mine:Still")
    assert told == [False] * 40 + [True] * 40  # four trials of ten steps, MuJoCo first
    assert "mine:Still" in result.table.keys["policy"]
    assert any("mine:Still" in line for line in result.sections["Policies"])


def test_reading_is_the_same_on_both_sides_with_a_fitted_reader(recorded):
    metrics = judge(recorded, "mujoco", num_starts=1, tasks=["reach"]).metrics
    assert metrics["mmrv"].ceiling is not None


def test_few_policies_are_insufficient(recorded):
    result = judge(recorded, "mujoco", policies=["expert", "idle", "random", "wrong_way"])
    for name in result.headline:
        assert "insufficient: 4 policies" in result.metrics[name].reason


def test_unknown_policies_are_refused(recorded):
    with pytest.raises(ValueError, match="policy=lucky is not known; choose one of expert"):
        judge(recorded, "mujoco", policies=[*SCRIPTED, "lucky"])


def test_what_no_robot_steers_is_undefined_with_a_reason():
    context = make_context(ToyRobot(4), encoder=FakeEncoder(2, lambda w: []))
    world = HeldFrame()
    world.takes = (Codes,)
    result = run_suite(PolicyEvaluation(), replace(context, world=world))
    assert "nothing maps robot actions" in result.metrics["mmrv"].reason
    plugged = plug(context, world_model="copy_last")
    assert "no simulator state" in run_suite(PolicyEvaluation(), plugged).notes[0]


def test_the_panel_holds_every_policy_once():
    assert sorted(PANEL) == sorted((*SCRIPTED, *CLONED))
    assert len(PANEL) >= 16
    assert len(CLONED) >= 8


class Doubted(MujocoWorld):
    """MuJoCo, with a trust of its own in every rollout of a batch."""

    trust = (1.0, 0.001)

    def __copy__(self):
        return Doubted()

    def step(self, actions):
        step = super().step(actions)
        return replace(step, trust=np.resize(self.trust, len(step.frames)))


@pytest.fixture
def doubted(monkeypatch):
    monkeypatch.setattr(policy_evaluation, "watch", lambda context: Doubted())


@pytest.mark.usefixtures("exact", "doubted")
def test_distrusted_trials_are_left_out_of_numbers_of_their_own(recorded):
    result = judge(recorded, "mujoco")
    metrics = result.metrics
    assert metrics["trusted"].value == 0.5
    assert metrics["pearson"].value == pytest.approx(1.0)
    assert metrics["pearson/trusted"].value == pytest.approx(1.0)
    assert "not stranger than 95% of validation clips" in metrics["pearson/trusted"].protocol
    # Every second trial is distrusted: all those of push and none of reach.
    assert metrics["pearson/reach"].value == pytest.approx(1.0)
    for name in ("pearson/push", "spearman/push", "mmrv/push"):
        assert metrics[name].value is None
        assert "not ranked in push: 100% of the trials" in metrics[name].reason
    assert metrics["absolute_error/push"].value == 0.0
    assert "Policies are not ranked in push" in result.notes[-1]
    panels = [axes.get_title(loc="left") for axes in result.figures["policies"].axes]
    assert [title.partition(":")[0] for title in panels] == ["all trials", "reach"]


@pytest.mark.usefixtures("exact", "doubted")
def test_policies_are_not_ranked_where_most_trials_are_distrusted(recorded, monkeypatch):
    monkeypatch.setattr(Doubted, "trust", (1.0, 0.001, 0.001, 0.001))
    result = judge(recorded, "mujoco")
    metrics = result.metrics
    assert len(result.notes) == 1
    assert "not ranked" in result.notes[0]
    for name in ("pearson", "spearman", "mmrv", "pearson/reach"):
        assert metrics[name].value is None
        assert "not ranked: 75% of the trials" in metrics[name].reason
    assert metrics["absolute_error"].value == 0.0
    assert not result.figures
    assert list(result.sections) == ["Policies"]


def played(trust):
    """A policy's trials, of which only the trust in their frames is looked at."""
    count, num_frames = np.shape(trust)
    return Played(
        np.zeros((count, num_frames + 1, 4, 4, 3), np.uint8),
        np.zeros((count, num_frames, 7)),
        [None] * count,
        np.array(trust, float),
    )


@pytest.mark.parametrize("num_clips", [19, 20])
def test_trust_in_a_trial_is_its_place_among_validation_clips(num_clips):
    """Clips k = 1 .. n fall to a least trust of k / n in their second frame."""
    by_frame = np.stack([np.ones(num_clips), np.arange(1, num_clips + 1) / num_clips])
    usual = replace(Usual.of(np.zeros((num_clips, 2, 3))), least_trust=by_frame)
    world = WatchedWorld(GenieWorld(build_small_genie()), {RobotActions: usual})
    trust = [[1.0, 5 / num_clips], [0.001, 1.0], [1.0, 1.0]]
    found = PolicyEvaluation()._trust(world, played(trust))
    if num_clips < 20:  # of 19 clips one in twenty is not known
        assert np.isnan(found).all()
    else:
        np.testing.assert_allclose(found, [6 / 21, 1 / 21, 1.0])
    short = PolicyEvaluation()._trust(world, played([row[:1] for row in trust]))
    if num_clips == 20:
        np.testing.assert_allclose(short, [1.0, 1 / 21, 1.0])


def test_other_worlds_trust_is_taken_as_it_is():
    suite = PolicyEvaluation()
    np.testing.assert_array_equal(suite._trust(HeldFrame(), played([[0.5, 0.2]])), [0.2])
    unknown = played([[0.5, 0.2]])._replace(trust=None, poses=[None])
    assert np.isnan(suite._trust(HeldFrame(), unknown)).all()


def trials_table(success, *, tasks, num_starts) -> Table:
    """Every task from every start, policies in turn: `success` of policy and start."""
    rows = [
        (f"e{start}", task, f"p{policy}", success[policy][start])
        for task in tasks
        for policy in range(len(success))
        for start in range(num_starts)
    ]
    episodes, task, policy, values = zip(*rows, strict=True)
    table = Table(episodes, unit="trial", task=task, policy=policy)
    for name in ("predicted", "true", "blind_name", "blind_motion"):
        table.add(name, np.array(values, float) ** (1 if name == "true" else 2))
    return table


def test_tasks_of_one_start_are_one_unit():
    success = np.random.default_rng(0).random((6, 8))
    one, three = (
        policy_evaluation._audit(trials_table(success, tasks=tasks, num_starts=8))
        for tasks in (["reach"], ["reach", "push", "pick"])
    )
    assert three.starts_of_policy == (8, 8)
    for name in ("pearson", "spearman", "mmrv"):
        wanted = one.findings[name].over_both
        assert three.findings[name].over_both == pytest.approx(wanted)


def test_three_starts_have_no_interval_however_many_tasks():
    success = np.random.default_rng(0).random((6, 3))
    table = trials_table(success, tasks=["reach", "push", "pick"], num_starts=3)
    found = policy_evaluation._audit(table)
    assert found.trials_of_policy == (9, 9)
    assert found.findings["pearson"].value is not None
    assert found.findings["pearson"].over_trials is found.findings["pearson"].over_both is None


@pytest.mark.usefixtures("exact")
def test_a_world_that_says_nothing_of_trust_is_judged_without_it(recorded):
    metrics = judge(recorded, "mujoco", num_starts=1, tasks=["reach"]).metrics
    assert "does not say how far" in metrics["trusted"].reason
    assert "pearson/trusted" not in metrics
