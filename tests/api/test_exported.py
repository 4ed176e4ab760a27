"""An exported folder is the run: models, action map, trust, frame rate, resize rule, and a card."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml

import genie_robo
from genie_robo import cli
from genie_robo.api.card import dataset_name
from genie_robo.config import DataConfig
from genie_robo.config_file import read_config, write_config
from genie_robo.data.settings import Resize
from genie_robo.inference.world import Codes, RobotActions
from genie_robo.pretrained import Genie
from genie_robo.train.settings import TrainConfig
from genie_robo.trained_run import open_run


def parts(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def copied(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "copy")


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_run_and_export_give_the_same(run, genie, video):
    of_run = genie_robo.load(run.path, device="cpu")
    one, other = of_run.actions(video), genie.actions(video)
    np.testing.assert_array_equal(one.latents, other.latents)
    np.testing.assert_array_equal(one.robot_actions, other.robot_actions)
    for actions in ({"codes": [1, 2]}, {"robot_actions": np.full((2, 7), 0.01)}):
        one, other = of_run.imagine(video[0], **actions), genie.imagine(video[0], **actions)
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_array_equal(one.trust, other.trust)
    assert of_run.frames_per_second == genie.frames_per_second == 3.0
    assert set(of_run.usual) == set(genie.usual) == {Codes}


def test_the_parts_of_an_export(exported):
    assert parts(exported) == [
        "README.md",
        "action_map/action_map.json",
        "action_map/action_map.npz",
        "config.json",
        "model.safetensors",
        "trust.json",
    ]
    described = json.loads((exported / "config.json").read_text())
    assert described["frames_per_second"] == 3.0
    assert described["resize"] == "stretch"
    assert described["robot_action_names"][:3] == ["dx", "dy", "dz"]


def test_robot_control_is_exported_and_no_trust_of_other_weights(controlled, tmp_path, video):
    output = tmp_path / "mine"
    assert cli.main(["export", f"run={controlled.path}", f"output={output}"]) == cli.OK
    of_run, loaded = (genie_robo.load(path, device="cpu") for path in (controlled.path, output))
    assert loaded.model.takes_robot_actions
    assert RobotActions in loaded.world.takes
    assert loaded.usual == {}
    actions = np.full((2, 7), 0.01)
    frames = [each.imagine(video[0], robot_actions=actions).frames for each in (of_run, loaded)]
    np.testing.assert_array_equal(*frames)
    assert "steer the dynamics, which was trained on them" in (output / "README.md").read_text()
    with pytest.raises(ValueError, match=r"\(n 7\) or"):
        loaded.imagine(video[0], robot_actions=np.zeros((2, 6)))


def test_the_resize_rule_of_the_run_is_kept(run, tmp_path):
    folder = shutil.copytree(run.path, tmp_path / "run")
    opened = replace(run, path=folder)
    config = read_config(opened, TrainConfig)
    write_config(opened, replace(config, data=replace(config.data, resize=Resize.letterbox)))
    assert cli.main(["export", f"run={folder}", f"output={tmp_path / 'out'}"]) == cli.OK
    assert genie_robo.load(tmp_path / "out").model.config.data.resize is Resize.letterbox


def test_a_map_is_fitted_where_there_is_none_and_left_out_without_a_dataset(run, tmp_path, capsys):
    folder = shutil.copytree(run.path, tmp_path / "run")
    output = tmp_path / "out"
    words = ["export", f"run={folder}", f"output={output}"]
    shutil.rmtree(folder / "action_map")
    assert cli.main(words) == cli.OK
    assert genie_robo.load(output).action_map is not None
    for gone in ("action_map", "dataset"):
        shutil.rmtree(folder / gone)
    (folder / "trust.json").unlink()
    assert cli.main(words) == cli.OK
    assert "exported without an action map" in capsys.readouterr().err
    assert parts(output) == ["README.md", "config.json", "model.safetensors"]
    assert "there is no action map" in (output / "README.md").read_text()


def test_an_export_of_an_earlier_version_loads(exported, tmp_path, video, caplog):
    Genie.from_pretrained(exported).save_pretrained(tmp_path)

    def remove(described):
        for name in ("resize", "frames_per_second", "robot_action_names"):
            del described[name]

    edit(tmp_path / "config.json", remove)
    old = genie_robo.load(tmp_path, device="cpu")
    assert "does not say how images become frames" in caplog.text
    assert (old.action_map, old.usual, old.frames_per_second) == (None, {}, 0.0)
    assert old.actions(video).robot_actions is None
    with pytest.raises(ValueError, match="nothing maps robot actions"):
        old.imagine(video[0], robot_actions=np.zeros((1, 7)))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("frames_per_second", -1, "frames_per_second is -1"),
        ("frames_per_second", float("nan"), "frames_per_second is nan"),
        ("frames_per_second", "3", "frames_per_second is '3'"),
        ("resize", "squeeze", "does not describe a Genie"),
        ("resize", None, "does not describe a Genie"),
    ],
)
def test_a_rate_or_rule_that_is_none_is_named(copied, name, value, reason):
    edit(copied / "config.json", lambda described: described.update({name: value}))
    with pytest.raises(ValueError, match=reason):
        genie_robo.load(copied)


def test_parts_of_other_weights_are_named(copied):
    edit(copied / "action_map/action_map.json", lambda d: d["origin"].update(weights="0"))
    with pytest.raises(ValueError, match=r"action_map belongs to other weights than model\.safet"):
        genie_robo.load(copied)
    shutil.rmtree(copied / "action_map")
    edit(copied / "trust.json", lambda described: described.update(weights="0"))
    with pytest.raises(ValueError, match=r"trust\.json belongs to other weights"):
        genie_robo.load(copied)


def test_an_action_map_of_another_size_is_named(copied):
    def fewer_codes(described):
        described["model"]["latent_action"]["quantizer"]["num_codes"] = 4

    edit(copied / "config.json", fewer_codes)
    with pytest.raises(ValueError, match="does not load into the Genie"):
        genie_robo.load(copied)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(format_version=2),
        lambda c: c.update(usual=[1]),
        lambda c: c["usual"].update(codes={}),
        lambda c: c["usual"].update(thoughts=c["usual"]["codes"]),
        lambda c: c["usual"]["codes"].update(spread=[1, 1, -1]),
        lambda c: c.pop("sampler"),
    ],
)
def test_damaged_trust_is_named(copied, change):
    edit(copied / "trust.json", change)
    with pytest.raises(ValueError, match=r"trust\.json cannot be read.*Export the run again"):
        genie_robo.load(copied)


def test_a_folder_of_neither_kind_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds neither config\.json .* or config\.yaml"):
        genie_robo.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="is no folder"):
        genie_robo.load(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="device=tpu is no device here"):
        genie_robo.load(tmp_path, device="tpu")


def test_the_card_has_front_matter_data_numbers_and_use(run, exported):
    text = (exported / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    front = yaml.safe_load(front)
    assert front["library_name"] == "genie_robo"
    assert front["datasets"] == ["tabletop"]
    assert {"robotics", "world-model"} <= set(front["tags"])
    assert "license" not in front
    assert "Trained on tabletop." in body
    assert "16x32 pixels, 3 per second" in body
    assert "| r2 | 0.50 [0.40, 0.60] | R2 | 12 | mean 0 | 0.90 |" in body
    assert "probe fitted on validation episodes" in body
    assert "- Few episodes." in body
    assert "fitted to 8 labelled steps" in body


def test_the_card_has_no_path_of_the_machine(run, exported):
    text = (exported / "README.md").read_text()
    assert str(run.path) not in text
    assert str(exported.parent) not in text
    assert not re.search(r"(^|[\s\"'(])/[a-z]+/", text)


def test_the_code_of_the_card_runs(exported, genie, monkeypatch, capsys):
    monkeypatch.chdir(exported.parent)
    (block,) = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.DOTALL)
    exec(block, {})
    printed = capsys.readouterr().out
    assert "(10, 16, 32, 3)" in printed
    assert any(f"'{name}'" in printed for name in genie.code_names)


def test_a_dataset_that_is_gone_is_called_by_its_folder():
    for path, name in (("/a/bridge/1.0.0", "bridge"), ("x/mine", "mine"), ("1.0", "unknown")):
        assert dataset_name(DataConfig(path=path)) == name


def test_a_run_that_was_not_evaluated_says_so(run, tmp_path):
    folder = shutil.copytree(run.path, tmp_path / "run")
    shutil.rmtree(folder / "eval")
    assert cli.main(["export", f"run={folder}", f"output={tmp_path / 'out'}"]) == cli.OK
    assert "Not evaluated." in (tmp_path / "out" / "README.md").read_text()
    assert open_run(str(folder), device="cpu").robot_genie is None
