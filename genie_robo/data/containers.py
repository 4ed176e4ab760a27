"""Random access to the records of tfrecord and array_record shards, without TensorFlow."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
from array_record.python.array_record_module import ArrayRecordReader

LFS_POINTER = b"version https://git-lfs"
TFRECORD_OVERHEAD = 16
"""Bytes around the data of a tfrecord: length, its checksum, and the checksum of the data."""
CRC_MASK_DELTA = 0xA282EAD8


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """Where the bytes of one record lie."""

    shard: Path
    position: int
    """Byte offset of the data in a tfrecord, record number in an array_record."""
    length: int
    """Bytes of the data in a tfrecord, 0 in an array_record."""


def shard_entries(shard: Path) -> list[RecordEntry]:
    """All records of a shard, in order.

    Raises:
        ValueError: The shard is a git LFS pointer, empty, truncated or damaged.
    """
    check_not_pointer(shard)
    if ".array_record" in shard.name:
        return list(_array_record_entries(shard))
    return list(_tfrecord_entries(shard))


def read_record(entry: RecordEntry) -> bytes:
    """The bytes of one record, their checksum verified.

    Raises:
        ValueError: The bytes do not match their checksum.
    """
    if ".array_record" in entry.shard.name:
        return _read_array_record(entry)
    with entry.shard.open("rb") as file:
        file.seek(entry.position)
        data = file.read(entry.length)
        stored = file.read(4)
    if len(stored) != 4 or struct.unpack("<I", stored)[0] != masked_crc(data):
        raise ValueError(
            f"the record at byte {entry.position} of {entry.shard} does not match its checksum: "
            "bytes were changed or lost. Download the shard again"
        )
    return data


def masked_crc(data: bytes) -> int:
    """The rotated CRC-32C that the tfrecord format stores."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + CRC_MASK_DELTA) & 0xFFFFFFFF


def check_not_pointer(shard: Path) -> None:
    """Refuse what is no data at all.

    Raises:
        ValueError: The file is empty or a git LFS pointer.
    """
    with shard.open("rb") as file:
        head = file.read(len(LFS_POINTER))
    if not head:
        raise ValueError(f"the shard {shard} is empty (0 bytes): download it again")
    if head == LFS_POINTER:
        raise ValueError(
            f"the shard {shard} is a git LFS pointer, not the data: run `git lfs pull` in that "
            "repository, or download the file itself"
        )


def _tfrecord_entries(shard: Path) -> Iterator[RecordEntry]:
    size, position = shard.stat().st_size, 0
    with shard.open("rb") as file:
        while position < size:
            file.seek(position)
            header = file.read(12)
            if len(header) < 12:
                raise _truncated(shard, position, size)
            length, crc = struct.unpack("<QI", header)
            if masked_crc(header[:8]) != crc:
                raise ValueError(
                    f"byte {position} of {shard} is not the start of a tfrecord (its length does "
                    "not match its checksum): the file is damaged or of another format. "
                    "Download it again"
                )
            if position + length + TFRECORD_OVERHEAD > size:
                raise _truncated(shard, position, size)
            yield RecordEntry(shard, position + 12, length)
            position += length + TFRECORD_OVERHEAD


def _truncated(shard: Path, position: int, size: int) -> ValueError:
    return ValueError(
        f"the shard {shard} is truncated: the record at byte {position} goes on beyond its "
        f"{size} bytes. Download it again"
    )


def _array_record_entries(shard: Path) -> Iterator[RecordEntry]:
    reader = _open_array_record(shard)
    try:
        yield from (RecordEntry(shard, number, 0) for number in range(reader.num_records()))
    finally:
        reader.close()


def _read_array_record(entry: RecordEntry) -> bytes:
    reader = _open_array_record(entry.shard)
    try:
        return reader.read([entry.position])[0]
    except (RuntimeError, IndexError, ValueError) as error:
        raise ValueError(
            f"record {entry.position} of {entry.shard} cannot be read ({error}): the file is "
            "damaged. Download or record it again"
        ) from error
    finally:
        reader.close()


def _open_array_record(shard: Path) -> ArrayRecordReader:
    try:
        reader = ArrayRecordReader(str(shard))
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{shard} is no readable array_record ({error}): the file is truncated or damaged. "
            "Download or record it again"
        ) from error
    if not reader.ok():
        raise ValueError(
            f"{shard} is no readable array_record: the file is truncated or damaged. Download or "
            "record it again"
        )
    return reader
