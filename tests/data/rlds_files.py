"""RLDS folders written from plain arrays, as tensorflow_datasets would have, without TensorFlow."""

import io
import json
import struct
from dataclasses import replace
from pathlib import Path

import google_crc32c
import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image

from genie_robo.data.rlds import RldsDataset
from genie_robo.data.settings import (
    ActionSource,
    Gripper,
    Motion,
    PoseSource,
    RotationFormat,
    Source,
)

F = tfds.features
ACTION, NO_POSE = ActionSource(), PoseSource()
POSE = replace(
    NO_POSE,
    position="observation/state[0:3]",
    rotation="observation/state[3:6]",
    gripper="observation/state[6]",
)
TABLE_SOURCE = Source(
    camera="observation/image",
    action=ACTION,
    pose=POSE,
    instruction=("language_instruction",),
    control_hz=3.0,
)
RT1_SOURCE = replace(
    TABLE_SOURCE,
    action=replace(
        ACTION,
        translation="action/world_vector",
        rotation="action/rotation_delta",
        gripper="action/gripper_closedness_action",
        gripper_format=Gripper.relative_close,
    ),
    pose=PoseSource(
        position="observation/base_pose_tool_reached[0:3]",
        rotation="observation/base_pose_tool_reached[3:7]",
        rotation_format=RotationFormat.quaternion_xyzw,
        gripper="observation/gripper_closed",
        gripper_format=Gripper.closed_one,
    ),
    instruction=("observation/natural_language_instruction",),
)


ENUMS = {"rotation_format": RotationFormat, "gripper_format": Gripper, "motion": Motion}


def _members(changes):
    return {key: ENUMS.get(key, lambda given: given)(value) for key, value in changes.items()}


def make_source(*, action=None, pose=None, **changes) -> Source:
    """The table's source with changes; `action` and `pose` hold changes of those parts by name."""
    return replace(
        TABLE_SOURCE,
        action=replace(ACTION, **_members(action or {})),
        pose=replace(POSE, **_members(pose or {})) if not isinstance(pose, PoseSource) else pose,
        **changes,
    )


def encode_image(pixels: np.ndarray, kind: str = "PNG") -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    file.seek(0)
    return file


def grey(level: int, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    return np.full((*size, 3), level, np.uint8)


def table_features(size: tuple[int, int] = (8, 8)):
    return F.FeaturesDict(
        {
            "steps": F.Dataset(
                {
                    "observation": {
                        "image": F.Image(shape=(*size, 3), encoding_format="png"),
                        "wrist": F.Image(shape=(*size, 3), encoding_format="png"),
                        "depth": F.Image(shape=(*size, 1), encoding_format="png"),
                        "state": F.Tensor(shape=(7,), dtype=np.float32),
                        "matrix": F.Tensor(shape=(2, 2), dtype=np.float64, encoding="zlib"),
                    },
                    "action": F.Tensor(shape=(7,), dtype=np.float32),
                    "language_instruction": F.Text(),
                    "is_first": F.Scalar(np.bool_),
                }
            ),
            "episode_metadata": F.FeaturesDict({"scene": F.Text()}),
        }
    )


def table_episode(num_steps: int = 6, *, tag: int = 0, size=(8, 8), images=None, actions=None):
    """Frame t is grey of level t + tag; action t is (t, t/10, 0, 0, 0, 0, t % 2) unless given."""
    if actions is None:
        actions = np.zeros((num_steps, 7), np.float32)
        actions[:, 0] = np.arange(num_steps)
        actions[:, 1] = np.arange(num_steps) / 10
        actions[:, 6] = np.arange(num_steps) % 2
    if images is None:
        images = [encode_image(grey(t + tag, size)) for t in range(num_steps)]
    depth = encode_image(np.zeros(size, np.uint8)).getvalue()
    return {
        "steps": [
            {
                "observation": {
                    "image": images[t],
                    "wrist": encode_image(grey(100 + t, size)),
                    "depth": io.BytesIO(depth),
                    "state": np.full(7, t + tag, np.float32),
                    "matrix": np.full((2, 2), t + 0.5),
                },
                "action": actions[t],
                "language_instruction": f"task {tag}",
                "is_first": t == 0,
            }
            for t in range(num_steps)
        ],
        "episode_metadata": {"scene": json.dumps({"tag": tag})},
    }


def rt1_features():
    """The part of RT-1's layout that is read, with the dict action as it is stored."""
    return F.FeaturesDict(
        {
            "steps": F.Dataset(
                {
                    "action": {
                        "base_displacement_vector": F.Tensor(shape=(2,), dtype=np.float32),
                        "gripper_closedness_action": F.Tensor(shape=(1,), dtype=np.float32),
                        "rotation_delta": F.Tensor(shape=(3,), dtype=np.float32),
                        "terminate_episode": F.Tensor(shape=(3,), dtype=np.int32),
                        "world_vector": F.Tensor(shape=(3,), dtype=np.float32),
                    },
                    "observation": {
                        "image": F.Image(shape=(256, 320, 3), encoding_format="jpeg"),
                        "base_pose_tool_reached": F.Tensor(shape=(7,), dtype=np.float32),
                        "gripper_closed": F.Tensor(shape=(1,), dtype=np.float32),
                        "natural_language_instruction": F.Text(),
                    },
                    "is_terminal": F.Scalar(np.bool_),
                    "reward": F.Scalar(np.float32),
                }
            ),
            "aspects": F.FeaturesDict({"success": F.Scalar(np.bool_)}),
        }
    )


def rt1_episode(gripper_commands, pose, gripper_closed):
    steps = [
        {
            "action": {
                "base_displacement_vector": np.full(2, 9, np.float32),
                "gripper_closedness_action": np.array([command], np.float32),
                "rotation_delta": np.array([0.1, 0.2, 0.3], np.float32) * t,
                "terminate_episode": np.array([0, 1, 0], np.int32),
                "world_vector": np.array([1.0, 2.0, 3.0], np.float32) * t,
            },
            "observation": {
                "image": encode_image(grey(20 * t, (256, 320)), "JPEG"),
                "base_pose_tool_reached": np.asarray(pose[t], np.float32),
                "gripper_closed": np.array([gripper_closed[t]], np.float32),
                "natural_language_instruction": "pick coke can",
            },
            "is_terminal": False,
            "reward": 0.0,
        }
        for t, command in enumerate(gripper_commands)
    ]
    return {"steps": steps, "aspects": {"success": True}}


def frame_tfrecord(data: bytes) -> bytes:
    """A record as a TFRecord file stores it."""
    length = struct.pack("<Q", len(data))
    return length + _masked_crc(length) + data + _masked_crc(data)


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    rotated = ((crc >> 15) | (crc << 17)) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + 0xA282EAD8) % 2**32)


def write_rlds(
    root: Path,
    splits: dict[str, list[list[dict]]],
    *,
    features=None,
    name: str = "table",
    file_format: str = "tfrecord",
    version: str = "1.0.0",
) -> Path:
    """Write episodes (by split, then by shard) and the two JSON files; give the version folder."""
    features = features or table_features()
    folder = root / name / version
    folder.mkdir(parents=True)
    features.save_config(str(folder))
    infos = []
    for split, shards in splits.items():
        for number, episodes in enumerate(shards):
            shard = f"{name}-{split}.{file_format}-{number:05d}-of-{len(shards):05d}"
            records = [serialize(features, episode) for episode in episodes]
            write_shard(folder / shard, records, file_format)
        infos.append(
            {
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "name": split,
                "numBytes": "1",
                "shardLengths": [str(len(episodes)) for episodes in shards],
            }
        )
    info = {"fileFormat": file_format, "name": name, "splits": infos, "version": version}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


def serialize(features, episode) -> bytes:
    return features.serialize_example(episode)


def write_shard(path: Path, records: list[bytes], file_format: str) -> None:
    if file_format == "tfrecord":
        path.write_bytes(b"".join(map(frame_tfrecord, records)))
        return
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


def only_shard(folder: Path) -> Path:
    (shard,) = folder.glob("*record-*")
    return shard


def open_table(folder: Path, *, bad_episode_limit: float = 0.01, **changes) -> RldsDataset:
    return RldsDataset(folder, make_source(**changes), bad_episode_limit=bad_episode_limit)
