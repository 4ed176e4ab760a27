"""Reading a recording back as TFDS gives it."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from genie_robo.config import RecordConfig
from genie_robo.types import Episode

SPEC = RecordConfig(num_episodes=4, num_steps=14, num_workers=2, seed=3)


def read_raw(folder: Path) -> list[dict[str, Any]]:
    """Episodes as TFDS gives them, frames still encoded."""
    decoders = {"steps": {"observation": {"image": tfds.decode.SkipDecoding()}}}
    source = tfds.builder_from_directory(folder).as_data_source("train", decoders=decoders)
    return [{**raw, "steps": list(raw["steps"])} for raw in source]


def to_episode(raw: dict[str, Any], episode_id: str) -> Episode:
    steps = raw["steps"]
    observations = [step["observation"] for step in steps]
    return Episode(
        episode_id=episode_id,
        images={"primary": tuple(observation["image"] for observation in observations)},
        robot_actions=np.stack([step["action"] for step in steps]),
        action_mask=np.ones(7, dtype=bool),
        bgr_cameras=frozenset(),
        pose_mask=np.ones(7, bool),
        end_effector_pose=np.stack([observation["state"] for observation in observations]),
        sim_state=np.stack([observation["sim_state"] for observation in observations]),
        scene=raw["episode_metadata"]["scene"].decode(),
        instruction=steps[0]["language_instruction"].decode(),
        control_hz=3.0,
    )
