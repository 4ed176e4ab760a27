"""The files in conf/data/ and what reading data may import."""

import subprocess
import sys

import pytest
from omegaconf import OmegaConf
from rlds_files import RT1_SOURCE

from genie_robo.config import DataConfig
from genie_robo.config_file import conf_dir
from genie_robo.config_tree import from_tree, to_tree

CAMERAS = {"rlds": "observation/image", "lerobot": "observation.images.top"}
"""Files for any dataset of a format, which name no camera."""
NAMES = sorted(path.stem for path in (conf_dir() / "data").glob("*.yaml"))


def load(name: str) -> DataConfig:
    file = OmegaConf.load(conf_dir() / "data" / f"{name}.yaml")
    given = {"path": "FOLDER"}
    if name in CAMERAS:
        given["source"] = {"camera": CAMERAS[name]}
    return from_tree(OmegaConf.merge(to_tree(DataConfig), file, given))


def test_the_datasets_that_are_known():
    assert {"bridge_dataset", "droid_ee_delta", "fractal20220817_data", "rlds", "tabletop"} <= set(
        NAMES
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_file_fits_the_dataclass(name):
    config = load(name)
    assert config.source.camera.startswith(("observation/", "observation."))
    assert OmegaConf.missing_keys(to_tree(config)) == set()


@pytest.mark.parametrize("name", NAMES)
def test_files_hold_differences_only(name):
    """A value that equals its default would hide a later change of the default."""
    file = OmegaConf.load(conf_dir() / "data" / f"{name}.yaml")
    repeated = list(_repeated(file, to_tree(DataConfig)))
    assert repeated == []


def _repeated(node, default):
    for key, value in node.items():
        if OmegaConf.is_dict(value) and default[key]:
            yield from _repeated(value, default[key])
        elif not OmegaConf.is_missing(default, key) and default[key] == value:
            yield key


def test_rt1_is_read_as_it_is_tested():
    assert load("fractal20220817_data").source == RT1_SOURCE


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
forbidden = {{"tensorflow", "hydra", "omegaconf", "rerun"}}
found = forbidden & set(sys.modules)
assert not found, found
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
