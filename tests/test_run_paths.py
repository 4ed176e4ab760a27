"""A run that is moved, renamed or opened from elsewhere finds its datasets."""

from dataclasses import replace

import pytest
import yaml

from genie_robo.config import DataConfig, DatasetConfig, PoseSource, Source, TrainConfig
from genie_robo.config_file import read_config, write_config
from genie_robo.data.settings import OWN_CAMERA
from genie_robo.run_folder import RunFolder
from genie_robo.run_paths import used_data, with_paths_of

CAMERA = Source(camera="observation/image")


@pytest.fixture
def config():
    other = DatasetConfig(path="elsewhere/other", source=CAMERA)
    data = DataConfig(path="runs/a/dataset", source=CAMERA, mix={"other": other})
    return TrainConfig(run="runs/a", data=data)


def paths(config):
    return config.run, config.data.path, *(each.path for each in config.data.mix.values())


def test_paths_inside_the_run_are_stored_relative_and_others_absolute(
    config, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_config(RunFolder.at("runs/a"), config)
    stored = yaml.safe_load((tmp_path / "runs" / "a" / "config.yaml").read_text())
    assert (stored["run"], stored["data"]["path"]) == (".", "dataset")
    assert stored["data"]["mix"]["other"]["path"] == str(tmp_path / "elsewhere" / "other")


def test_a_moved_run_opens_from_any_folder(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_config(RunFolder.at("runs/a"), config)
    (tmp_path / "runs" / "a").rename(tmp_path / "moved")
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    found = read_config(RunFolder.at("../moved"), TrainConfig)
    assert paths(found) == ("../moved", "../moved/dataset", str(tmp_path / "elsewhere" / "other"))


def test_a_dataset_behind_a_symbolic_link_is_inside_the_run(config, tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    run = RunFolder.at(tmp_path / "link" / "a")
    data = DataConfig(path=str(tmp_path / "disk" / "a" / "dataset"), source=CAMERA)
    write_config(run, TrainConfig(run=str(run.path), data=data))
    assert yaml.safe_load(run.config.read_text())["data"]["path"] == "dataset"


def store_as_before(run, config):
    """Paths as they were given, as earlier versions stored them."""
    write_config(run, config)
    stored = yaml.safe_load(run.config.read_text())
    stored["run"], stored["data"]["path"] = config.run, config.data.path
    run.config.write_text(yaml.safe_dump(stored))


def test_a_run_of_an_earlier_version_finds_the_dataset_inside_it(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store_as_before(RunFolder.at("runs/a"), config)
    (tmp_path / "runs" / "a").rename(tmp_path / "moved")
    assert read_config(RunFolder.at("moved"), TrainConfig).data.path == "moved/dataset"


def test_a_run_of_an_earlier_version_finds_a_dataset_next_to_it(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = replace(config, data=DataConfig(path="dataset", source=CAMERA))
    store_as_before(RunFolder.at("runs/a"), config)
    (tmp_path / "dataset").mkdir()
    monkeypatch.chdir(tmp_path / "runs")
    found = read_config(RunFolder.at("a"), TrainConfig)
    assert (tmp_path / "dataset").samefile(found.data.path)


def test_a_urdf_is_found_like_a_dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pose = PoseSource(joints="joints", urdf="robots/arm.urdf", link="tool")
    data = DataConfig(path="dataset", source=replace(CAMERA, pose=pose))
    config = TrainConfig(run="runs/a", data=data)
    write_config(RunFolder.at("runs/a"), config)
    stored = read_config(RunFolder.at("runs/a"), TrainConfig)
    assert stored.data.source.pose.urdf == str(tmp_path / "robots" / "arm.urdf")

    moved = replace(pose, urdf="elsewhere.urdf")
    other = replace(config, data=replace(data, path="b", source=replace(CAMERA, pose=moved)))
    found = with_paths_of(stored, other).data
    assert (found.path, found.source.pose) == ("b", moved)
    own = DataConfig(path="c", source=Source(camera=OWN_CAMERA))
    assert used_data(stored, own).source == stored.data.source
    given = replace(own, source=replace(own.source, pose=PoseSource(urdf="elsewhere.urdf")))
    assert used_data(stored, given).source.pose == moved
