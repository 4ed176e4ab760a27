import struct

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from hypothesis import given
from hypothesis import strategies as st
from rlds_files import frame_tfrecord

from genie_robo.data.shards import Span, find_records, parse_tfrecord, read_record

# tf.io.TFRecordWriter wrote b"genie" and b"".
TENSORFLOW_WROTE = bytes.fromhex(
    "05 00 00 00 00 00 00 00 ea b2 04 3e 67 65 6e 69 65 62 08 92 1c"
    "00 00 00 00 00 00 00 00 29 03 98 07 d8 ea 82 a2"
)


def test_a_file_that_tensorflow_wrote(tmp_path):
    shard = tmp_path / "a.tfrecord"
    shard.write_bytes(TENSORFLOW_WROTE)
    assert find_records(shard, "tfrecord") == [Span(12, 5), Span(33, 0)]
    assert read_record(shard, Span(12, 5), "tfrecord") == b"genie"
    assert read_record(shard, Span(33, 0), "tfrecord") == b""


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_spans_give_back_what_was_written(records):
    data = b"".join(map(frame_tfrecord, records))
    assert [data[o : o + n] for o, n in parse_tfrecord(data)] == records


@given(st.binary(max_size=80))
def test_random_bytes_never_fail_in_another_way(data):
    try:
        spans = parse_tfrecord(data)
    except ValueError:
        return
    assert sum(length + 16 for _, length in spans) == len(data)


@given(st.integers(0, len(TENSORFLOW_WROTE) - 1), st.integers(1, 255))
def test_a_changed_header_byte_is_found(position, change):
    damaged = bytearray(TENSORFLOW_WROTE)
    damaged[position] ^= change
    is_header = position < 12 or 21 <= position < 33
    if is_header:
        with pytest.raises(ValueError, match=r"does not match its checksum|it ends inside"):
            parse_tfrecord(bytes(damaged))
    else:
        assert len(parse_tfrecord(bytes(damaged))) == 2


@pytest.mark.parametrize("position", [12, 16, 17, 20])
def test_a_changed_data_byte_is_found_when_read(tmp_path, position):
    damaged = bytearray(TENSORFLOW_WROTE)
    damaged[position] ^= 1
    shard = tmp_path / "a.tfrecord"
    shard.write_bytes(damaged)
    with pytest.raises(ValueError, match="the data does not match its checksum"):
        read_record(shard, Span(12, 5), "tfrecord")


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (5, r"it ends inside the header of record 0 \(byte 5\)"),
        (19, r"it ends inside record 0: 2 of the record's 5 bytes are missing behind byte 19"),
        (25, r"it ends inside the header of record 1 \(byte 25\)"),
    ],
)
def test_a_cut_file(tmp_path, length, message):
    shard = tmp_path / "cut.tfrecord"
    shard.write_bytes(TENSORFLOW_WROTE[:length])
    with pytest.raises(ValueError, match=message) as caught:
        find_records(shard, "tfrecord")
    assert str(shard) in str(caught.value)
    assert "download it again" in str(caught.value)


def test_a_length_beyond_all_memory_is_refused():
    header = struct.pack("<Q", 2**63)
    with pytest.raises(ValueError, match="it ends inside record 0"):
        parse_tfrecord(header + frame_tfrecord(header)[20:24] + b"x")


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_what_is_no_data_at_all(tmp_path, file_format):
    shard = tmp_path / "shard"
    with pytest.raises(FileNotFoundError, match=r"shard is missing; complete the download"):
        find_records(shard, file_format)
    shard.write_bytes(b"")
    with pytest.raises(ValueError, match="has zero bytes: its download failed"):
        find_records(shard, file_format)
    shard.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    with pytest.raises(ValueError, match="is a Git LFS pointer, not data; run `git lfs pull`"):
        find_records(shard, file_format)


@pytest.fixture
def array_record(tmp_path):
    """A file of 40 records, and the records."""
    rng = np.random.default_rng(0)
    records = [rng.bytes(10_000) for _ in range(40)]
    shard = tmp_path / "a.array_record"
    writer = ArrayRecordWriter(str(shard), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()
    return shard, records


def test_array_record_by_number(array_record):
    shard, records = array_record
    spans = find_records(shard, "array_record")
    assert spans == [Span(i, 0) for i in range(40)]
    assert [read_record(shard, span, "array_record") for span in spans] == records


def test_a_cut_array_record(array_record):
    shard, _ = array_record
    shard.write_bytes(shard.read_bytes()[:200_000])
    with pytest.raises(ValueError, match="is damaged: it is cut or not an ArrayRecord file"):
        find_records(shard, "array_record")


def test_a_changed_byte_in_an_array_record(array_record):
    shard, records = array_record
    data = bytearray(shard.read_bytes())
    data[data.index(records[7]) + 5_000] ^= 1
    shard.write_bytes(data)
    with pytest.raises(ValueError, match="the data does not match its checksum"):
        read_record(shard, Span(7, 0), "array_record")
    assert read_record(shard, Span(8, 0), "array_record") == records[8]
