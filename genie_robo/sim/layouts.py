"""The columns of a recording: those of tabletop, and those of RT-1 (fractal20220817_data)."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
import tensorflow_datasets as tfds
from jaxtyping import Float, UInt8

from genie_robo.config.sim import RecordLayout
from genie_robo.data.images import png_bytes
from genie_robo.sim.control import rpy_to_quat
from genie_robo.sim.robots import base_position
from genie_robo.sim.scene import SceneSpec

XYZ, ROTATION, GRIPPER = slice(0, 3), slice(3, 6), 6
"""Indices in poses and actions, as in `genie_robo.types`, which needs torch."""
_JPEG_QUALITY = 95
_EMBEDDING_SIZE = 512
_TERMINATE, _CONTINUE = (1, 0, 0), (0, 1, 0)
_IS_OPEN = 0.5
"""Gripper from which on it is commanded to be open."""
_ASPECTS = ("already_success", "feasible", "has_aspects", "success", "undesirable")
_ATTRIBUTES = (
    "collection_mode",
    "data_type",
    "env",
    "location",
    "objects_family",
    "task_family",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What there is at one step."""

    frame: UInt8[np.ndarray, "h w 3"]
    pose: Float[np.ndarray, " 7"]
    """x y z (m), roll pitch yaw (rad), gripper (1 = open)."""
    sim_state: Float[np.ndarray, " n"]
    """MuJoCo's integration state, padded with zeros."""
    boxes: Float[np.ndarray, "k 3"]
    """Where the boxes are (m)."""
    is_success: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEpisode:
    """One episode before it has columns."""

    moments: Sequence[Moment]
    actions: Float[np.ndarray, "t 7"]
    """dx dy dz (m), droll dpitch dyaw (rad), gripper (1 = open); the last one is not taken."""
    scene: SceneSpec
    policy: str
    seed: int

    @property
    def is_success(self) -> bool:
        """Whether the task was solved at any step."""
        return any(moment.is_success for moment in self.moments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The columns of a recording."""

    name: str
    """Of the dataset."""
    version: str
    features: Callable[..., Any]
    """`features((height, width), num_states=N)`: a FeaturesDict of tensorflow_datasets."""
    episode: Callable[[RecordedEpisode], dict[str, Any]]
    """An episode as the features describe it."""
    ends_when_solved: bool


def tabletop_features(image_size: tuple[int, int], *, num_states: int) -> Any:
    """PNG images, the pose, the simulator's state and 7-D actions."""
    step = {
        "observation": {
            "image": tfds.features.Image(
                shape=(*image_size, 3), dtype=np.uint8, encoding_format="png"
            ),
            "state": tfds.features.Tensor(
                shape=(7,), dtype=np.float32, doc="x y z (m) roll pitch yaw (rad) gripper 1=open"
            ),
            "sim_state": tfds.features.Tensor(
                shape=(num_states,),
                dtype=np.float32,
                doc="MuJoCo integration state, zeros behind its end",
            ),
        },
        "action": tfds.features.Tensor(
            shape=(7,), dtype=np.float32, doc="dx dy dz (m) droll dpitch dyaw (rad) gripper 1=open"
        ),
        "language_instruction": tfds.features.Text(),
        "is_first": np.bool_,
        "is_last": np.bool_,
        "is_terminal": np.bool_,
        "reward": np.float32,
        "discount": np.float32,
    }
    metadata = {
        "scene": tfds.features.Text(doc="JSON that rebuilds the MuJoCo model"),
        "policy": tfds.features.Text(),
        "task": tfds.features.Text(),
        "success": np.bool_,
        "seed": np.int64,
    }
    return tfds.features.FeaturesDict(
        {"steps": tfds.features.Dataset(step), "episode_metadata": metadata}
    )


def tabletop_episode(recorded: RecordedEpisode) -> dict[str, Any]:
    """Step t holds o_t and the action taken in it."""
    last = len(recorded.moments) - 1
    steps = [
        {
            "observation": {
                "image": io.BytesIO(png_bytes(moment.frame)),
                "state": moment.pose,
                "sim_state": moment.sim_state,
            },
            "action": action,
            "language_instruction": recorded.scene.instruction,
            "is_first": t == 0,
            "is_last": t == last,
            "is_terminal": False,
            "reward": float(moment.is_success),
            "discount": 1.0,
        }
        for t, (moment, action) in enumerate(zip(recorded.moments, recorded.actions, strict=True))
    ]
    metadata = {
        "scene": recorded.scene.to_json(),
        "policy": recorded.policy,
        "task": recorded.scene.task,
        "success": recorded.is_success,
        "seed": recorded.seed,
    }
    return {"steps": steps, "episode_metadata": metadata}


def rt1_features(image_size: tuple[int, int], *, num_states: int) -> Any:
    """The features of fractal20220817_data 0.1.0.

    Source: its page in the catalog of tensorflow_datasets.
    """
    del num_states
    number, flag, text = _tensor(), _tensor(dtype=np.bool_), _tensor(dtype=np.object_)
    action = {
        "base_displacement_vector": _tensor(2),
        "base_displacement_vertical_rotation": _tensor(1),
        "gripper_closedness_action": _tensor(1),
        "rotation_delta": _tensor(3),
        "terminate_episode": _tensor(3, dtype=np.int32),
        "world_vector": _tensor(3),
    }
    observation = {
        "base_pose_tool_reached": _tensor(7),
        "gripper_closed": _tensor(1),
        "gripper_closedness_commanded": _tensor(1),
        "height_to_bottom": _tensor(1),
        "image": tfds.features.Image(
            shape=(*image_size, 3), dtype=np.uint8, encoding_format="jpeg"
        ),
        "natural_language_embedding": _tensor(_EMBEDDING_SIZE),
        "natural_language_instruction": text,
        "orientation_box": _tensor(2, 3),
        "orientation_start": _tensor(4),
        "robot_orientation_positions_box": _tensor(3, 3),
        "rotation_delta_to_go": _tensor(3),
        "src_rotation": _tensor(4),
        "vector_to_go": _tensor(3),
        "workspace_bounds": _tensor(3, 3),
    }
    step = {
        "action": action,
        "observation": observation,
        "is_first": flag,
        "is_last": flag,
        "is_terminal": flag,
        "reward": number,
    }
    attributes = {name: _tensor(dtype=np.int64) for name in _ATTRIBUTES}
    attributes |= {f"{name}_name": text for name in _ATTRIBUTES}
    return tfds.features.FeaturesDict(
        {
            "aspects": dict.fromkeys(_ASPECTS, flag),
            "attributes": attributes,
            "steps": tfds.features.Dataset(step),
        }
    )


def rt1_episode(recorded: RecordedEpisode) -> dict[str, Any]:
    """An episode as RT-1 stores it.

    The gripper is commanded by changes: +1 closes, -1 opens, 0 holds; the state is closedness. The
    pose is relative to the robot's base, its rotation a quaternion x y z w. The last step
    terminates, and its motion is zero. The embedding of the text, and what describes the real
    robot's workspace, is zero.
    """
    return {
        "aspects": dict.fromkeys(_ASPECTS, False)
        | {"feasible": True, "has_aspects": True, "success": recorded.is_success},
        "attributes": dict.fromkeys(_ATTRIBUTES, 0)
        | {f"{name}_name": "simulation" for name in _ATTRIBUTES},
        "steps": _rt1_steps(recorded),
    }


def _rt1_steps(recorded: RecordedEpisode) -> list[dict[str, Any]]:
    base = np.array(base_position(recorded.scene.robot))
    opened = recorded.actions[:, GRIPPER] > _IS_OPEN
    before = recorded.moments[0].pose[GRIPPER] > _IS_OPEN
    changes = np.diff(opened.astype(np.float32), prepend=np.float32(before))
    changes[-1] = 0
    last = len(recorded.moments) - 1
    start = _quaternion(recorded.moments[0].pose[ROTATION])
    steps = []
    for t, (moment, action) in enumerate(zip(recorded.moments, recorded.actions, strict=True)):
        rotation = _quaternion(moment.pose[ROTATION])
        steps.append(
            {
                "action": _rt1_action(action, change=changes[t], is_last=t == last),
                "observation": {
                    "base_pose_tool_reached": np.concatenate(
                        [moment.pose[XYZ] - base, rotation], dtype=np.float32
                    ),
                    "gripper_closed": 1 - moment.pose[[GRIPPER]],
                    "gripper_closedness_commanded": 1 - opened[[t]].astype(np.float32),
                    "height_to_bottom": moment.pose[[2]],
                    "image": io.BytesIO(
                        simplejpeg.encode_jpeg(moment.frame, quality=_JPEG_QUALITY)
                    ),
                    "natural_language_embedding": np.zeros(_EMBEDDING_SIZE, np.float32),
                    "natural_language_instruction": recorded.scene.instruction,
                    "orientation_box": np.zeros((2, 3), np.float32),
                    "orientation_start": start,
                    "robot_orientation_positions_box": np.zeros((3, 3), np.float32),
                    "rotation_delta_to_go": action[ROTATION],
                    "src_rotation": rotation,
                    "vector_to_go": action[XYZ],
                    "workspace_bounds": np.zeros((3, 3), np.float32),
                },
                "is_first": t == 0,
                "is_last": t == last,
                "is_terminal": t == last,
                "reward": float(t == last and recorded.is_success),
            }
        )
    return steps


def _rt1_action(
    action: Float[np.ndarray, " 7"], *, change: np.float32, is_last: bool
) -> dict[str, np.ndarray]:
    return {
        "base_displacement_vector": np.zeros(2, np.float32),
        "base_displacement_vertical_rotation": np.zeros(1, np.float32),
        "gripper_closedness_action": np.array([-change], np.float32),
        "rotation_delta": action[ROTATION],
        "terminate_episode": np.array(_TERMINATE if is_last else _CONTINUE, np.int32),
        "world_vector": action[XYZ],
    }


def _quaternion(rpy: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 4"]:
    """Roll, pitch, yaw (rad) as x y z w."""
    return np.roll(rpy_to_quat(rpy), -1).astype(np.float32)


def _tensor(*shape: int, dtype: Any = np.float32) -> Any:
    return tfds.features.Tensor(shape=shape, dtype=dtype)


LAYOUTS = {
    RecordLayout.tabletop: Layout(
        name="tabletop",
        version="1.0.0",
        features=tabletop_features,
        episode=tabletop_episode,
        ends_when_solved=False,
    ),
    RecordLayout.rt1: Layout(
        name="fractal20220817_data",
        version="0.1.0",
        features=rt1_features,
        episode=rt1_episode,
        ends_when_solved=True,
    ),
}
