"""The whole job with robots of the MuJoCo Menagerie: one word more on the command line."""

import json
from pathlib import Path

import pytest

from genie_robo import cli
from genie_robo.run_folder import RunFolder
from genie_robo.viz.recording import check_recording

MENAGERIE = Path(__file__).parents[2].parent / "shared" / "menagerie"
SMALLER = (
    "experiment=smoke",
    "record.num_episodes=8",
    "record.num_steps=10",
    "record.num_workers=1",
    "tokenizer.num_steps=3",
    "world_model.num_steps=3",
    "sampler.num_steps=2",
    "suite=sim_rollout",
    "imagine.horizon=4",
    "imagine.num_episodes=1",
)


@pytest.mark.slow
@pytest.mark.parametrize("robot", ["google_robot", "wx250s"])
def test_recorded_trained_and_compared_with_mujoco(robot, tmp_path, monkeypatch):
    if not MENAGERIE.is_dir():
        pytest.skip(f"no robots in {MENAGERIE}")
    monkeypatch.setenv("MENAGERIE_ROOT", str(MENAGERIE))
    run = RunFolder(tmp_path / robot)

    assert cli.main(["demo", *SMALLER, f"run={run.path}", f"record.robot={robot}"]) == cli.OK

    found = json.loads((run.suite("sim_rollout") / "metrics.json").read_text())["metrics"]
    psnr = found["psnr"]
    assert psnr["value"] > 5
    assert psnr["baselines"]["copy_last"] > 15
    check_recording(run.path / "rollouts" / "episode_000.rrd")
