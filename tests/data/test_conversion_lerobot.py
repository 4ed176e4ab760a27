"""The package lerobot itself opens what is converted."""

import os
import subprocess
import sys

import pytest

from genie_robo.data.conversion import convert_dataset
from genie_robo.data.settings import DatasetFolder, DatasetFormat, ImageStorage, PoseSource, Source

pytestmark = [pytest.mark.slow, pytest.mark.real_data]

BRIDGE = Source(
    camera="observation/image_0",
    pose=PoseSource(position="observation/state[0:3]"),
    instruction=("language_instruction",),
    control_hz=5.0,
)
READ = """
import sys
from lerobot.datasets.lerobot_dataset import LeRobotDataset
camera = "observation.images.image_0"
found = LeRobotDataset("a/b", root=sys.argv[1], video_backend=sys.argv[2])
assert (found.num_episodes, found.num_frames, found.fps) == (25, 250, 5), found
assert found.meta.video_keys == ([camera] if sys.argv[2] == "pyav" else [])
step = found[37]
assert step["episode_index"] == 3 and step["frame_index"] == 7
assert step["action"].shape == (7,) and step["observation.state"].shape == (7,)
assert isinstance(step["task"], str) and step["task"]
assert step[camera].shape == (3, 64, 64) and step[camera].max() > 0.1
assert found.meta.stats["action"]["mean"].shape == (7,)
assert found.meta.stats[camera]["mean"].shape == (3, 1, 1)
"""


@pytest.mark.parametrize("images", [ImageStorage.lossless, ImageStorage.video])
def test_lerobot_reads_it(tmp_path, bridge, images):
    python = os.environ.get("LEROBOT_PYTHON", sys.executable)
    words = [python, "-c", "import lerobot.datasets.lerobot_dataset"]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip(f"{python} has no package lerobot; LEROBOT_PYTHON names a Python that has it")
    data = DatasetFolder(path=str(bridge), source=BRIDGE)
    folder = tmp_path / "bridge"
    convert_dataset(data, folder, to=DatasetFormat.lerobot, images=images)
    backend = "pyav" if images.is_video else "none"
    environment = {name: v for name, v in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", READ, str(folder), backend],
        env=environment | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
