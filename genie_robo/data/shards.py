"""Records inside the shard files of a dataset: TFRecord and ArrayRecord, by random access."""

import mmap
import os
import struct
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import google_crc32c
from array_record.python.array_record_module import ArrayRecordReader

from genie_robo.stored_files import check_regular

TFRECORD, ARRAY_RECORD = "tfrecord", "array_record"
COMPLETE = "complete the download"
"""Advice about a file that is not there."""

_LFS_MAGIC = b"version https://git-lfs"
_HEADER = struct.Struct("<QI")
"""Length of the data, masked CRC of that length."""
_CRC = struct.Struct("<I")
_CRC_MASK_DELTA = 0xA282EAD8
_MAX_OPEN_READERS = 32
_READING_PROCESS: dict[str, int] = {}
"""Process that opened the first ArrayRecord file, or whose parent did."""


class ShardFile(NamedTuple):
    """One file of a dataset."""

    path: Path
    split: str
    number: int
    """Its place among the shards of the split, from 0."""
    num_records: int
    """According to dataset_info.json."""


class Span(NamedTuple):
    """Location of a record in its shard."""

    offset: int
    """Byte offset of the data in a TFRecord file, record number in an ArrayRecord file."""
    length: int
    """Bytes of data; 0 in an ArrayRecord file, which stores the length itself."""


def find_records(shard: Path, file_format: str) -> list[Span]:
    """Every record of a shard, in order. Only headers are read.

    Raises:
        FileNotFoundError: The shard is missing.
        ValueError: The shard is empty, a Git LFS pointer, cut or damaged.
    """
    check_downloaded(shard)
    if file_format == ARRAY_RECORD:
        return _find_in_array_record(shard)
    with shard.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return parse_tfrecord(data)
        except ValueError as error:
            raise ValueError(f"shard {shard} is damaged: {error}; download it again") from error


def check_downloaded(file: Path) -> None:
    """Refuse files that a download has left out or empty, and pointers of Git LFS.

    Raises:
        FileNotFoundError: It is missing.
        ValueError: It is empty, a pointer, or no regular file.
    """
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing; {COMPLETE}")
    check_regular(file)
    if file.stat().st_size == 0:
        raise ValueError(f"{file} has zero bytes: its download failed; download it again")
    with file.open("rb") as opened:
        start = opened.read(len(_LFS_MAGIC))
    if start == _LFS_MAGIC:
        raise ValueError(
            f"{file} is a Git LFS pointer, not data; run `git lfs pull` in the repository it came "
            "from"
        )


def read_record(shard: Path, span: Span, file_format: str, *, keep_open: bool = True) -> bytes:
    """The bytes of one record, verified against the stored checksum.

    `keep_open` keeps an ArrayRecord file open for the next record.

    Raises:
        ValueError: The bytes are not the ones that were written.
        OSError: The shard cannot be read.
    """
    if file_format == ARRAY_RECORD and keep_open:
        return _open_array_record(shard, shard.stat().st_mtime_ns).read(span.offset)
    if file_format == ARRAY_RECORD:
        return _ArrayRecordFile(shard).read(span.offset)
    with shard.open("rb", buffering=0) as file:
        file.seek(span.offset)
        data, stored = file.read(span.length), file.read(_CRC.size)
    if stored != _CRC.pack(_masked_crc(data)):
        raise ValueError("the data does not match its checksum")
    return data


def parse_tfrecord(data: bytes | mmap.mmap) -> list[Span]:
    """Spans of the records in a TFRecord file: length, CRC of length, data, CRC of data.

    Raises:
        ValueError: A length does not match its checksum, or the file ends inside a record.
    """
    spans: list[Span] = []
    size, position = len(data), 0
    while position < size:
        number = len(spans)
        if size - position < _HEADER.size:
            raise ValueError(f"it ends inside the header of record {number} (byte {size})")
        length, crc = _HEADER.unpack_from(data, position)
        if crc != _masked_crc(data[position : position + 8]):
            raise ValueError(
                f"the length of record {number} at byte {position} does not match its checksum"
            )
        start = position + _HEADER.size
        position = start + length + _CRC.size
        if position > size:
            raise ValueError(
                f"it ends inside record {number}: {position - size} of the record's {length} "
                f"bytes are missing behind byte {size}"
            )
        spans.append(Span(start, length))
    return spans


def frame_tfrecord(data: bytes) -> bytes:
    """A record as a TFRecord file stores it."""
    length = struct.pack("<Q", len(data))
    checksums = (_CRC.pack(_masked_crc(part)) for part in (length, data))
    return length + next(checksums) + data + next(checksums)


def _masked_crc(data: bytes) -> int:
    """CRC32C, rotated and shifted as TFRecord requires."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _CRC_MASK_DELTA) & 0xFFFFFFFF


class _ArrayRecordFile:
    """One open ArrayRecord file, used by one thread at a time."""

    def __init__(self, shard: Path) -> None:
        claim_array_record()
        self._reader = ArrayRecordReader(str(shard), "readahead_buffer_size:0")
        self._lock = Lock()

    def __len__(self) -> int:
        return self._reader.num_records()

    def is_good(self) -> bool:
        return self._reader.ok()

    def read(self, number: int) -> bytes:
        claim_array_record()
        if not 0 <= number < len(self):
            raise ValueError(f"the shard has no record {number}")
        try:
            with self._lock:
                records: Sequence[bytes] = self._reader.read([number])
        except RuntimeError as error:
            raise ValueError(f"the data does not match its checksum ({error})") from error
        return records[0]


def claim_array_record() -> None:
    """Refuse to use ArrayRecord files where the threads of their library were lost.

    The library starts them with the first file that a process reads or writes, and they do not
    exist in a forked process, where opening or reading a file crashes or hangs.

    Raises:
        RuntimeError: This process was forked after its parent had opened an ArrayRecord file.
    """
    _READING_PROCESS.setdefault("pid", os.getpid())
    if _READING_PROCESS["pid"] != os.getpid():
        raise RuntimeError(
            "ArrayRecord files cannot be read in a process that was forked after its parent had "
            "opened one, because the threads that read them are not copied; start worker processes "
            "by spawn or forkserver, for example with "
            "DataLoader(..., multiprocessing_context='spawn')"
        )


@lru_cache(maxsize=_MAX_OPEN_READERS)
def _open_array_record(shard: Path, mtime_ns: int) -> _ArrayRecordFile:
    """Open files, by path and time of the last change."""
    del mtime_ns
    return _ArrayRecordFile(shard)


def _find_in_array_record(shard: Path) -> list[Span]:
    file = _ArrayRecordFile(shard)
    if not file.is_good():
        raise ValueError(
            f"shard {shard} is damaged: it is cut or not an ArrayRecord file; download it again"
        )
    return [Span(number, 0) for number in range(len(file))]
