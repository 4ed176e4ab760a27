"""MuJoCo itself as the world of sim_rollout: `world_model=mujoco...`."""

import numpy as np
import pytest
from mujoco_fakes import TruePoseReader, record_context

from genie_robo.eval_suites import sim_rollout
from genie_robo.eval_suites.base import EvalContext
from genie_robo.eval_suites.controllability import Controllability
from genie_robo.eval_suites.plugs import plug
from genie_robo.eval_suites.sim_rollout import SimRollout
from genie_robo.inference.world import Prompt, code_steps, roll_out


@pytest.fixture(scope="module")
def mujoco_context(tmp_path_factory) -> EvalContext:
    path = tmp_path_factory.mktemp("recorded")
    return record_context(path, num_episodes=6, num_steps=12, random=0.0)


def simulate(context, world_model, **settings):
    plugged = plug(context, world_model=world_model)
    return SimRollout(num_clips=3, horizon=6, **settings).evaluate(plugged).metrics


def test_mujoco_as_world_reaches_the_best_of_everything(mujoco_context):
    metrics = simulate(mujoco_context, "mujoco")
    for path in ("", "/robot_actions"):
        for name in ("psnr", "changed_psnr", "robot_psnr"):
            assert metrics[f"{name}{path}"].value == 100.0
        for thing in ("tool_error", "box_error"):
            assert metrics[f"{thing}{path}"].value == metrics[f"{thing}{path}"].ceiling
            assert metrics[f"{thing}/above_floor{path}"].value == 0.0
            assert metrics[f"{thing}/drift{path}"].value == 0.0
        assert metrics[f"gain{path}"].value == 1.0
        assert metrics[f"lag{path}"].value == 0.0
    assert metrics["replay_psnr"].value == 100.0
    assert metrics["psnr"].baselines["copy_last"] < 40


def test_behind_the_end_of_a_recording_mujoco_holds_still(mujoco_context):
    window = mujoco_context.test.whole_episode(0)
    last = int((~window.is_pad).sum()) - 1
    prompt = Prompt(
        frames=window.video[last - 1 : last],
        start=last - 1,
        recording=mujoco_context.recording(mujoco_context.test, 0),
    )
    world = plug(mujoco_context, world_model="mujoco").world
    (video,) = roll_out(world, [prompt], code_steps(np.zeros((1, 9), np.int64)), seeds=[0])
    assert video.shape == (9, *window.video.shape[1:])
    assert (video[0] == window.video[last]).all()
    moved = np.abs(np.diff(video.astype(float), axis=0)).mean(axis=(1, 2, 3))
    assert moved[-1] < 0.1 * np.abs(video[0].astype(float) - window.video[last - 1]).mean()


def test_a_held_frame_gains_nothing(mujoco_context):
    metrics = simulate(mujoco_context, "copy_first")
    assert metrics["gain/robot_actions"].value == pytest.approx(0.0, abs=1e-9)
    assert metrics["lag"].value is None
    assert metrics["psnr/gain_over_copy_last"].value == 0.0


def test_mujoco_with_quantised_motions_is_the_upper_bound_of_codes(mujoco_context):
    metrics = simulate(mujoco_context, "mujoco_coded")
    for name in ("psnr", "changed_psnr", "tool_error", "gain"):
        best = metrics[f"{name}/greedy_codes"].value
        assert metrics[name].value == metrics[f"{name}/robot_actions"].value == best
    assert metrics["psnr/greedy_codes"].value < 100
    assert metrics["tool_error/above_floor/greedy_codes"].value > 0


def test_half_the_motion_is_half_the_gain(mujoco_context, monkeypatch):
    reader = TruePoseReader(monkeypatch)
    monkeypatch.setattr(sim_rollout, "fit_pose_readers", reader.as_readers())
    metrics = simulate(mujoco_context, "mujoco_scaled")
    # The arm follows a command within a few per cent.
    assert metrics["gain/robot_actions"].value == pytest.approx(0.5, abs=0.05)
    assert metrics["lag/robot_actions"].value == 0.0


def test_a_late_answer_is_a_lag_of_one(mujoco_context, monkeypatch):
    reader = TruePoseReader(monkeypatch)
    monkeypatch.setattr(sim_rollout, "fit_pose_readers", reader.as_readers())
    metrics = simulate(mujoco_context, "mujoco_delayed")
    assert metrics["lag/robot_actions"].value == 1.0
    assert metrics["tool_error/above_floor"].value > 5


def test_a_world_that_ignores_its_actions_has_no_delta_psnr(mujoco_context):
    plugged = plug(mujoco_context, world_model="copy_first")
    suite = Controllability(num_clips=3, num_draws=1, horizon=4)
    metrics = suite.evaluate(plugged).metrics
    for law in ("uniform", "marginal", "permuted"):
        assert metrics[f"delta_psnr/{law}/t4"].value == 0.0
    assert metrics["motion_ratio"].value == 0.0
