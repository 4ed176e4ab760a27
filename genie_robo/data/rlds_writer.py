"""Episodes of arrays, written as an RLDS folder that tensorflow_datasets opens. No TensorFlow.

with write_rlds("my_robot/1.0.0") as writer:
for frames, actions, states in episodes:
writer.add_episode(frames, actions, states, instruction="pick up the cup")
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from etils import epath
from jaxtyping import Float, UInt8
from tensorflow_datasets.core.example_serializer import ExampleSerializer
from tensorflow_datasets.core.file_adapters import FileFormat

from genie_robo.atomic import replacing
from genie_robo.data.features import Feature
from genie_robo.data.images import png_bytes
from genie_robo.data.shards import claim_array_record
from genie_robo.disk_space import check_growth

EPISODES_PER_SHARD = 60
_VERSION = "1.0.0"
_PENDING = "{name}-train.array_record-{number:05d}-of-pending"
"""A shard's name until it is known how many there are."""


class ShardWriter:
    """Appends episodes of any features to the shards of a folder; `finish` writes the metadata."""

    def __init__(
        self, folder: Path, *, name: str, version: str, features: Any, description: str
    ) -> None:
        """Begin a dataset in an existing, empty folder.

        Args:
            folder: Where the shards and the two JSON files go.
            name: Of the dataset, as TFDS knows it.
            version: Such as 1.0.0.
            features: A `FeaturesDict` of tensorflow_datasets.
            description: One sentence for `dataset_info.json`.
        """
        self._folder, self._name, self._features = folder, name, features
        self._serializer = ExampleSerializer(features.get_serialized_info())
        identity = tfds.core.DatasetIdentity(
            name=name, version=tfds.core.Version(version), data_dir=str(folder), module_name=""
        )
        self._info = tfds.core.DatasetInfo(
            builder=identity, features=features, description=description
        )
        self._shard_lengths: list[int] = []
        self._num_bytes = 0
        self._shard: Any = None

    @property
    def num_episodes(self) -> int:
        """How many were written."""
        return sum(self._shard_lengths)

    def write(self, episode: dict[str, Any]) -> None:
        """Append one episode: a dict as the features describe it, images as encoded bytes."""
        example = self._serializer.get_tf_example(self._features.encode_example(episode))
        # Sorted maps: the same episode has the same bytes and the same hash on every machine.
        record = example.SerializeToString(deterministic=True)
        if not self._shard_lengths or self._shard_lengths[-1] == EPISODES_PER_SHARD:
            self.close()
            claim_array_record()
            self._shard_lengths.append(0)
            self._shard = ArrayRecordWriter(str(self._pending), "group_size:1")
        with self._finding_room():
            self._shard.write(record)
        self._shard_lengths[-1] += 1
        self._num_bytes += len(record)

    def close(self) -> None:
        """Close the shard that is open; the folder is no dataset yet."""
        if self._shard is not None:
            with self._finding_room():
                self._shard.close()
            self._shard = None

    def finish(self) -> None:
        """Give the shards their final names, and write features.json and dataset_info.json."""
        self.close()
        template = tfds.core.ShardedFileTemplate(
            dataset_name=self._name,
            data_dir=epath.Path(self._folder),
            split="train",
            filetype_suffix="array_record",
        )
        count = len(self._shard_lengths)
        for number in range(count):
            final = template.sharded_filepath(shard_index=number, num_shards=count)
            self._pending_path(number).rename(final)
        split = tfds.core.SplitInfo(
            name="train",
            shard_lengths=self._shard_lengths,
            num_bytes=self._num_bytes,
            filename_template=template,
        )
        self._info.set_file_format(FileFormat.ARRAY_RECORD)
        self._info.set_splits(tfds.core.SplitDict([split]))
        self._info.write_to_directory(self._folder)

    @property
    def _pending(self) -> Path:
        return self._pending_path(len(self._shard_lengths) - 1)

    def _pending_path(self, number: int) -> Path:
        return self._folder / _PENDING.format(name=self._name, number=number)

    @contextmanager
    def _finding_room(self) -> Iterator[None]:
        """Raise an OSError where the shard could not grow; ArrayRecord raises without a number."""
        try:
            yield
        except (RuntimeError, ValueError):
            check_growth(self._pending)
            raise


@contextmanager
def write_rlds(
    folder: Path | str, *, name: str = "", description: str = "Episodes of a robot."
) -> Iterator["RldsWriter"]:
    """Write episodes of arrays; the folder appears, complete, when the `with` block ends.

    A block that fails leaves nothing.

    Args:
        folder: The version folder, such as `my_robot/1.0.0`. It must not exist.
        name: Of the dataset, letters, digits and _; by default the name of the folder above.
        description: One sentence for `dataset_info.json`.

    Raises:
        FileExistsError: There is something at the folder's place.
        ValueError: No episode was added.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists: give another folder, or delete it")
    with replacing(folder) as temporary:
        temporary.mkdir()
        writer = RldsWriter(
            temporary,
            name=name or folder.resolve().parent.name,
            version=folder.name if tfds.core.Version.is_valid(folder.name) else _VERSION,
            description=description,
        )
        try:
            yield writer
        finally:
            writer.close()
        writer.finish()


class RldsWriter:
    """Appends episodes of arrays, see `write_rlds`.

    The columns are `observation/image` (PNG), `action`, `observation/state` where there are states,
    `language_instruction`, `is_first` and `is_last`. Sizes are those of the first episode.
    """

    def __init__(self, folder: Path, *, name: str, version: str, description: str) -> None:
        self._open = partial(
            ShardWriter, folder, name=name, version=version, description=description
        )
        self._shards: ShardWriter | None = None
        self._sizes: dict[str, tuple[int, ...]] = {}

    def add_episode(
        self,
        frames: UInt8[np.ndarray, "t h w 3"],
        actions: Float[np.ndarray, "n a"],
        states: Float[np.ndarray, "t s"] | None = None,
        instruction: str = "",
    ) -> None:
        """Append one episode.

        Args:
            frames: RGB images, two or more.
            actions: One for each frame, or one for each transition between two frames: action i is
                taken at frame i. That of the last frame is never read.
            states: What the robot measures at each frame, such as its pose; in all episodes or
                in none.
            instruction: Language instruction of the episode.

        Raises:
            ValueError: Lengths do not fit, a number is not finite, or sizes differ from those of
                the first episode.
        """
        arrays = {"frames": frames, "actions": _one_per_frame(actions, len(frames))}
        if states is not None:
            arrays["states"] = states
        _check(arrays)
        sizes = {what: values.shape[1:] for what, values in arrays.items()}
        if self._shards is None:
            self._shards, self._sizes = self._open(features=_features(sizes)), sizes
        if sizes != self._sizes:
            raise ValueError(
                f"this episode has {_listing(sizes)}, but the first one has "
                f"{_listing(self._sizes)}; all episodes of a dataset have the same sizes"
            )
        self._shards.write({"steps": [*_steps(arrays, instruction)]})

    def close(self) -> None:
        """Close what is open; the folder is no dataset yet."""
        if self._shards is not None:
            self._shards.close()

    def finish(self) -> None:
        """Write the metadata.

        Raises:
            ValueError: No episode was added.
        """
        if self._shards is None:
            raise ValueError("no episode was added, so no dataset is written")
        self._shards.finish()


class RldsColumnsWriter:
    """Appends episodes of any columns, such as those of another dataset, see `ShardWriter`."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        version: str,
        description: str,
        columns: Mapping[str, Feature],
    ) -> None:
        """Begin a dataset in an existing, empty folder.

        Args:
            folder: Where the dataset goes.
            name: Of the dataset, letters, digits and _.
            version: Such as 1.0.0.
            description: One sentence for `dataset_info.json`.
            columns: By key with slashes: images, texts, and tensors of numbers of one shape.
        """
        step = _nested({key: _column(feature) for key, feature in columns.items()})
        features = tfds.features.FeaturesDict(
            {
                "steps": tfds.features.Dataset(step | {"is_first": np.bool_, "is_last": np.bool_}),
                "episode_metadata": {"source_id": tfds.features.Text()},
            }
        )
        self._shards = ShardWriter(
            folder, name=name, version=version, features=features, description=description
        )

    def write(self, columns: Mapping[str, Sequence[Any] | np.ndarray], *, source_id: str) -> None:
        """Append one episode.

        Args:
            columns: By key, with one row per step; images are bytes of JPEG or PNG.
            source_id: Id of the episode that it is a copy of.
        """
        last = len(next(iter(columns.values()))) - 1
        steps = [
            _nested({key: _stored(values[t]) for key, values in columns.items()})
            | {"is_first": t == 0, "is_last": t == last}
            for t in range(last + 1)
        ]
        self._shards.write({"steps": steps, "episode_metadata": {"source_id": source_id}})

    def finish(self) -> None:
        """Write the metadata."""
        self._shards.finish()

    def close(self) -> None:
        """Close what is open; the folder is no dataset yet."""
        self._shards.close()


def _column(feature: Feature) -> Any:
    features = tfds.features
    if feature.kind == "text":
        return features.Text()
    if feature.kind == "image":
        return features.Image(
            shape=feature.shape, dtype=np.uint8, encoding_format=feature.encoding or "png"
        )
    # Floats are stored with 32 bits, unless they are stored as bytes.
    is_long = feature.dtype == "float64"
    encoding = features.Encoding.BYTES if is_long else features.Encoding.NONE
    return features.Tensor(shape=feature.shape, dtype=np.dtype(feature.dtype), encoding=encoding)


def _nested(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Keys with slashes as dicts in dicts."""
    found: dict[str, Any] = {}
    for key, value in columns.items():
        *folders, name = key.split("/")
        inside = found
        for folder in folders:
            inside = inside.setdefault(folder, {})
        inside[name] = value
    return found


def _stored(value: Any) -> Any:
    """Encoded images as files, which tensorflow_datasets copies."""
    return io.BytesIO(value) if isinstance(value, bytes) else value


def _one_per_frame(actions: np.ndarray, num_frames: int) -> np.ndarray:
    """With a row of zeros for the last frame, if it has none."""
    if len(actions) == num_frames - 1:
        return np.concatenate([actions, np.zeros_like(actions[:1])])
    return actions


def _check(arrays: dict[str, np.ndarray]) -> None:
    frames = arrays["frames"]
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(
            f"frames are {frames.dtype} of shape {frames.shape}, but they must be uint8 RGB images "
            "of shape (t, h, w, 3)"
        )
    num_frames = len(frames)
    if num_frames < 2:
        raise ValueError(f"an episode has two frames or more, not {num_frames}")
    for what, values in arrays.items():
        if len(values) != num_frames:
            raise ValueError(f"there are {len(values)} {what} for {num_frames} frames")
        if what != "frames" and values.ndim != 2:
            raise ValueError(f"{what} have the shape {values.shape}, not (t, number)")
        if not np.isfinite(values).all():
            step = int(np.argwhere(~np.isfinite(values))[0, 0])
            raise ValueError(f"{what} of step {step} are not finite")


def _features(sizes: dict[str, tuple[int, ...]]) -> Any:
    features = tfds.features
    observation: dict[str, Any] = {
        "image": features.Image(shape=sizes["frames"], dtype=np.uint8, encoding_format="png")
    }
    if "states" in sizes:
        observation["state"] = features.Tensor(shape=sizes["states"], dtype=np.float32)
    step = {
        "observation": observation,
        "action": features.Tensor(shape=sizes["actions"], dtype=np.float32),
        "language_instruction": features.Text(),
        "is_first": np.bool_,
        "is_last": np.bool_,
    }
    return features.FeaturesDict({"steps": features.Dataset(step)})


def _steps(arrays: dict[str, np.ndarray], instruction: str) -> Iterator[dict[str, Any]]:
    last = len(arrays["frames"]) - 1
    for t, frame in enumerate(arrays["frames"]):
        observation: dict[str, Any] = {"image": io.BytesIO(png_bytes(frame))}
        if "states" in arrays:
            observation["state"] = arrays["states"][t].astype(np.float32)
        yield {
            "observation": observation,
            "action": arrays["actions"][t].astype(np.float32),
            "language_instruction": instruction,
            "is_first": t == 0,
            "is_last": t == last,
        }


def _listing(sizes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{what} of {'x'.join(map(str, size))}" for what, size in sizes.items())
