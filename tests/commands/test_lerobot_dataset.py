"""The whole job with a LeRobot folder, and together with an RLDS folder."""

import json

import pytest
import yaml
from joint_episodes import stored, write_joints
from lerobot_files import CAMERA, Demo, make_demo, write_v2, write_v3

from genie_robo import cli, load
from genie_robo.run_folder import RunFolder
from genie_robo.viz.recording import check_recording

KEYS = (
    "data=lerobot",
    f"data.source.camera={CAMERA}",
    "data.source.action.joints=action[0:3]",
    "data.source.pose.joints=observation.state[0:3]",
)
STEPS = ("tokenizer.num_steps=3", "world_model.num_steps=3", "robot_control.num_steps=3")
MIXED = (
    "+data@data.mix.rlds=rlds",
    "data.mix.rlds.source.camera=observation/image",
    *(f"data.mix.rlds.source.action.{part}=''" for part in ("translation", "rotation", "gripper")),
    "data.mix.rlds.source.action.joints=action[0:9]",
)


def demos(num_episodes: int) -> list[Demo]:
    return [make_demo(16, seed=n, size=(64, 64)) for n in range(num_episodes)]


def test_inspect_proposes_words_that_read_the_dataset(tmp_path, capfd):
    folder = write_v2(tmp_path / "demos", demos(4))
    report = tmp_path / "report"
    assert cli.main(["inspect", f"path={folder}", f"output={report}"]) == cli.OK
    shown = capfd.readouterr().out
    facts = json.loads((report / "inspect.json").read_text())
    assert facts["words"].split() == [*_quoted(KEYS), "data.source.control_hz=10"]
    assert facts["problems"] == []
    assert facts["file_format"] == "LeRobot v2.1"
    assert [action["name"] for action in facts["actions"]] == [
        "shoulder",
        "elbow",
        "gripper_2",
    ]
    notes = [note["text"] for note in facts["notes"] if note["kind"] == "times"]
    assert any(note.startswith(f"frames of {CAMERA} are up to") for note in notes)
    assert "LeRobot v2.1" in shown
    assert (report / "contact_sheet.png").exists()
    check_recording(report / "episodes.rrd")


def test_words_of_a_given_source_open_the_folder_again(tmp_path, capfd):
    folder = write_v3(tmp_path / "demos", demos(3), images="image")
    assert cli.main(["inspect", f"path={folder}", *KEYS]) == cli.OK
    assert "data.source.control_hz=10" in capfd.readouterr().out


def test_what_is_missing_is_said(tmp_path, capfd):
    folder = write_v2(tmp_path / "demos", demos(3))
    run = f"run={tmp_path / 'run'}"
    assert cli.main(["train", run, "data=lerobot", f"data.path={folder}"]) == cli.USAGE
    assert "data.source.camera" in capfd.readouterr().err
    assert cli.main(["train", run, "data=bridge_dataset", f"data.path={folder}"]) == cli.USAGE
    assert f"It has: {CAMERA}" in capfd.readouterr().err
    assert cli.main(["train", run, *KEYS[:3], f"data.path={folder}"]) == cli.USAGE
    assert "data.source.pose.joints" in capfd.readouterr().err
    assert cli.main(["view", f"path={folder}"]) == 1
    assert "genie-robo inspect" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_v2, write_v3])
def test_trained_probed_and_imagined(tmp_path, write):
    folder = write(tmp_path / "demos", demos(30))
    run = RunFolder(tmp_path / "run")
    small = ["experiment=smoke", *STEPS, "robot_control.min_labels=100", "imagine.horizon=4"]
    words = [*small, *KEYS, f"data.path={folder}", f"run={run.path}", "suite=[latent_probe]"]
    assert cli.main(["demo", *words]) == cli.OK
    found = json.loads((run.suite("latent_probe") / "metrics.json").read_text())["metrics"]
    assert found["achieved/joints/r2"]["value"] is not None
    assert "achieved/joints/r2/shoulder" in (run.suite("latent_probe") / "metrics.csv").read_text()
    assert load(run.path).action_names[7:] == ("shoulder", "elbow", "gripper_2")
    assert cli.main(["imagine", f"run={run.path}", "horizon=3"]) == cli.OK
    recordings = list((run.path / "rollouts").glob("*.rrd"))
    assert recordings
    for recording in recordings:
        check_recording(recording)


@pytest.mark.slow
def test_a_mixture_with_rlds(tmp_path):
    folder = write_v2(tmp_path / "demos", demos(6))
    (tmp_path / "joints").mkdir()
    rlds = write_joints(tmp_path / "joints", [stored(16, seed=n) for n in range(6)], size=64)
    words = [*KEYS, f"data.path={folder}", *MIXED, f"data.mix.rlds.path={rlds}"]
    small = ["tokenizer.num_steps=2", "world_model.num_steps=2", "model=tiny"]
    run = RunFolder(tmp_path / "run")
    assert cli.main(["train", f"run={run.path}", *words, *small]) == cli.OK
    config = yaml.safe_load(run.config.read_text())["data"]
    assert (config["path"], config["mix"]["rlds"]["path"]) == (str(folder), str(rlds))
    assert config["mix"]["rlds"]["source"]["action"]["joints"] == "action[0:9]"
    found = json.loads(run.provenance.read_text())
    assert found["joint_names"] == ["shoulder", "elbow", "gripper_2"]
    for sides in (found["episodes"], found["mixed"]["rlds"]["episodes"]):
        assert {side: len(ids) for side, ids in sides.items()} == {"train": 4, "val": 1, "test": 1}
        assert len({name for ids in sides.values() for name in ids}) == 6
    trained = load(run.path)
    assert trained.action_names[7:] == ("shoulder", "elbow", "gripper_2")


def _quoted(words):
    """As a shell wants them."""
    return [f"'{word}'" if "[" in word else word for word in words]
