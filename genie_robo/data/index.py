"""The index of a dataset: location of every record, checked once, and the result cached."""

import json
import logging
import math
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from genie_robo.data.cache import (
    NOT_CACHED,
    cache_file,
    digest,
    file_stamp,
    read_stamped,
    write_stamped,
)
from genie_robo.data.download import check_shards
from genie_robo.data.features import Feature
from genie_robo.data.folders import FEATURES_FILE, INFO_FILE
from genie_robo.data.records import Columns, Steps, parse_record
from genie_robo.data.remote import BAR_AFTER_S, RemoteFolder
from genie_robo.data.schema import Schema, open_schema
from genie_robo.data.shards import ShardFile, Span, find_records, read_record
from genie_robo.progress import progress_bar
from genie_robo.types import VideoFrame

INDEX_FORMAT = 3
"""Version of the cache; older index files are rebuilt."""
_EPISODE_ID = re.compile(r"[0-9a-f]{16}")
_QUIET_BYTES = 200_000_000
"""Smaller datasets are indexed in a second or two, without a progress bar."""
_CHUNK, _MAX_THREADS = 16, 8
"""Records of one call to a thread, and threads that hash them, which releases the GIL."""
_LONG_RECORD = 100_000
"""Mean bytes of a record from which on several threads are faster than one."""
SAVED = ("number", "offset", "length", "episode_id", "num_steps", "problem", "faults")
"""Fields of an entry in the cache, besides its file."""
_IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEntry:
    """One stored episode: a record of a shard, or some rows of a table."""

    shard: Path
    """The file of the record or of the rows."""
    number: int
    """Index of the record in its shard; in a LeRobot folder, of the episode in the dataset."""
    offset: int
    """Byte offset of the data (tfrecord), record number (array_record) or first row (a table)."""
    length: int
    """Bytes (tfrecord) or rows (a table)."""
    episode_id: str
    """blake2b of the episode's stored content, 16 hexadecimal characters."""
    num_steps: int
    problem: str = ""
    """Why the record cannot be read; empty when it can."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """Why columns in use cannot be used, by key: missing, not finite, no image and the like."""
    gaps: tuple[int, ...] = ()
    """Steps after which time is missing, where the format has times of steps."""

    @property
    def bad_keys(self) -> tuple[str, ...]:
        """Columns in use that cannot be used."""
        return tuple(self.faults)

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

    def name(self, entry: RecordEntry) -> str:
        """An episode's id and place, for messages."""
        return f"{entry.episode_id} (record {entry.number} of {entry.shard.name})"

    def read(self, entry: RecordEntry) -> Columns:
        """One record, whose columns are decoded when they are asked for.

        Raises:
            ValueError: The record is damaged.
            OSError: The shard cannot be read.
        """
        raw = _read_record(self.schema, entry.shard, entry.span)
        return parse_record(raw, self.schema.features, num_steps=entry.num_steps)


def build_index(
    path: Path | Schema, rlds_splits: Sequence[str] = (), *, keys: Sequence[str] = ()
) -> DatasetIndex:
    """Index an RLDS folder: one pass over its bytes, or the cached result of one.

    The cache is a small JSON file for each RLDS split in the user's cache folder, of a remote
    dataset for each shard. It is rebuilt when a file of the dataset has changed.

    Args:
        path: The folder, or its schema if that is known already.
        rlds_splits: RLDS splits to use, see `open_schema`.
        keys: The columns in use, which are checked in every record. No other one is decoded.

    Raises:
        FileNotFoundError: There is no dataset, or a shard is missing.
        ValueError: A shard is empty, a Git LFS pointer, cut, damaged or misses records.
    """
    schema = path if isinstance(path, Schema) else open_schema(path, rlds_splits)
    if schema.remote is not None:
        entries = _index_remote(schema, schema.remote, sorted(set(keys)))
    else:
        check_shards(schema.shards)
        entries = []
        for _, shards in groupby(schema.shards, key=lambda shard: shard.split):
            entries += _index_shards(schema, list(shards), sorted(set(keys)))
    if not entries:
        raise ValueError(
            f"{schema.place} holds no episodes; check data.rlds_splits and data.shards"
        )
    return DatasetIndex(
        schema=schema,
        entries=tuple(entries),
        fingerprint=digest(*(entry.episode_id.encode() for entry in entries)),
    )


def index_file(schema: Schema, shards: Sequence[ShardFile], keys: Sequence[str]) -> Path:
    """The cached index of some shards, of which some columns were checked."""
    names = [shard.path.name for shard in shards]
    identity = [str(schema.folder.resolve()), json.dumps([names, sorted(set(keys))])]
    return cache_file("index", *identity)


def _index_remote(schema: Schema, remote: RemoteFolder, keys: Sequence[str]) -> list[RecordEntry]:
    """Index shard by shard, each while it is in the cache, so that an interruption costs one.

    Episodes are identified by their content, so every shard is fetched whole, once.
    """
    shards = [shard for shard in schema.shards if shard.num_records]
    entries: list[RecordEntry] = []
    with remote.named():
        remote.look_up([shard.path for shard in shards])
        check_shards(shards, remote.has)
        title, total = f"fetch and index {schema.name}", math.ceil(schema.num_bytes / 1e6)
        with progress_bar(title, total=total, unit="MB", after_s=BAR_AFTER_S) as advance:
            for shard in shards:
                entries += _load_or_index(schema, remote, shard, keys, advance)
    return entries


def _load_or_index(
    schema: Schema,
    remote: RemoteFolder,
    shard: ShardFile,
    keys: Sequence[str],
    advance: Callable[[float], None],
) -> list[RecordEntry]:
    """Entries of one shard; calls `advance` with the megabytes that are done."""
    told_mb = 0.0

    def fetched(megabytes: float) -> None:
        nonlocal told_mb
        told_mb += megabytes
        advance(megabytes)

    cached = _load(schema, [shard], keys)
    if cached is None:
        with remote.holding(shard.path, fetched):
            cached = _index_shards(schema, [shard], keys)
    advance(max(0.0, remote.num_bytes(shard.path) / 1e6 - told_mb))
    return cached


def _index_shards(
    schema: Schema, shards: Sequence[ShardFile], keys: Sequence[str]
) -> list[RecordEntry]:
    """Cached entries if they are valid, else new ones."""
    cached = _load(schema, shards, keys)
    if cached is not None:
        return cached
    file, stamp = index_file(schema, shards, keys), _stamp(schema, shards)
    spans = {shard.path: _find_spans(schema, shard) for shard in shards}
    title = f"index {schema.name} {shards[0].split}"
    entries = list(_scan(schema, spans, keys, title=title))
    if not write_stamped(file, stamp, {"records": _to_rows(entries, shards)}):
        warn_not_kept(schema.folder, file)
    return entries


def warn_not_kept(folder: Path, file: Path) -> None:
    """Log that an index cannot be written to the cache."""
    _log.warning(
        "the index of %s cannot be kept in %s: it will be made again next time", folder, file.parent
    )


def _find_spans(schema: Schema, shard: ShardFile) -> list[Span]:
    """Every record of a shard."""
    if schema.remote is None:
        return _spans(shard, schema.file_format)
    return schema.remote.read(shard.path, lambda: _spans(shard, schema.file_format))


def _read_record(schema: Schema, shard: Path, span: Span) -> bytes:
    """One record of a shard, which is fetched first where it is not there."""
    if schema.remote is None:
        return read_record(shard, span, schema.file_format)
    return schema.remote.read(
        shard, lambda: read_record(shard, span, schema.file_format, keep_open=False)
    )


def _spans(shard: ShardFile, file_format: str) -> list[Span]:
    if not shard.num_records and (not shard.path.exists() or not shard.path.stat().st_size):
        return []
    spans = find_records(shard.path, file_format)
    if len(spans) != shard.num_records:
        raise ValueError(
            f"shard {shard.path} holds {len(spans)} records, but {INFO_FILE} says "
            f"{shard.num_records}: it is cut, damaged or of another version; download it again"
        )
    return spans


def _scan(
    schema: Schema, spans: Mapping[Path, list[Span]], keys: Sequence[str], *, title: str
) -> Iterator[RecordEntry]:
    """Read every record once: checksum, identity, number of steps, unusable columns."""
    total = sum(len(found) for found in spans.values())
    num_bytes = sum(shard.stat().st_size for shard, found in spans.items() if found)
    is_large = num_bytes >= _QUIET_BYTES and schema.remote is None  # else it has a bar already
    with progress_bar(title, total=total, unit="episodes", visible=is_large) as advance:
        is_slow = schema.remote is None and num_bytes >= total * _LONG_RECORD
        num_threads = min(_MAX_THREADS, os.cpu_count() or 1) if is_slow else 1
        for entries in _examine_all(schema, keys, spans, num_threads=num_threads):
            yield from entries
            advance(len(entries))


def _examine_all(
    schema: Schema,
    keys: Sequence[str],
    spans: Mapping[Path, list[Span]],
    *,
    num_threads: int,
) -> Iterator[list[RecordEntry]]:
    """Entries in stored order, a chunk of records at a time; few chunks are in memory."""

    def examine(shard: Path, first: int) -> list[RecordEntry]:
        chunk = enumerate(spans[shard][first : first + _CHUNK], start=first)
        return [_examine(schema, keys, shard, number, span) for number, span in chunk]

    chunks = (
        (shard, first) for shard, found in spans.items() for first in range(0, len(found), _CHUNK)
    )
    pool = ThreadPoolExecutor(num_threads)
    try:
        futures = (pool.submit(examine, *chunk) for chunk in chunks)
        waiting: deque[Future[list[RecordEntry]]] = deque(islice(futures, 2 * num_threads))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(islice(futures, 1))
    finally:
        pool.shutdown(cancel_futures=True)


def _examine(
    schema: Schema, keys: Sequence[str], shard: Path, number: int, span: Span
) -> RecordEntry:
    place = {"shard": shard, "number": number, "offset": span.offset, "length": span.length}
    try:
        raw = _read_record(schema, shard, span)
    except ValueError as error:
        unknown = digest(f"{shard.name} {span.offset}".encode())
        return RecordEntry(**place, episode_id=unknown, num_steps=0, problem=str(error))
    try:
        steps = parse_record(raw, schema.features).steps
        num_steps, faults = check_columns(steps, schema.features, keys)
    except ValueError as error:
        return RecordEntry(**place, episode_id=digest(raw), num_steps=0, problem=str(error))
    return RecordEntry(**place, episode_id=digest(raw), num_steps=num_steps, faults=faults)


def check_columns(
    steps: Steps, features: Mapping[str, Feature], keys: Sequence[str]
) -> tuple[int, dict[str, str]]:
    """The number of steps of some columns, and which of them cannot be used.

    Raises:
        ValueError: They have different lengths.
    """
    faults, lengths = {}, {}
    for key in keys:
        try:
            column = steps.decode(key)
        except ValueError as error:
            faults[key] = str(error).removeprefix(f"{key} ")
            continue
        lengths[key] = len(column)
        if fault := _fault(key, column, features[key]):
            faults[key] = fault
    if len(set(lengths.values())) > 1:
        raise ValueError(f"its columns have different lengths: {lengths}")
    return next(iter(lengths.values()), steps.num_steps), faults


def _fault(key: str, column: np.ndarray, feature: Feature) -> str:
    """Whether a column has values that are not finite, or images that are not JPEG or PNG."""
    if feature.kind == "image":
        stored = (image for image in column if not isinstance(image, VideoFrame))
        is_good = all(bytes(image).startswith(_IMAGE_STARTS) for image in stored)
        return "" if is_good else "is not JPEG or PNG"
    if column.dtype.kind != "f":
        return ""
    rows = column[:-1] if key.startswith("action") else column  # the last action is never used
    return "" if np.isfinite(rows).all() else "has values that are not finite"


def _stamp(schema: Schema, shards: Sequence[ShardFile]) -> str:
    """Names, sizes and times (of remote files, versions) of what an index was made from."""
    folder, files = schema.folder, [shard.path for shard in shards]
    described = [folder / FEATURES_FILE, folder / INFO_FILE]
    if schema.remote is None:
        return file_stamp(INDEX_FORMAT, files + described, folder=folder)
    content = [digest(file.read_bytes()) for file in described]
    return digest(json.dumps([INDEX_FORMAT, schema.remote.stamp(files), content]).encode())


def _to_rows(entries: Sequence[RecordEntry], shards: Sequence[ShardFile]) -> list[list[Any]]:
    numbers = {shard.path: number for number, shard in enumerate(shards)}
    return [[numbers[e.shard], *(getattr(e, name) for name in SAVED)] for e in entries]


def _load(
    schema: Schema, shards: Sequence[ShardFile], keys: Sequence[str]
) -> list[RecordEntry] | None:
    """The cached entries, or None if there are none, they do not fit or the dataset has changed."""
    file, stamp = index_file(schema, shards, keys), _stamp(schema, shards)
    try:
        content = read_stamped(file, stamp)
        if content is None:
            return None
        rows = content["records"]
        entries = [
            RecordEntry(shard=shards[shard].path, **dict(zip(SAVED, values, strict=True)))
            for shard, *values in rows
        ]
        sizes = [_size(schema, shard) for shard in shards]
        is_good = all(
            is_plausible(e) and e.offset + e.length <= sizes[row[0]]
            for e, row in zip(entries, rows, strict=True)
        )
        return entries if is_good and len(entries) == sum(s.num_records for s in shards) else None
    except (OSError, *NOT_CACHED) as error:
        _log.debug("no usable index in %s: %s", file, error)
        return None


def _size(schema: Schema, shard: ShardFile) -> int:
    if schema.remote is not None:
        return schema.remote.num_bytes(shard.path)
    return shard.path.stat().st_size if shard.num_records else 0


def is_plausible(entry: RecordEntry) -> bool:
    """Whether what a file of the cache says of an episode can be true."""
    counts = (entry.number, entry.offset, entry.length, entry.num_steps)
    return (
        all(type(count) is int and count >= 0 for count in counts)
        and _EPISODE_ID.fullmatch(entry.episode_id) is not None
        and isinstance(entry.problem, str)
        and all(isinstance(reason, str) for reason in entry.faults.values())
    )
