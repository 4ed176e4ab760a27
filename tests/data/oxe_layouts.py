"""SYNTHETIC datasets with the layouts of public ones: no robot ever made these episodes.

Names, shapes, dtypes and encodings are those of the public datasets (their TFDS catalogue pages and
builders); images have one colour, and a column that a test does not give is zero.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rlds_files import F, encode_image, write_rlds

Rows = Mapping[str, Sequence[Any]]
"""Column of a step, to its value in every step."""


def tensor(*shape: int, dtype: Any = np.float32, encoding: str = "none"):
    return F.Tensor(shape=shape, dtype=dtype, encoding=encoding)


def camera(height: int, width: int, encoding: str | None = None):
    return F.Image(shape=(height, width, 3), encoding_format=encoding)


STRING, FLAG, NUMBER = tensor(dtype=np.object_), tensor(dtype=np.bool_), F.Scalar(np.float32)
ZLIB = "zlib"
FLAGS = {"is_first": FLAG, "is_last": FLAG, "is_terminal": FLAG, "reward": NUMBER}
DELTAS = {"world_vector": tensor(3), "rotation_delta": tensor(3)}
GOOGLE_ROBOT = {
    **DELTAS,
    "base_displacement_vector": tensor(2),
    "base_displacement_vertical_rotation": tensor(1),
    "gripper_closedness_action": tensor(1),
    "terminate_episode": tensor(3, dtype=np.int32),
}


def features(action: Any, observation: Mapping[str, Any], step: Mapping[str, Any], **top: Any):
    columns = {"action": action, "observation": {**observation}, **FLAGS, **step}
    return F.FeaturesDict({"steps": F.Dataset(columns), **top})


def early(action: Mapping[str, Any], observation: Mapping[str, Any], **top: Any):
    """The first datasets of Open X-Embodiment: a dict action, the text in the observation."""
    text = {"natural_language_embedding": tensor(512), "natural_language_instruction": STRING}
    return features({**action}, {**observation, **text}, {}, **top)


def converted(action_size: int, observation: Mapping[str, Any], text=None, **step: Any):
    """Datasets that their authors converted: a vector action, the text next to the observation."""
    language = {"language_embedding": tensor(512), "language_instruction": text or F.Text()}
    metadata = F.FeaturesDict({"file_path": F.Text()})
    more = {"discount": NUMBER, **language, **step}
    return features(tensor(action_size), observation, more, episode_metadata=metadata)


def fractal():
    names = ("collection_mode", "data_type", "env", "location", "objects_family", "task_family")
    attributes = {name: tensor(dtype=np.int64) for name in names}
    attributes |= {f"{name}_name": STRING for name in names[:4]}
    aspects = ("already_success", "feasible", "has_aspects", "success", "undesirable")
    observation = {
        "base_pose_tool_reached": tensor(7),
        "gripper_closed": tensor(1),
        "gripper_closedness_commanded": tensor(1),
        "height_to_bottom": tensor(1),
        "image": camera(256, 320, "jpeg"),
        "orientation_box": tensor(2, 3),
        "orientation_start": tensor(4),
        "robot_orientation_positions_box": tensor(3, 3),
        "rotation_delta_to_go": tensor(3),
        "src_rotation": tensor(4),
        "vector_to_go": tensor(3),
        "workspace_bounds": tensor(3, 3),
    }
    return early(
        GOOGLE_ROBOT,
        observation,
        attributes=F.FeaturesDict(attributes),
        aspects=F.FeaturesDict(dict.fromkeys(aspects, FLAG)),
    )


def bridge_dataset():
    images = {f"image_{i}": camera(256, 256, "jpeg") for i in range(4)}
    return converted(7, {**images, "state": tensor(7)})


def bridge():
    action = {**DELTAS, "open_gripper": FLAG, "terminate_episode": tensor()}
    return early(action, {"image": camera(480, 640), "state": tensor(7)})


def droid():
    sizes = {"cartesian_position": 6, "gripper_position": 1, "joint_position": 7}
    velocities = {"cartesian_velocity": 6, "gripper_velocity": 1, "joint_velocity": 7}
    views = ("exterior_image_1_left", "exterior_image_2_left", "wrist_image_left")
    observation: dict[str, Any] = {key: camera(180, 320, "jpeg") for key in views}
    observation |= {key: tensor(size, dtype=np.float64) for key, size in sizes.items()}
    commands = {key: tensor(size, dtype=np.float64) for key, size in (sizes | velocities).items()}
    keys = ("language_instruction", "language_instruction_2", "language_instruction_3")
    step = {"discount": NUMBER, "action_dict": commands, **dict.fromkeys(keys, STRING)}
    metadata = F.FeaturesDict({"file_path": STRING, "recording_folderpath": STRING})
    return features(tensor(7, dtype=np.float64), observation, step, episode_metadata=metadata)


def language_table():
    observation = {
        "effector_target_translation": tensor(2),
        "effector_translation": tensor(2),
        "instruction": tensor(512, dtype=np.int32),
        "rgb": camera(360, 640, "jpeg"),
    }
    return features(tensor(2), observation, {}, episode_id=STRING)


def jaco_play():
    action = {
        "gripper_closedness_action": tensor(1),
        "terminate_episode": tensor(3, dtype=np.int32),
        "world_vector": tensor(3),
    }
    observation = {
        "end_effector_cartesian_pos": tensor(7),
        "end_effector_cartesian_velocity": tensor(6),
        "image": camera(224, 224),
        "image_wrist": camera(224, 224),
        "joint_pos": tensor(8),
    }
    return early(action, observation)


def kuka():
    observation = {
        "clip_function_input/base_pose_tool_reached": tensor(7, encoding=ZLIB),
        "clip_function_input/workspace_bounds": tensor(3, 3),
        "gripper_closed": tensor(1, encoding=ZLIB),
        "height_to_bottom": tensor(1),
        "image": camera(512, 640, "jpeg"),
        "task_id": tensor(1),
    }
    return early(GOOGLE_ROBOT, observation, success=FLAG)


def bc_z():
    action = {
        "future/axis_angle_residual": tensor(30),
        "future/target_close": tensor(10, dtype=np.int64),
        "future/xyz_residual": tensor(30),
    }
    observation = {
        "episode_success": tensor(),
        "image": camera(171, 213, "jpeg"),
        "present/autonomous": tensor(dtype=np.int64),
        "present/axis_angle": tensor(3),
        "present/intervention": tensor(dtype=np.int64),
        "present/sensed_close": tensor(1),
        "present/xyz": tensor(3),
        "sequence_length": tensor(dtype=np.int64),
    }
    return early(action, observation)


def two_views(action_size: int, size: tuple[int, int], encoding: str, state: int, **step: Any):
    views = {"image": camera(*size, encoding), "wrist_image": camera(*size, encoding)}
    return converted(action_size, {**views, "state": tensor(state)}, **step)


def furniture_bench():
    return two_views(8, (224, 224), "jpeg", state=35, skill_completion=NUMBER)


def stanford_hydra():
    return two_views(7, (240, 320), "png", state=27, is_dense=F.Scalar(np.bool_))


def nyu_franka_play():
    keys = ("image", "image_additional_view")
    depths = ("depth", "depth_additional_view")
    observation: dict[str, Any] = {key: camera(128, 128, "png") for key in keys}
    observation |= {key: tensor(128, 128, 1, dtype=np.int32) for key in depths}
    return converted(15, {**observation, "state": tensor(13)})


def robo_net():
    views = {key: camera(240, 320, "jpeg") for key in ("image", "image1", "image2")}
    return converted(5, {**views, "state": tensor(5)})


def berkeley_mvp():
    observation = {
        "gripper": F.Scalar(np.bool_),
        "hand_image": camera(480, 640, "png"),
        "joint_pos": tensor(7),
        "pose": tensor(7),
    }
    return converted(8, observation)


def maniskill():
    depth = F.Image(shape=(256, 256, 1), dtype=np.uint16, encoding_format="png")
    matrices = {"cam2world_gl": (4, 4), "extrinsic_cv": (4, 4), "intrinsic_cv": (3, 3)}
    observation: dict[str, Any] = {"depth": depth, "wrist_depth": depth}
    observation |= {key: camera(256, 256, "png") for key in ("image", "wrist_image")}
    for key, shape in matrices.items():
        observation |= {f"main_camera_{key}": tensor(*shape), f"wrist_camera_{key}": tensor(*shape)}
    for key in ("final", "initial"):
        name = f"target_object_or_part_{key}_pose"
        observation |= {name: tensor(7), f"{name}_valid": tensor(7, dtype=np.uint8)}
    poses = {"base_pose": tensor(7), "tcp_pose": tensor(7), "state": tensor(18)}
    return converted(7, observation | poses)


EXTERNAL = "_dataset_converted_externally_to_rlds"
LAYOUTS = {
    "fractal20220817_data": fractal,
    "bridge_dataset": bridge_dataset,
    "bridge": bridge,
    "droid": droid,
    "language_table": language_table,
    "jaco_play": jaco_play,
    "kuka": kuka,
    "bc_z": bc_z,
    f"furniture_bench{EXTERNAL}": furniture_bench,
    f"nyu_franka_play{EXTERNAL}": nyu_franka_play,
    "robo_net": robo_net,
    f"stanford_hydra{EXTERNAL}": stanford_hydra,
    "berkeley_mvp_converted_externally_to_rlds": berkeley_mvp,
    f"maniskill{EXTERNAL}": maniskill,
}


def write_layout(root: Path, name: str, episodes: Sequence[Rows]) -> Path:
    """Write episodes of a layout; gives the folder.

    Columns that are not given are zero; where a given row is too short, nines follow.
    """
    layout = LAYOUTS[name]()
    records = [_episode(layout, rows) for rows in episodes]
    return write_rlds(root, {"train": [records]}, features=layout, name=name, version="0.0.0")


def _episode(layout: Any, rows: Rows) -> dict[str, Any]:
    (num_steps,) = {len(values) for values in rows.values()}
    top = {key: _fill(feature, key, {}) for key, feature in layout.items() if key != "steps"}
    flags = {"is_first": 0, "is_last": num_steps - 1}
    steps = []
    for t in range(num_steps):
        given = {key: values[t] for key, values in rows.items()}
        given |= {key: t == step for key, step in flags.items()}
        steps.append(_fill(layout["steps"].feature, "", given))
    return {**top, "steps": steps}


def _fill(feature: Any, key: str, given: Mapping[str, Any]) -> Any:
    """A value for a feature and all below it."""
    if isinstance(feature, F.FeaturesDict):
        prefix = f"{key}/" if key else ""
        return {name: _fill(child, prefix + name, given) for name, child in feature.items()}
    if isinstance(feature, F.Image):
        return _image(feature, given.get(key, (30, 60, 90)))
    if isinstance(feature, F.Text) or feature.np_dtype == np.object_:
        return given.get(key, "")
    return _tensor(feature, given.get(key, np.zeros(feature.shape)))


def _tensor(feature: Any, values: Any) -> np.ndarray:
    start = np.ravel(values)
    nines = np.full(int(np.prod(feature.shape)) - len(start), 9)
    return np.concatenate([start, nines]).astype(feature.np_dtype).reshape(feature.shape)


def _image(feature: Any, colour: tuple[int, int, int]) -> io.BytesIO:
    if feature.np_dtype == np.uint16:
        return encode_image(np.full(feature.shape[:2], 1024, np.uint16))
    frame = np.full(feature.shape, colour, np.uint8)
    return encode_image(frame, "JPEG" if feature.encoding_format == "jpeg" else "PNG")
