"""A dataset of a chosen size, made of the episodes of another one, to measure reading on."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorflow_datasets.proto import tf_example_pb2

from genie_robo.data.dataset import EpisodeDataset
from genie_robo.data.folders import FEATURES_FILE, INFO_FILE
from genie_robo.data.index import RecordEntry, build_index
from genie_robo.data.schema import open_schema
from genie_robo.data.shards import TFRECORD, frame_tfrecord, read_record

NAME, SPLIT, VERSION = "speed", "train", "1.0.0"


def choose_records(
    dataset: EpisodeDataset, *, num_episodes: int, min_steps: int
) -> list[RecordEntry]:
    """The first records of a dataset that hold usable episodes of at least `min_steps` steps."""
    usable = set(dataset.episode_ids)
    chosen: dict[str, RecordEntry] = {}
    for entry in build_index(dataset.folder).entries:
        if entry.episode_id in usable and entry.num_steps >= min_steps:
            chosen.setdefault(entry.episode_id, entry)
    return list(chosen.values())[:num_episodes]


def write_copies(
    root: Path, dataset: EpisodeDataset, records: Sequence[RecordEntry], *, num_copies: int
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
    write_info(folder, [len(records)] * num_copies)
    for copy in range(num_copies):
        with (folder / shard_name(copy, num_copies)).open("wb") as file:
            for entry in records:
                record = read_record(entry.shard, entry.span, file_format)
                file.write(frame_tfrecord(record + mark(copy)))
    return folder


def mark(copy: int) -> bytes:
    """A feature that, behind the bytes of a record, becomes one of its features."""
    messages: Any = tf_example_pb2
    example = messages.Example()
    example.features.feature["copy"].int64_list.value.append(copy)
    return example.SerializeToString()


def shard_name(number: int, count: int) -> str:
    """The file of a shard, numbered from 0."""
    return f"{NAME}-{SPLIT}.{TFRECORD}-{number:05d}-of-{count:05d}"


def write_info(folder: Path, shard_lengths: Sequence[int]) -> None:
    """dataset_info.json of tfrecord shards with so many records each."""
    split = {
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        "name": SPLIT,
        "numBytes": "1",
        "shardLengths": [str(length) for length in shard_lengths],
    }
    info = {"fileFormat": TFRECORD, "name": NAME, "splits": [split], "version": VERSION}
    (folder / INFO_FILE).write_text(json.dumps(info))
