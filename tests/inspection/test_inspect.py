"""`genie-robo inspect` as a command: what it prints, writes and refuses."""

import json
import shlex

import numpy as np
import pytest
import yaml
from inspect_files import SOURCE, look, make_arrays, make_dataset, make_episode, make_features
from PIL import Image
from rlds_files import F

from genie_robo import cli
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.console import open_console
from genie_robo.commands.inspect import print_facts
from genie_robo.commands.table import load_command
from genie_robo.config_file import conf_dir
from genie_robo.inspection.facts import inspect_dataset

READ = (
    "data=rlds",
    "data.source.camera=observation/front",
    "data.source.pose.position='observation/state[0:3]'",
    "data.source.pose.rotation='observation/state[3:6]'",
    "data.source.pose.gripper='observation/state[6]'",
)


@pytest.fixture
def inspect(run_cli, tmp_path):
    """Run the command and give what it writes."""

    def run(path, *words):
        folder = tmp_path / "report"
        outcome = run_cli("inspect", f"path={path}", f"output={folder}", *words)
        assert outcome.status == cli.OK, outcome.err
        facts = json.loads((folder / "inspect.json").read_text())
        return facts | {"out": outcome.out, "folder": folder}

    return run


def test_a_clean_dataset_has_no_problems(inspect, tmp_path):
    facts = inspect(make_dataset(tmp_path, map(make_episode, range(4))), *READ)
    assert facts["problems"] == []
    assert "none found" in facts["out"]
    assert facts["num_seen"] == 4
    assert facts["splits"][0] | {"name": ""} == {
        "name": "",
        "num_episodes": 4,
        "num_repeated": 0,
        "num_unreadable": 0,
        "min_steps": 20,
        "median_steps": 20,
        "max_steps": 20,
    }
    assert facts["columns"]["observation/front"] == "uint8[8,12,3] png image"
    assert [camera["key"] for camera in facts["cameras"]] == [
        "observation/front",
        "observation/wrist",
    ]
    assert facts["motion"]["ratio"] == pytest.approx(1.0, abs=1e-3)
    assert facts["motion"]["correlation"]["0"] == pytest.approx(1.0, abs=1e-3)
    dx = facts["actions"][0]
    assert (dx["name"], dx["unit"]) == ("dx", "m")
    assert dx["std"] == pytest.approx(dx["achieved_std"], rel=1e-3)


def test_lines_are_short_enough_for_a_terminal(tmp_path):
    facts = look(make_dataset(tmp_path, map(make_episode, range(4))), SOURCE)
    table = facts["out"].partition("all episodes")[2].partition("Problems")[0]
    assert "gripper 1 = open" in table
    assert max(len(line) for line in table.splitlines() if "Commanded" not in line) <= 80


def test_pictures_show_every_camera_with_its_colours_right(inspect, tmp_path):
    folder = make_dataset(tmp_path, map(make_episode, range(3)))
    facts = inspect(folder, *READ, "data.source.bgr=[observation/front]")
    with Image.open(facts["folder"] / "contact_sheet.png") as sheet:
        colours = {colour for count, colour in sheet.getcolors(1 << 20) if count > 5000}
    assert {(10, 40, 200), (30, 60, 90)} <= colours  # red and blue of the front swapped
    assert (200, 40, 10) not in colours
    with Image.open(facts["folder"] / "actions.png") as picture:
        assert picture.width == 1600


def test_joints_only_cannot_be_proposed(inspect, tmp_path):
    features = make_features(action={"joint_position": F.Tensor(shape=(7,), dtype=np.float32)})
    episodes = [make_episode(seed) for seed in range(3)]
    for episode in episodes:
        for step in episode["steps"]:
            step["action"] = {"joint_position": step["action"]}
    facts = inspect(make_dataset(tmp_path, episodes, features=features))
    assert facts["actions"] == []
    assert facts["proposal"]["missing"] == [
        "action: no column looks like an end-effector action; joint commands are named with "
        "data.source.action.joints=KEY[0:7]"
    ]
    assert "no action: no column looks like" in facts["out"]
    assert (facts["folder"] / "actions.png").exists()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (
            ["data=bridge_dataset"],
            cli.USAGE,
            "wants observation/image_0, which this dataset does not",
        ),
        (["data=bridgedataset"], cli.USAGE, "Did you mean bridge_dataset or"),
        (["data=rlds"], cli.USAGE, "data.source.camera"),
        (["data=rlds", "data.source.camera=action"], cli.USAGE, "not an encoded 8-bit colour"),
    ],
)
def test_errors_are_one_paragraph(run_cli, tmp_path, words, status, message):
    folder = make_dataset(tmp_path, [make_episode(0)])
    outcome = run_cli("inspect", f"path={folder}", *words)
    assert outcome.status == status
    assert message in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_every_dataset_file_can_be_chosen():
    """They say how a dataset is read and nothing else, which is all that inspect takes."""
    paths = sorted((conf_dir() / "data").glob("*.yaml"))
    assert {key for path in paths for key in yaml.safe_load(path.read_text()) or {}} == {"source"}
    command = load_command("inspect")
    config = to_config(command, compose_config(command, ["path=x", "data=bridge_dataset"]))
    assert config.data is not None
    assert config.data.source.camera == "observation/image_0"


def test_statistics_are_kept_for_training(tmp_path, monkeypatch):
    monkeypatch.setenv("GENIE_ROBO_CACHE", str(tmp_path / "kept"))
    look(make_dataset(tmp_path, map(make_episode, range(4))), SOURCE)
    (file,) = (tmp_path / "kept").glob("statistics_*.json")
    stored = json.loads(file.read_text())
    assert set(stored["splits"]) == {"all", "train", "val", "test"}


def test_a_single_short_episode(tmp_path):
    arrays = make_arrays(0, num_steps=2)
    facts = look(make_dataset(tmp_path, [make_episode(0, arrays=arrays)]))
    assert facts["num_seen"] == 1


def test_in_a_pipe_no_key_is_broken_and_the_lines_can_be_pasted(tmp_path, capsys):
    """Long keys, and a folder whose name has quotes, spaces and what looks like an emoji."""
    key = "front_of_the_left_camera_of_the_second_arm_that_is_mounted_above_the_table"
    observation = {key: F.Image(shape=(8, 12, 3), encoding_format="png")}
    observation["state"] = F.Tensor(shape=(7,), dtype=np.float32)
    episodes = [make_episode(seed) for seed in range(3)]
    for episode in episodes:
        for step in episode["steps"]:
            seen = step["observation"]
            step["observation"] = {key: seen["front"], "state": seen["state"]}
    root = tmp_path / "it's a :robot: [x]"
    root.mkdir()
    folder = make_dataset(root, episodes, features=make_features(observation=observation))
    print_facts(open_console(), inspect_dataset(folder).facts)
    out = capsys.readouterr().out
    assert any(
        line.split() == [f"observation/{key}", "uint8[8,12,3]", "png", "image"]
        for line in out.splitlines()
    )
    assert f"camera=observation/{key}  sure" in out
    (line,) = [line for line in out.splitlines() if line.startswith("genie-robo train")]
    program, name, *words = shlex.split(line)
    assert (program, name) == ("genie-robo", "train")
    config = to_config(load_command("train"), compose_config(load_command("train"), words))
    assert config.data.path == str(folder)
    assert config.data.source.camera == f"observation/{key}"
    assert config.data.source.pose.position == "observation/state[0:3]"
