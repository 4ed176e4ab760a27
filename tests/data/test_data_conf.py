"""The files in conf/data/ and what reading data may import."""

import subprocess
import sys

import pytest
from omegaconf import OmegaConf
from rlds_files import RT1_SOURCE

from genie_robo.commands.compose import conf_dir
from genie_robo.config import ActionFamily, DataConfig, Gripper

NAMES = sorted(path.stem for path in (conf_dir() / "data").glob("*.yaml"))


def load(name: str) -> DataConfig:
    file = OmegaConf.load(conf_dir() / "data" / f"{name}.yaml")
    given = {"path": "FOLDER"}
    if name == "rlds":
        given["source"] = {"camera": "observation/image"}
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DataConfig), file, given))
    assert isinstance(config, DataConfig)
    return config


def test_the_datasets_that_are_known():
    assert {"bridge", "droid_ee_delta", "fractal20220817_data", "rlds", "tabletop"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_file_fits_the_dataclass(name):
    config = load(name)
    assert config.source.camera.startswith("observation/")
    assert OmegaConf.missing_keys(OmegaConf.structured(config)) == set()


@pytest.mark.parametrize("name", NAMES)
def test_files_hold_differences_only(name):
    """A value that equals its default would hide a later change of the default."""
    file = OmegaConf.load(conf_dir() / "data" / f"{name}.yaml")
    default = OmegaConf.structured(DataConfig)
    for node, fields in ((file, default), (file.get("source", {}), default.source)):
        for key, value in node.items():
            if key != "source":
                assert OmegaConf.is_missing(fields, key) or fields[key] != value, key


def test_rt1_is_read_as_it_is_tested():
    source = load("fractal20220817_data").source
    assert source.action_family is ActionFamily.rt1
    assert source.gripper is Gripper.relative_close
    assert source.camera == RT1_SOURCE["camera"]
    assert tuple(source.pose) == RT1_SOURCE["pose"]
    assert source.instruction == RT1_SOURCE["instruction"]


def test_reading_data_imports_no_tensorflow(table):
    program = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(conf_dir().parent / "tests" / "data")!r})
from rlds_files import open_table
from genie_robo.data.loader import WindowLoader
from genie_robo.data.windows import WindowDataset
dataset = open_table(Path({str(table)!r}))
windows = WindowDataset(dataset, [0, 1], num_frames=2, image_size=(8, 8))
stream = iter(WindowLoader(windows, batch_size=2, seed=0))
assert next(stream).video.shape == (2, 2, 8, 8, 3)
stream.close()
forbidden = {{"tensorflow", "hydra", "omegaconf", "rerun", "genie_robo.config"}}
found = forbidden & set(sys.modules)
assert not found, found
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
