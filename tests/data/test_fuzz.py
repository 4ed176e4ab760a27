"""Whatever lies in a dataset's folder: only declared errors, soon, in little memory."""

import copy
import json
import shutil
import struct
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rlds_files import (
    frame_tfrecord,
    only_shard,
    open_table,
    serialize,
    table_episode,
    table_features,
    write_rlds,
)

from genie_robo.data.index import DatasetIndex, build_index
from genie_robo.data.records import parse_record
from genie_robo.data.schema import open_schema
from genie_robo.data.shards import find_records, parse_tfrecord

DECLARED = (ValueError, KeyError, FileNotFoundError)
MAX_MEMORY = 20_000_000
"""Bytes; the files here have a few kB."""
MAX_SECONDS = 5.0
"""Of the processor, not of the clock: other work on the machine must not count."""
HUGE_VARINT = b"\xff" * 8 + b"\x7f"
"""2**63 - 1, where protobuf expects a length."""
STRANGE = (None, True, -1, 0, 2**60, str(2**62), 1.5, "", "nonsense", [], {}, [[]], {"a": [1]})
FORMATS = ("tfrecord", "array_record")

fuzz = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@contextmanager
def little_work() -> Iterator[None]:
    """Fail when Python or numpy take far more memory or time than the input could need."""
    begin = time.thread_time()
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MAX_MEMORY
        assert time.thread_time() - begin < MAX_SECONDS
    finally:
        tracemalloc.stop()


@st.composite
def damaged(draw, good: bytes) -> bytes:
    """Bytes that are cut, overwritten, moved or stuffed in up to four places."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([0, 1, 8, 100, len(good)]))
        data[start : start + length] = draw(
            st.sampled_from([b"", HUGE_VARINT, good[:50]]) | st.binary(max_size=12)
        )
    return bytes(data)


def places(tree, path=()) -> list[tuple]:
    """The path of every value in a JSON tree, the tree itself first."""
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    return [path, *(place for key in keys for place in places(tree[key], (*path, key)))]


@st.composite
def odd_json(draw, good: str) -> str:
    """JSON in which up to three values became something else or vanished, or damaged text."""
    if draw(st.integers(0, 3)) == 0:
        return draw(damaged(good.encode())).decode(errors="replace")
    tree = [json.loads(good)]
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from(places(tree)[1:]))
        node = tree
        for key in path:
            node = node[key]
        if draw(st.booleans()) or not path:
            node[last] = copy.deepcopy(draw(st.sampled_from(STRANGE)))
        else:
            del node[last]
    return json.dumps(tree[0])


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> dict[str, Path]:
    """Three episodes in one shard, by file format; not to be changed."""
    episodes = [table_episode(2 + i, tag=i) for i in range(3)]
    return {
        file_format: write_rlds(
            tmp_path_factory.mktemp("small"), {"train": [episodes]}, file_format=file_format
        )
        for file_format in FORMATS
    }


@pytest.fixture
def copy_small(small, tmp_path_factory) -> Callable[..., Path]:
    """Make a copy of the small dataset that may be damaged."""

    def copy(file_format: str = "tfrecord") -> Path:
        folder = tmp_path_factory.mktemp("fuzz") / "1.0.0"
        remembered = shutil.ignore_patterns(".*")
        return shutil.copytree(small[file_format], folder, ignore=remembered)

    return copy


@pytest.fixture(scope="module")
def small_index(small) -> DatasetIndex:
    return build_index(small["tfrecord"])


@pytest.fixture(scope="module")
def small_ids(small_index) -> set[str]:
    """Content hashes of the three episodes."""
    return {entry.episode_id for entry in small_index.entries}


def read_everything(folder) -> frozenset[str]:
    """Ids of the episodes of a dataset, each of which is read; none after a declared error."""
    try:
        dataset = open_table(folder, bad_episode_limit=1.0)
        for number in range(len(dataset)):
            assert dataset[number].num_steps == dataset.lengths[number]
    except DECLARED:
        return frozenset()
    return frozenset(dataset.episode_ids)


@pytest.fixture(autouse=True)
def no_tensorflow(monkeypatch):
    """tensorflow_datasets imports it when it meets an unknown number type; that takes seconds."""
    monkeypatch.setitem(sys.modules, "tensorflow", None)


@pytest.fixture(scope="module")
def schema(table):
    return open_schema(table)


RECORD = serialize(table_features(), table_episode(3))
TFRECORD = b"".join(frame_tfrecord(record) for record in (b"genie", b"", RECORD))


@fuzz
@given(st.binary(max_size=400) | damaged(TFRECORD))
def test_a_tfrecord_file_of_any_bytes(data):
    with little_work():
        try:
            spans = parse_tfrecord(data)
        except ValueError:
            return
    assert sum(length + 16 for _, length in spans) == len(data)


@pytest.mark.parametrize("length", [2**31, 2**60, 2**63, 2**64 - 1])
def test_a_length_that_lies_reserves_nothing(tmp_path, length):
    header = frame_tfrecord(struct.pack("<Q", length))
    shard = tmp_path / "a.tfrecord"
    shard.write_bytes(header[12:20] + header[20:24] + b"the rest of the file")
    with little_work(), pytest.raises(ValueError, match="it ends inside record 0"):
        find_records(shard, "tfrecord")


@fuzz
@given(data=st.binary(max_size=400) | damaged(RECORD))
def test_a_record_of_any_bytes(schema, data):
    with little_work():
        try:
            columns = parse_record(data, schema.features)
        except ValueError:
            return
    assert all(len(column) == columns.num_steps for column in columns.steps.values())


@pytest.mark.parametrize("file_format", FORMATS)
@fuzz
@given(data=st.data())
def test_a_shard_of_any_bytes(copy_small, small_ids, file_format, data):
    folder = copy_small(file_format)
    shard = only_shard(folder)
    shard.write_bytes(data.draw(damaged(shard.read_bytes())))
    with little_work():
        found = read_everything(folder)
    assert found <= small_ids  # a checksum is wrong wherever a byte is


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
@fuzz
@given(data=st.data())
def test_a_description_of_anything(copy_small, small_ids, name, data):
    folder = copy_small()
    file = folder / name
    file.write_text(data.draw(odd_json(file.read_text())))
    with little_work():
        found = read_everything(folder)
    assert found <= small_ids


@pytest.mark.slow
@fuzz
@given(data=st.data())
def test_a_remembered_index_of_anything(small_index, small_ids, cache_home, data):
    folder = small_index.folder
    read_everything(folder)
    build_index(folder)
    for file in cache_home.rglob("index_*.json"):
        file.write_text(data.draw(odd_json(file.read_text())))
    with little_work():
        assert build_index(folder).entries == small_index.entries
        assert read_everything(folder) == small_ids
