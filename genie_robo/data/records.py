"""Stored episodes as columns. A column is decoded when it is asked for, and only then."""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from genie_robo.data.features import MAX_COLUMN_BYTES, Feature

_STEPS = "steps/"
_SCENE = "episode_metadata/scene"


class Steps(Mapping[str, np.ndarray]):
    """The columns of one episode by key, each with one row per step; images stay encoded.

    It contains the columns that can be read. Asking for another one says why it cannot.
    """

    def __init__(
        self,
        features: Mapping[str, Feature],
        num_steps: int,
        decode: Callable[[str], np.ndarray],
    ) -> None:
        """Wrap one episode.

        Args:
            features: Columns of a step by key.
            num_steps: Steps of the episode.
            decode: Decodes a stored column. It raises ValueError where the column is missing or
                damaged, with what follows the key in the message.
        """
        self._features = features
        self._decode = decode
        self._read: dict[str, np.ndarray] = {}
        self.num_steps = num_steps

    def __getitem__(self, key: str) -> np.ndarray:
        """One column.

        Raises:
            KeyError: The dataset has no such column.
            ValueError: The episode lacks it, or it is damaged, too large or has another length.
        """
        if key not in self._read:
            column = self.decode(key)
            if len(column) != self.num_steps:
                raise ValueError(f"{key} has {len(column)} steps, the episode {self.num_steps}")
            self._read[key] = column
        return self._read[key]

    def find(self, key: str) -> np.ndarray | None:
        """A column, or None where it cannot be read."""
        try:
            return self[key]
        except (KeyError, ValueError):
            return None

    def decode(self, key: str) -> np.ndarray:
        """One column of any length.

        Raises:
            ValueError: It is missing, damaged or too large.
        """
        feature = self._features[key]
        if feature.why_unreadable:
            raise ValueError(f"{key} cannot be read: {feature.why_unreadable}")
        try:
            return self._decode(key)
        except ValueError as error:
            raise ValueError(f"{key} {error}") from error

    def __iter__(self) -> Iterator[str]:
        """Keys of the columns that can be read."""
        return (key for key in self._features if key in self)

    def __contains__(self, key: object) -> bool:
        """Whether a column can be read."""
        return isinstance(key, str) and self.find(key) is not None

    def __len__(self) -> int:
        """Number of columns that can be read."""
        return sum(1 for _ in self)


@dataclass(frozen=True, slots=True)
class Columns:
    """One stored episode."""

    steps: Steps
    scene: bytes = b""
    """The description of a simulated scene; empty where there is none."""

    @property
    def num_steps(self) -> int:
        """Rows of every column."""
        return self.steps.num_steps


def parse_record(
    raw: bytes, features: Mapping[str, Feature], *, num_steps: int | None = None
) -> Columns:
    """One stored record; its columns are decoded when they are asked for.

    Args:
        raw: A serialised tf.train.Example.
        features: Columns of a step by key.
        num_steps: Steps of the episode; None takes the length that most columns have.

    Raises:
        ValueError: The bytes are no such record, or it has no steps.
    """
    # Importing tensorflow_datasets takes a second, which commands without a dataset do not need.
    from tensorflow_datasets.proto import tf_example_pb2

    messages: Any = tf_example_pb2
    try:
        stored = messages.Example.FromString(raw).features.feature
    except DecodeError as error:
        raise ValueError(f"it is not an episode ({error})") from error
    if num_steps is None:
        num_steps = _usual_length(stored, features)
    if not num_steps:
        raise ValueError("it is not an episode with these features: it has no steps")
    return Columns(Steps(features, num_steps, partial(_column, stored, features)), _scene(stored))


def _usual_length(stored: Mapping[str, Any], features: Mapping[str, Feature]) -> int:
    """The number of steps that most columns have, counted without decoding any."""
    lengths = Counter(
        len(_values(stored[f"{_STEPS}{key}"])) // _values_per_step(feature)
        for key, feature in features.items()
        if not feature.why_unreadable and f"{_STEPS}{key}" in stored
    )
    return lengths.most_common(1)[0][0] if lengths else 0


def _scene(stored: Mapping[str, Any]) -> bytes:
    values = _values(stored[_SCENE]) if _SCENE in stored else ()
    return values[0] if len(values) == 1 and isinstance(values[0], bytes) else b""


def _column(stored: Mapping[str, Any], features: Mapping[str, Feature], key: str) -> np.ndarray:
    if f"{_STEPS}{key}" not in stored:
        raise ValueError("is missing")
    return _decode(_values(stored[f"{_STEPS}{key}"]), features[key])


def _values(stored: Any) -> Any:
    """The list of values of a tf.train.Feature."""
    kind = stored.WhichOneof("kind")
    return getattr(stored, kind).value if kind else ()


def _values_per_step(feature: Feature) -> int:
    is_one = feature.kind != "tensor" or (feature.encoding and feature.holds_numbers)
    return 1 if is_one else feature.size or 1


def _decode(values: Any, feature: Feature) -> np.ndarray:
    holds_bytes = len(values) > 0 and isinstance(values[0], bytes)
    if feature.holds_numbers and not feature.encoding:
        if holds_bytes:
            raise ValueError(f"holds bytes, not {feature.dtype}")
        return _rows(_numbers(values, feature.dtype), feature)
    if len(values) and not holds_bytes:
        raise ValueError("holds numbers, not bytes")
    if feature.holds_numbers:
        return _inflate(values, feature)
    rows = np.array(values, dtype=object)
    return _rows(rows, feature) if feature.kind == "tensor" else rows


def _numbers(values: Any, dtype: str) -> np.ndarray:
    """Stored 64-bit integers or 32-bit floats as the column's own type."""
    stored = np.array(values)
    if stored.dtype.kind == "f" and not dtype.startswith("float") and len(stored):
        raise ValueError(f"holds floats, not {dtype}")
    numbers = stored.astype(dtype)
    # Every uint64 is stored as the int64 of the same bits.
    is_narrow = dtype.startswith(("int", "uint")) and dtype != "uint64"
    if is_narrow and not np.array_equal(numbers, stored):
        raise ValueError(f"holds numbers beyond {dtype}")
    return numbers


def _rows(values: np.ndarray, feature: Feature) -> np.ndarray:
    size = feature.size or 1
    if len(values) % size:
        raise ValueError(f"holds {len(values)} values, not {size} for every step")
    return values.reshape(-1, *(axis or 1 for axis in feature.shape))


def _inflate(rows: Any, feature: Feature) -> np.ndarray:
    """Tensors that are stored as bytes, back to numbers."""
    size = feature.step_bytes
    if len(rows) * size > MAX_COLUMN_BYTES:
        raise ValueError(
            f"would have {len(rows) * size} bytes, more than the {MAX_COLUMN_BYTES} that a column "
            "of an episode may have"
        )
    plain = bytearray()
    for row in rows:
        data = _decompress(row, size) if feature.encoding == "zlib" else row
        if len(data) != size:
            raise ValueError(f"has a step of {len(data)} bytes instead of {size}")
        plain += data
    return np.frombuffer(plain, feature.dtype).reshape(len(rows), *(a or 1 for a in feature.shape))


def _decompress(row: bytes, size: int) -> bytes:
    """Decompress a tensor of `size` bytes; no more than that is ever inflated."""
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(row, size + 1)
    except zlib.error as error:
        raise ValueError(f"is not compressed by zlib ({error})") from error
    if len(data) > size or not stream.eof:
        raise ValueError(f"has a compressed step that does not have the {size} bytes it should")
    return data
