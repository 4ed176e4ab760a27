"""A dataset of a chosen size, made of the episodes of another one, to measure reading on."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorflow_datasets.proto import tf_example_pb2

from genie_robo.data.folders import FEATURES_FILE, INFO_FILE
from genie_robo.data.index import RecordEntry, build_index
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.schema import open_schema
from genie_robo.data.shards import TFRECORD, frame_tfrecord, read_record

NAME, SPLIT, VERSION = "speed", "train", "1.0.0"


def choose_records(dataset: RldsDataset, *, num_episodes: int, min_steps: int) -> list[RecordEntry]:
    """The first records of a dataset that hold usable episodes of at least `min_steps` steps."""
    usable = set(dataset.episode_ids)
    chosen: dict[str, RecordEntry] = {}
    for entry in build_index(dataset.folder).entries:
        if entry.episode_id in usable and entry.num_steps >= min_steps:
            chosen.setdefault(entry.episode_id, entry)
    return list(chosen.values())[:num_episodes]


def write_copies(
    root: Path, dataset: RldsDataset, records: Sequence[RecordEntry], *, num_copies: int
) -> Path:
    """An RLDS folder in which every record occurs `num_copies` times, one shard for each copy.

    It is written as tfrecord, which tf.data and genie_robo both read. Each copy carries a number
    that no feature names, so that all are different episodes to a reader that knows them by their
    bytes.
    """
    file_format = open_schema(dataset.folder).file_format
    folder = root / NAME / VERSION
    folder.mkdir(parents=True)
    shutil.copy(dataset.folder / FEATURES_FILE, folder / FEATURES_FILE)
    (folder / INFO_FILE).write_text(json.dumps(_info(len(records), num_copies)))
    for copy in range(num_copies):
        shard = f"{NAME}-{SPLIT}.{TFRECORD}-{copy:05d}-of-{num_copies:05d}"
        with (folder / shard).open("wb") as file:
            for entry in records:
                record = read_record(entry.shard, entry.span, file_format)
                file.write(frame_tfrecord(record + _mark(copy)))
    return folder


def _mark(copy: int) -> bytes:
    """A feature that, behind the bytes of a record, becomes one of its features."""
    messages: Any = tf_example_pb2
    example = messages.Example()
    example.features.feature["copy"].int64_list.value.append(copy)
    return example.SerializeToString()


def _info(num_records: int, num_copies: int) -> dict[str, object]:
    split = {
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        "name": SPLIT,
        "numBytes": "1",
        "shardLengths": [str(num_records)] * num_copies,
    }
    return {"fileFormat": TFRECORD, "name": NAME, "splits": [split], "version": VERSION}
