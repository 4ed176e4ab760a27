"""The index of a dataset: location of every record, checked once and cached next to it."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from genie_robo.data.schema import (
    FEATURES_FILE,
    INFO_FILE,
    Columns,
    Schema,
    ShardFile,
    open_schema,
    parse_record,
)
from genie_robo.data.shards import Span, find_records, read_record
from genie_robo.data.sources import Feature
from genie_robo.progress import progress_bar
from genie_robo.run_folder import write_atomic

INDEX_FORMAT = 2
"""Version of the cache; older index files are rebuilt."""
_ID_BYTES = 8
_QUIET_BYTES = 200_000_000
"""Smaller datasets are indexed in a second or two, without a progress bar."""
_ANY_WRITE = 0o222
_SAVED = ("number", "offset", "length", "episode_id", "num_steps", "problem")
_NO_INDEX = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
"""Raised by reading a file that is not an index."""
_IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEntry:
    """One stored record."""

    shard: Path
    number: int
    """Index of the record in its shard."""
    offset: int
    """Byte offset of the data (tfrecord) or record number (array_record)."""
    length: int
    episode_id: str
    """blake2b of the record's bytes, 16 hexadecimal characters."""
    num_steps: int
    problem: str = ""
    """Why the record cannot be read; empty when it can."""
    bad_keys: tuple[str, ...] = ()
    """Columns that are missing or hold values that are not finite or not an image."""

    @property
    def span(self) -> Span:
        """Location of the record in its shard."""
        return Span(self.offset, self.length)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetIndex:
    """All records of the chosen RLDS splits, in stored order."""

    schema: Schema
    entries: tuple[RecordEntry, ...]
    fingerprint: str
    """Hash of the stored content; equal for copies of a dataset."""

    @property
    def folder(self) -> Path:
        """The version folder."""
        return self.schema.folder

    @property
    def features(self) -> Mapping[str, Feature]:
        """Columns of a step by key."""
        return self.schema.features

    def read(self, entry: RecordEntry) -> Columns:
        """The columns of one record.

        Raises:
            ValueError: The record is damaged.
            OSError: The shard cannot be read.
        """
        return parse_record(
            read_record(entry.shard, entry.span, self.schema.file_format), self.schema
        )


def build_index(path: Path, rlds_splits: Sequence[str] = ()) -> DatasetIndex:
    """Index an RLDS folder: one pass over its bytes, or the cached result of one.

    The cache is a small JSON file per split in the dataset's folder, or in the user's cache folder
    if that is read-only. It is rebuilt when a file has changed.

    Raises:
        FileNotFoundError: There is no dataset, or a shard is missing.
        ValueError: A shard is empty, a Git LFS pointer, cut, damaged or misses records.
    """
    schema = open_schema(path, rlds_splits)
    entries: list[RecordEntry] = []
    for split, shards in groupby(schema.shards, key=lambda shard: shard.split):
        entries += _index_split(schema, split, list(shards))
    if not entries:
        raise ValueError(f"{schema.folder} holds no episodes; check data.rlds_splits")
    return DatasetIndex(
        schema=schema,
        entries=tuple(entries),
        fingerprint=digest(*(entry.episode_id.encode() for entry in entries)),
    )


def digest(*parts: bytes) -> str:
    """blake2b of byte strings, as 16 hexadecimal characters."""
    return hashlib.blake2b(b"".join(parts), digest_size=_ID_BYTES).hexdigest()


def index_files(folder: Path, split: str) -> tuple[Path, ...]:
    """Possible paths of the index of a split."""
    return cache_files(folder, f"index_{split}")


def cache_files(folder: Path, name: str) -> tuple[Path, ...]:
    """Paths at which a result about a dataset may be cached: next to it, then the user's cache.

    Nothing is written to a folder without write permission, even by the superuser.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = digest(str(folder.resolve()).encode())
    elsewhere = cache / "genie_robo" / f"{folder.parent.name}_{place}_{name}.json"
    if folder.stat().st_mode & _ANY_WRITE:
        return (folder / f".genie_robo_{name}.json", elsewhere)
    return (elsewhere,)


def write_cache(files: Sequence[Path], text: str) -> bool:
    """Write the first of the files that can be written; False when none can."""
    for file in files:
        try:
            write_atomic(file, text)
        except OSError as error:
            _log.debug("cannot write %s: %s", file, error)
        else:
            return True
    return False


def _index_split(schema: Schema, split: str, shards: list[ShardFile]) -> list[RecordEntry]:
    """Cached entries if they are valid, else new ones."""
    files = index_files(schema.folder, split)
    stamp = _stamp(schema.folder, shards)
    for file in files if stamp else ():
        cached = _load(file, stamp, schema.folder)
        if cached is not None:
            return cached
    spans = {shard.path: _spans(shard, schema.file_format) for shard in shards}
    entries = list(_scan(schema, split, spans))
    _save(files, stamp, entries, schema.folder)
    return entries


def _spans(shard: ShardFile, file_format: str) -> list[Span]:
    spans = find_records(shard.path, file_format)
    if len(spans) != shard.num_records:
        raise ValueError(
            f"shard {shard.path} holds {len(spans)} records, but {INFO_FILE} says "
            f"{shard.num_records}: it is cut, damaged or of another version; download it again"
        )
    return spans


def _scan(schema: Schema, split: str, spans: Mapping[Path, list[Span]]) -> Iterator[RecordEntry]:
    """Read every record once: checksum, identity, number of steps, unusable columns."""
    total = sum(len(found) for found in spans.values())
    is_large = sum(shard.stat().st_size for shard in spans) >= _QUIET_BYTES
    title = f"index {schema.name} {split}"
    with progress_bar(title, total=total, unit="episodes", visible=is_large) as advance:
        for shard, found in spans.items():
            for number, span in enumerate(found):
                yield _examine(schema, shard, number, span)
                advance()


def _examine(schema: Schema, shard: Path, number: int, span: Span) -> RecordEntry:
    place = {"shard": shard, "number": number, "offset": span.offset, "length": span.length}
    try:
        raw = read_record(shard, span, schema.file_format)
    except ValueError as error:
        unknown = digest(f"{shard.name} {span.offset}".encode())
        return RecordEntry(**place, episode_id=unknown, num_steps=0, problem=str(error))
    try:
        columns = parse_record(raw, schema)
    except ValueError as error:
        return RecordEntry(**place, episode_id=digest(raw), num_steps=0, problem=str(error))
    bad = tuple(
        key
        for key, feature in schema.features.items()
        if feature.kind != "other" and _is_bad(key, columns.steps.get(key), feature)
    )
    return RecordEntry(**place, episode_id=digest(raw), num_steps=columns.num_steps, bad_keys=bad)


def _is_bad(key: str, column: np.ndarray | None, feature: Feature) -> bool:
    """Whether a column is missing, not finite, or holds images that are not JPEG or PNG."""
    if column is None:
        return True
    if feature.kind == "image":
        return not all(bytes(image).startswith(_IMAGE_STARTS) for image in column)
    if column.dtype.kind != "f":
        return False
    rows = column[:-1] if key.startswith("action") else column  # the last action is never used
    return not bool(np.isfinite(rows).all())


def _stamp(folder: Path, shards: Sequence[ShardFile]) -> str:
    """Names, sizes and times of the files an index was made from; empty if one is missing."""
    files = [shard.path for shard in shards] + [folder / FEATURES_FILE, folder / INFO_FILE]
    try:
        stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except FileNotFoundError:
        return ""
    return digest(json.dumps([INDEX_FORMAT, stats]).encode())


def _save(
    files: tuple[Path, ...], stamp: str, entries: Sequence[RecordEntry], folder: Path
) -> None:
    shards = list(dict.fromkeys(entry.shard.name for entry in entries))
    numbers = {name: number for number, name in enumerate(shards)}
    rows = [
        [numbers[e.shard.name], e.bad_keys, *(getattr(e, name) for name in _SAVED)] for e in entries
    ]
    content = {"stamp": stamp, "shards": shards, "records": rows}
    if not write_cache(files, json.dumps({"checksum": _checksum(content), **content})):
        _log.warning("the index of %s cannot be kept: it will be made again next time", folder)


def _load(file: Path, stamp: str, folder: Path) -> list[RecordEntry] | None:
    """The cached entries, or None if there are none or the dataset has changed."""
    try:
        content = json.loads(file.read_text())
        if content.pop("checksum") != _checksum(content) or content["stamp"] != stamp:
            return None
        shards = [folder / name for name in content["shards"]]
        return [
            RecordEntry(
                shard=shards[shard],
                bad_keys=tuple(bad_keys),
                **dict(zip(_SAVED, values, strict=True)),
            )
            for shard, bad_keys, *values in content["records"]
        ]
    except (OSError, *_NO_INDEX) as error:
        _log.debug("no usable index in %s: %s", file, error)
        return None


def _checksum(content: Mapping[str, Any]) -> str:
    return digest(json.dumps(content).encode())
