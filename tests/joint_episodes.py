"""Small RLDS datasets whose actions are joint commands, with and without an end effector."""

import io
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from genie_robo.config import ActionSource, JointsMotion, PoseSource, Source

NO_END_EFFECTOR = {"translation": "", "rotation": "", "gripper": ""}
ARM = Source(
    camera="observation/image",
    action=ActionSource(**NO_END_EFFECTOR, joints="action[0:9]", joints_motion=JointsMotion.target),
    pose=PoseSource(joints="observation/joints"),
    control_hz=5.0,
)
"""Nine joints: absolute commands, and where the joints are."""
HAND = Source(
    camera="observation/image",
    action=ActionSource(joints="action[7:9]"),
    control_hz=5.0,
)
"""An end effector, and two more numbers that are changes."""


@dataclass(frozen=True)
class Stored:
    """The columns of one episode."""

    action: np.ndarray
    joints: np.ndarray
    """Measured."""


def stored(num_steps: int, *, seed: int, num_joints: int = 9) -> Stored:
    """Joints that lag a random walk of commands; each image shows where the first two are."""
    rng = np.random.default_rng(seed)
    action = rng.normal(scale=0.1, size=(num_steps, 9)).cumsum(0).astype(np.float32)
    action[:, 6] = rng.integers(0, 2, num_steps)
    joints = np.concatenate([np.zeros((1, 9)), 0.8 * action[:-1]]).astype(np.float32)
    return Stored(action, joints[:, :num_joints])


def write_joints(folder: Path, episodes: list[Stored], *, size: int = 32) -> Path:
    """Write the episodes as an RLDS folder and return it."""
    # Not at the top: what is imported before the tests are collected has no shape checks.
    from tensorflow_datasets import features as F

    from genie_robo.data.rlds_writer import ShardWriter

    def tensor(width: int):
        return F.Tensor(shape=(width,), dtype=np.float32)

    step = {
        "observation": {
            "image": F.Image(shape=(size, size, 3), encoding_format="png"),
            "joints": tensor(episodes[0].joints.shape[1]),
        },
        "action": tensor(episodes[0].action.shape[1]),
    }
    features = F.FeaturesDict({"steps": F.Dataset(step)})
    with closing(
        ShardWriter(folder, name="joints", version="1.0.0", features=features, description="")
    ) as writer:
        for episode in episodes:
            rows = zip(episode.action, episode.joints, strict=True)
            writer.write(
                {
                    "steps": [
                        {
                            "observation": {"image": _image(joints, size), "joints": joints},
                            "action": action,
                        }
                        for action, joints in rows
                    ]
                }
            )
        writer.finish()
    return folder


def _image(joints: np.ndarray, size: int) -> io.BytesIO:
    """A bright square whose place is that of the first two joints."""
    pixels = np.zeros((size, size, 3), np.uint8)
    row, column = np.clip((0.5 + 0.3 * joints[:2]) * size, 0, size - 6).astype(int)
    pixels[row : row + 6, column : column + 6] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    file.seek(0)
    return file
