"""The schema of an RLDS folder (features.json, dataset_info.json), and records parsed by it.

tensorflow_datasets reads both, without TensorFlow.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.json_format import Error as JsonError
from google.protobuf.message import DecodeError

from genie_robo.data.shards import ARRAY_RECORD, TFRECORD
from genie_robo.data.sources import Feature

FEATURES_FILE, INFO_FILE = "features.json", "dataset_info.json"
_SEARCH_DEPTH = 2
_PARSE_ERRORS = (
    DecodeError,
    JsonError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    RuntimeError,
    ImportError,
    zlib.error,
)
"""Raised by tensorflow_datasets and protobuf on bytes that are not an episode or a schema; an
unknown dtype makes them import TensorFlow."""
_MAX_INFLATED_BYTES = 2**28
"""Limit for one step of a compressed tensor whose shape varies."""
_TEXT = Feature(kind="text", dtype="string", shape=())
"""Also used for string tensors, in which older datasets store their instructions."""


class ShardFile(NamedTuple):
    """One file of a dataset."""

    path: Path
    split: str
    num_records: int
    """According to dataset_info.json."""


class Columns(NamedTuple):
    """One episode as stored: every key below steps/ with one row per step, and the rest."""

    steps: dict[str, np.ndarray]
    metadata: dict[str, Any]
    num_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """An RLDS folder before any record is read."""

    folder: Path
    name: str
    file_format: str
    features: Mapping[str, Feature]
    """Columns of a step by key, for example observation/image."""
    shards: tuple[ShardFile, ...]
    connector: Any
    """The tensorflow_datasets features, which parse records."""


def find_version_folder(path: Path) -> Path:
    """The folder with features.json: `path` itself, or the only one at most two levels below.

    Raises:
        FileNotFoundError: There is nothing, or no dataset in it.
        ValueError: There are several datasets or versions.
    """
    if not path.is_dir():
        reason = "is a file" if path.exists() else "does not exist"
        raise FileNotFoundError(
            f"data.path={path} {reason}; give the folder of an RLDS dataset, the one that holds "
            f"{FEATURES_FILE} and the shards"
        )
    for depth in range(_SEARCH_DEPTH + 1):
        found = sorted(file.parent for file in path.glob("*/" * depth + FEATURES_FILE))
        found = [folder for folder in found if not _is_hidden(folder, path)]
        if len(found) > 1:
            names = ", ".join(str(folder) for folder in found)
            raise ValueError(
                f"data.path={path} holds {len(found)} datasets or versions; choose one of {names}"
            )
        if found:
            return found[0]
    content = sorted(item.name for item in path.iterdir())
    inside = f"it holds {', '.join(content[:8])}" if content else "it is empty"
    raise FileNotFoundError(
        f"data.path={path} is not an RLDS dataset: no {FEATURES_FILE} in it or up to "
        f"{_SEARCH_DEPTH} folders below ({inside}); give the folder that holds "
        f"{FEATURES_FILE}, {INFO_FILE} and the shards"
    )


def open_schema(path: Path, rlds_splits: Sequence[str] = ()) -> Schema:
    """Read the two JSON files of an RLDS folder.

    Args:
        path: The folder, or one above it.
        rlds_splits: RLDS splits to use; empty takes all.

    Raises:
        FileNotFoundError: There is no dataset.
        ValueError: The JSON files are damaged, a split is unknown, or it is not RLDS.
    """
    import tensorflow_datasets as tfds

    folder = find_version_folder(path)
    if not (folder / INFO_FILE).exists():
        raise FileNotFoundError(
            f"{folder} has {FEATURES_FILE} but no {INFO_FILE}, which names the shards; complete "
            "the download"
        )
    try:
        builder = tfds.builder_from_directory(str(folder))
        info = builder.info
        connector: Any = info.features
        splits = {name: info.splits[name] for name in info.splits}
    except _PARSE_ERRORS as error:
        raise ValueError(
            f"{FEATURES_FILE} or {INFO_FILE} in {folder} cannot be read "
            f"({_first_line(error)}); they come from tensorflow_datasets: download them again"
        ) from error
    steps = _step_features(folder, connector.to_json()["content"])
    chosen = _choose_splits(folder, list(splits), rlds_splits)
    return Schema(
        folder=folder,
        name=info.name,
        file_format=_file_format(folder, info.file_format),
        features=dict(sorted(_flatten(steps).items())),
        shards=tuple(shard for name in chosen for shard in _shards(name, splits[name])),
        connector=connector,
    )


def parse_record(raw: bytes, schema: Schema) -> Columns:
    """One stored record as columns; images stay encoded.

    Raises:
        ValueError: The bytes do not hold an episode with these features.
    """
    from tensorflow_datasets.core.decode import SkipDecoding

    try:
        episode = schema.connector.deserialize_example_np(raw, decoders={"steps": SkipDecoding()})
        columns = dict(_columns(episode.pop("steps"), schema.features))
    except _PARSE_ERRORS as error:
        raise ValueError(f"it is not an episode ({_first_line(error)})") from error
    lengths = {key: len(column) for key, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"its columns have different lengths: {lengths}")
    metadata = episode.get("episode_metadata") or {}
    return Columns(columns, metadata, next(iter(lengths.values())))


def _columns(tree: Mapping[str, Any], features: Mapping[str, Feature], prefix: str = "") -> Any:
    for name, value in tree.items():
        key = prefix + name
        if isinstance(value, Mapping):
            yield from _columns(value, features, f"{key}/")
        elif isinstance(value, np.ndarray) and key in features:
            yield key, _inflate(value, features[key])


def _inflate(column: np.ndarray, feature: Feature) -> np.ndarray:
    """Tensors that are stored as bytes, back to numbers."""
    if feature.kind != "tensor" or not feature.encoding:
        return column
    rows = [_decompress(row, feature) if feature.encoding == "zlib" else row for row in column]
    shape = [-1 if axis is None else axis for axis in feature.shape]
    return np.stack([np.frombuffer(row, feature.dtype).reshape(shape) for row in rows])


def _decompress(row: bytes, feature: Feature) -> bytes:
    """Decompress a tensor; more bytes than its shape allows are refused."""
    size = feature.size
    limit = _MAX_INFLATED_BYTES if size is None else size * np.dtype(feature.dtype).itemsize
    inflated = zlib.decompressobj()
    data = inflated.decompress(row, limit + 1)
    if len(data) > limit or not inflated.eof:
        raise ValueError(f"a compressed tensor does not have the {limit} bytes it should")
    return data


def _step_features(folder: Path, content: Mapping[str, Any]) -> Mapping[str, Any]:
    top = content.get("features", {})
    steps = top.get("steps", {}).get("sequence", {}).get("feature", {})
    if "featuresDict" not in steps:
        raise ValueError(
            f"{folder} is a TFDS dataset but not RLDS: {FEATURES_FILE} has no `steps` dataset, "
            f"only {', '.join(sorted(top)) or 'nothing'}"
        )
    return steps


def _flatten(node: Mapping[str, Any], prefix: str = "") -> dict[str, Feature]:
    """Leaves of the feature tree by key."""
    if "featuresDict" in node:
        leaves = {}
        for name, child in node["featuresDict"]["features"].items():
            leaves |= _flatten(child, f"{prefix}/{name}" if prefix else name)
        return leaves
    return {prefix: _leaf(node)}


def _leaf(node: Mapping[str, Any]) -> Feature:
    for kind in ("image", "tensor"):
        if kind in node:
            content = node[kind]
            encoding = content.get("encodingFormat") or content.get("encoding", "")
            feature = Feature(
                kind=kind,
                dtype=content.get("dtype", "uint8"),
                shape=_shape(content),
                encoding="" if encoding == "none" else encoding,
            )
            return _TEXT if (feature.dtype, feature.shape) == (_TEXT.dtype, ()) else feature
    if "text" in node:
        return _TEXT
    if "classLabel" in node:
        return Feature(kind="tensor", dtype="int64", shape=())
    name = str(node.get("pythonClassName", "unknown")).rpartition(".")[2]
    return Feature(kind="other", dtype=name, shape=())


def _shape(content: Mapping[str, Any]) -> tuple[int | None, ...]:
    axes = [int(axis) for axis in content.get("shape", {}).get("dimensions", [])]
    return tuple(None if axis < 0 else axis for axis in axes)


def _choose_splits(folder: Path, there: list[str], wanted: Sequence[str]) -> Sequence[str]:
    unknown = [name for name in wanted if name not in there]
    if unknown:
        raise ValueError(
            f"data.rlds_splits={list(wanted)}: {folder} has no split {', '.join(unknown)}; it "
            f"has {', '.join(there) or 'none'}"
        )
    return list(dict.fromkeys(wanted)) or there


def _shards(split: str, info: Any) -> list[ShardFile]:
    if not info.num_shards:
        return []
    paths = (Path(path) for path in info.filepaths)
    counts = zip(paths, info.shard_lengths, strict=True)
    return [ShardFile(path, split, int(count)) for path, count in counts]


def _file_format(folder: Path, file_format: Any) -> str:
    name = file_format.value if file_format else TFRECORD
    if name not in (TFRECORD, ARRAY_RECORD):
        raise ValueError(
            f"{folder} is stored as {name}; genie_robo reads {TFRECORD} and {ARRAY_RECORD}. "
            "Convert it with tfds.core.FileFormat, or ask for the format in an issue"
        )
    return name


def _is_hidden(folder: Path, below: Path) -> bool:
    """Whether it is inside a folder that is still being written."""
    return any(part.startswith(".") for part in folder.relative_to(below).parts)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0][:200] or type(error).__name__
