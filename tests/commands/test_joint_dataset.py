"""The whole job with a dataset of joint commands, which has no end effector."""

import json

import numpy as np
import pytest
from joint_episodes import stored, write_joints

from genie_robo import cli
from genie_robo.run_folder import RunFolder
from genie_robo.viz.recording import check_recording

KEYS = (
    "data=rlds",
    "data.source.camera=observation/image",
    "data.source.action.translation=''",
    "data.source.action.rotation=''",
    "data.source.action.gripper=''",
    "data.source.action.joints=action[0:9]",
    "data.source.action.joints_motion=target",
    "data.source.pose.joints=observation/joints[0:9]",
    "data.source.control_hz=5",
)
STEPS = ("tokenizer.num_steps=3", "world_model.num_steps=3", "robot_control.num_steps=3")


@pytest.mark.slow
def test_inspected_trained_probed_and_imagined(tmp_path, capfd):
    episodes = [stored(16, seed=n) for n in range(40)]
    (tmp_path / "joints").mkdir()
    dataset = write_joints(tmp_path / "joints", episodes, size=64)
    run = RunFolder(tmp_path / "run")
    given = [*KEYS, f"data.path={dataset}"]

    assert cli.main(["inspect", *KEYS, f"path={dataset}", f"output={tmp_path / 'facts'}"]) == cli.OK
    assert "joint8" in capfd.readouterr().out
    small = ["experiment=smoke", *STEPS, "robot_control.min_labels=100", "imagine.horizon=4"]
    suites = "suite=[latent_probe,few_label,action_following]"
    assert cli.main(["demo", *small, *given, f"run={run.path}", suites]) == cli.OK
    found = json.loads((run.suite("latent_probe") / "metrics.json").read_text())["metrics"]
    assert found["achieved/joints/r2"]["value"] is not None

    actions = np.full((2, 9), 0.1).tolist()
    assert cli.main(["imagine", f"run={run.path}", f"actions={actions}", "horizon=2"]) == cli.USAGE
    assert "dx dy dz" in capfd.readouterr().err
    zeros = np.zeros((2, 7))
    wide = np.concatenate([zeros, actions], axis=1).tolist()
    assert cli.main(["imagine", f"run={run.path}", f"actions={wide}", "horizon=2"]) == cli.OK
    for recording in (run.path / "rollouts").glob("*.rrd"):
        check_recording(recording)
