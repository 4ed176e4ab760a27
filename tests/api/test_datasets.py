"""Episodes as arrays, and a package that is imported at once."""

import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import genie_robo
from genie_robo.build import build_windows
from genie_robo.cli import main
from genie_robo.config import DataConfig, Source
from genie_robo.config_file import known_datasets, read_dataset_config
from genie_robo.types import Split

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def episodes(run):
    return genie_robo.open_dataset(run.dataset)


def test_an_episode_is_frames_and_the_actions_between_them(episodes):
    frames, robot_actions = genie_robo.read_episode(episodes[0])
    assert len(episodes) == 10
    assert (frames.shape, frames.dtype) == ((5, 32, 32, 3), np.uint8)
    assert robot_actions.shape == (4, 7)
    np.testing.assert_array_equal(robot_actions, episodes[0].robot_actions[:-1])


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_episodes_are_those_of_windows(episodes, stride):
    config = replace(
        DataConfig(path="", source=episodes.source),
        image_height=32,
        image_width=32,
        frame_stride=stride,
    )
    windows = build_windows(config, episodes, Split.train, num_frames=2)
    window = windows.whole_episode(0)
    found = genie_robo.read_episode(episodes[windows.episodes[0]], stride=stride)
    np.testing.assert_array_equal(found.frames, window.video)
    np.testing.assert_allclose(found.robot_actions, window.robot_actions)


def test_columns_are_known_by_the_name_of_the_dataset_or_given(run, toy_rlds):
    named = genie_robo.open_dataset(run.dataset, "tabletop")
    assert named.fingerprint == genie_robo.open_dataset(run.dataset).fingerprint
    own = genie_robo.open_dataset(toy_rlds.folder, source=Source(camera="observation/image"))
    assert len(own) == 6
    with pytest.raises(ValueError, match="named toy, whose columns are not known"):
        genie_robo.open_dataset(toy_rlds.folder)
    with pytest.raises(ValueError, match=r"data=tabletob is no dataset of conf/data; choose table"):
        genie_robo.open_dataset(run.dataset, "tabletob")
    with pytest.raises(ValueError, match="give one of data='tabletop' and source="):
        genie_robo.open_dataset(run.dataset, "tabletop", source=Source(camera="x"))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        genie_robo.open_dataset(run.dataset / "nowhere")


def test_a_file_of_ones_own_says_which_columns_are_read(toy_rlds, tmp_path):
    file = tmp_path / "mine.yaml"
    main(["inspect", f"path={toy_rlds.folder}", f"write={tmp_path}/data/mine.yaml"])
    proposed = genie_robo.open_dataset(toy_rlds.folder, tmp_path / "data/mine.yaml")
    assert proposed[0].images.keys() == {"primary"}
    file.write_text("path: elsewhere\nframe_stride: 2\nsource: {camera: observation/image}\n")
    own = genie_robo.open_dataset(toy_rlds.folder, str(file))
    same = genie_robo.open_dataset(toy_rlds.folder, source=Source(camera="observation/image"))
    assert own.fingerprint == same.fingerprint

    with pytest.raises(FileNotFoundError):
        genie_robo.open_dataset(toy_rlds.folder, tmp_path / "nowhere.yaml")
    for text, reason in (
        ("defaults: [rlds]\nsource: {camera: observation/image}\n", "takes settings from other"),
        ("source: {camera: &a observation/image}\n", "YAML anchor"),
        ("source: {kamera: observation/image}\n", "kamera"),
        ("- source\n", "no mapping"),
        ("source: [\n", "does not say how a dataset is read"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=reason):
            genie_robo.open_dataset(toy_rlds.folder, file)


@pytest.mark.parametrize("name", known_datasets())
def test_every_dataset_of_conf_can_be_read_by_name(name):
    config = read_dataset_config(name, path="somewhere")
    assert config.path == "somewhere"


def test_an_unknown_camera_and_stride_are_named(episodes):
    with pytest.raises(KeyError, match="camera=wrist is not one of"):
        genie_robo.read_episode(episodes[0], camera="wrist")
    with pytest.raises(ValueError, match="stride=0 must be at least 1"):
        genie_robo.read_episode(episodes[0], stride=0)


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, genie_robo; heavy = {'torch', 'numpy', 'genie_robo.api'} & set(sys.modules); "
        "assert not heavy, heavy; assert genie_robo.__version__; "
        "assert set(genie_robo.__all__) <= set(dir(genie_robo))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there_and_typed():
    for name in genie_robo.__all__:
        assert getattr(genie_robo, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = genie_robo.nothing
    assert all((ROOT / package / "py.typed").exists() for package in ("genie_robo", "eval_suites"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert genie_robo.__version__ == project["version"]
