"""Writes episodes as a TFDS folder in array_record files, without TensorFlow."""

from pathlib import Path
from types import TracebackType
from typing import Any

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from etils import epath
from tensorflow_datasets.core.example_serializer import ExampleSerializer
from tensorflow_datasets.core.file_adapters import FileFormat

_EPISODES_PER_SHARD = 60


class RldsWriter:
    """Appends episodes to shards in the order given; the metadata is written on leaving.

    `tfds.builder_from_directory` opens the folder.
    """

    def __init__(
        self, folder: Path, *, name: str, version: str, num_episodes: int, features: Any
    ) -> None:
        self._folder = folder
        self._features = features
        self._serializer = ExampleSerializer(features.get_serialized_info())
        self._num_shards = -(-num_episodes // _EPISODES_PER_SHARD)
        self._template = tfds.core.ShardedFileTemplate(
            dataset_name=name,
            data_dir=epath.Path(folder),
            split="train",
            filetype_suffix="array_record",
        )
        identity = tfds.core.DatasetIdentity(
            name=name, version=tfds.core.Version(version), data_dir=str(folder), module_name=""
        )
        self._info = tfds.core.DatasetInfo(
            builder=identity, features=features, description="Scripted robot episodes in MuJoCo."
        )
        self._shard_lengths: list[int] = []
        self._num_bytes = 0
        self._shard: Any = None

    def write(self, episode: dict[str, Any]) -> None:
        """Append one episode: a dict as the features want it, images as encoded bytes."""
        example = self._serializer.get_tf_example(self._features.encode_example(episode))
        # Sorted maps: the same episode has the same bytes, and so the same hash, everywhere.
        record = example.SerializeToString(deterministic=True)
        if not self._shard_lengths or self._shard_lengths[-1] == _EPISODES_PER_SHARD:
            self._next_shard()
        self._shard.write(record)
        self._shard_lengths[-1] += 1
        self._num_bytes += len(record)

    def _next_shard(self) -> None:
        self._close_shard()
        path = self._template.sharded_filepath(
            shard_index=len(self._shard_lengths), num_shards=self._num_shards
        )
        self._shard = ArrayRecordWriter(str(path), "group_size:1")
        self._shard_lengths.append(0)

    def _close_shard(self) -> None:
        if self._shard is not None:
            self._shard.close()
            self._shard = None

    def __enter__(self) -> "RldsWriter":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close_shard()
        if error is None:
            self._write_info()

    def _write_info(self) -> None:
        split = tfds.core.SplitInfo(
            name="train",
            shard_lengths=self._shard_lengths,
            num_bytes=self._num_bytes,
            filename_template=self._template,
        )
        self._info.set_file_format(FileFormat.ARRAY_RECORD)
        self._info.set_splits(tfds.core.SplitDict([split]))
        self._info.write_to_directory(self._folder)
