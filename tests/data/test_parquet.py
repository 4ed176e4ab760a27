"""Rows of Parquet files: what is read, kept, and hashed, and how much memory that takes."""

import hashlib
import pickle
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_files import (
    CAMERA,
    LEROBOT_SOURCE,
    WRIST,
    make_demo,
    with_wrist,
    write_table,
    write_v2,
    write_v3,
)

from genie_robo.data.dataset import EpisodeImages
from genie_robo.data.lerobot import LeRobotDataset
from genie_robo.data.parquet import Table, column_digest
from genie_robo.data.windows import WindowDataset

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture
def reads(monkeypatch):
    """The columns of every read of a table."""
    found = []
    read = Table.read

    def spy(self, columns, start=0, stop=None):
        names = list(columns)
        found.append(names)
        return read(self, names, start, stop)

    monkeypatch.setattr(Table, "read", spy)
    return found


@pytest.fixture
def groups(monkeypatch):
    """The columns of every read of a row group of a file."""
    found = []
    read = pq.ParquetFile.read_row_groups

    def spy(self, numbers, columns=None, **options):
        found.extend((number, name) for number in numbers for name in columns)
        return read(self, numbers, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", spy)
    return found


def blake(*parts):
    return hashlib.blake2b(b"".join(parts), digest_size=8).hexdigest()


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, 2], pa.int32()), blake(b"int32", np.array([1, 2], np.int32).tobytes())),
        (pa.array([1, None]), blake(b"1", b"None")),
        (pa.array(["a", "bc"]), blake(b"'a'", b"'bc'")),
        (
            pa.array([[1.0, 2.0], [3.0]], pa.list_(pa.float32())),
            blake(b"float", np.array([1, 2, 3], np.float32).tobytes()),
        ),
        (pa.array([[1, None], [2]]), blake(b"[1, None]", b"[2]")),
        (
            pa.array([{"bytes": b"\x00a", "path": "x"}, {"bytes": None, "path": "y"}], IMAGE),
            blake(b"b'\\x00a'", b"None"),
        ),
    ],
)
def test_the_digest_of_a_column(column, expected):
    assert column_digest(pa.chunked_array([column])) == expected
    pieces = [column.slice(0, 1), column.slice(1)]
    assert column_digest(pa.chunked_array(pieces)) == expected


def test_a_digest_holds_one_image_at_a_time():
    size, count = 2**18, 16
    image = {"bytes": bytes(size), "path": "x"}  # repr writes four characters for each byte
    column = pa.chunked_array([pa.array([image] * count, IMAGE)])
    tracemalloc.start()
    found = column_digest(column)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * size
    assert found == blake(repr(bytes(size)).encode() * count)


def test_an_episode_is_read_one_camera_at_a_time(tmp_path, reads):
    LeRobotDataset(write_v2(tmp_path, [with_wrist(make_demo(9))], images="image"), LEROBOT_SOURCE)
    assert [CAMERA] in reads
    assert [WRIST] in reads
    assert not [names for names in reads if {CAMERA, WRIST} & {*names} and len(names) > 1]


class Spied(dict):
    """Columns that note which of them are read."""

    def __init__(self, columns):
        super().__init__(columns)
        self.read = []

    def __getitem__(self, key):
        self.read.append(key)
        return super().__getitem__(key)


def test_cameras_that_no_source_names_are_read_when_they_are_asked_for():
    columns = Spied({WRIST: np.array([b"a", b"b"], object)})
    images = EpisodeImages({"primary": (b"c",)}, [WRIST, "depth"], columns)
    columns.read.clear()  # by checks of types
    assert images["primary"] == (b"c",)
    assert columns.read == []
    assert images[WRIST] == (b"a", b"b")
    assert columns.read == [WRIST]
    assert (
        dict(images)
        == pickle.loads(pickle.dumps(images))
        == {"primary": (b"c",), WRIST: (b"a", b"b")}
    )
    assert "depth" not in images
    with pytest.raises(KeyError):
        images["depth"]


def test_an_episode_has_all_its_cameras(tmp_path):
    demos = [with_wrist(make_demo(9, seed=seed)) for seed in range(3)]
    dataset = LeRobotDataset(write_v3(tmp_path, demos, images="image"), LEROBOT_SOURCE)
    windows = WindowDataset(dataset, range(3), num_frames=3, image_size=(16, 16), cache_mb=0)
    np.testing.assert_array_equal(windows[7].video, demos[1].video[:3])
    assert set(dataset[0].images) == {"primary", WRIST}
    assert len(dataset[0].images) == 2


def test_a_row_group_of_many_episodes_is_read_once(tmp_path, groups, monkeypatch):
    demos = [with_wrist(make_demo(9, seed=seed)) for seed in range(6)]
    folder = write_v3(tmp_path, demos, images="image")
    dataset = LeRobotDataset(folder, LEROBOT_SOURCE)
    table = pq.ParquetFile(folder / "data/chunk-000/file-000.parquet")
    assert table.num_row_groups == 1
    elsewhere = ("episode_index", "task_index")
    stored = [read for read in groups if read[1] in {*table.schema_arrow.names} - {*elsewhere}]
    assert len(stored) == len(set(stored))
    groups.clear()
    for i in range(6):
        assert len(dataset[i].images[WRIST]) == 9
    assert groups == []
    monkeypatch.setattr("genie_robo.data.parquet._MAX_KEPT_BYTES", 0)
    assert [len(dataset[i].images["primary"]) for i in range(6)] == [9] * 6


def test_columns_are_let_go_of_when_there_is_no_room(tmp_path, groups, monkeypatch):
    names = ["a", "b", "c"]
    columns = {name: np.arange(100.0) for name in names}
    write_table(tmp_path / "a.parquet", pa.table(columns), row_group_size=50)
    monkeypatch.setattr("genie_robo.data.parquet._MAX_KEPT_BYTES", 850)
    table = Table(tmp_path / "a.parquet")
    for name in ("a", "b", "c", "c", "a"):  # each has 400 bytes in a group
        assert table.read([name], 0, 50)[name].to_pylist() == list(range(50))
    assert groups == [(0, "a"), (0, "b"), (0, "c"), (0, "a")]
    assert table.read(names, 40, 60)["b"].to_pylist() == list(range(40, 60))
    assert table.read(names, 7, 7).num_rows == 0


def test_columns_with_dots_in_their_names_are_counted(tmp_path, monkeypatch):
    images = [{"bytes": bytes(500), "path": "x"}] * 4
    columns = {
        "observation.state": pa.array([[1.0, 2.0]] * 4),
        "observation.images.top": pa.array(images, IMAGE),
        "observation.images.top2": pa.array([1] * 4),
    }
    pq.write_table(
        pa.table(columns), tmp_path / "a.parquet", compression="NONE", use_dictionary=False
    )
    table = Table(tmp_path / "a.parquet")
    monkeypatch.setattr("genie_robo.data.parquet._MAX_BYTES", 300)
    assert table.read(["observation.images.top2"]).num_rows == 4
    with pytest.raises(ValueError, match=r"bytes in observation.images.top, above 300"):
        table.read(["observation.images.top"])
    monkeypatch.setattr("genie_robo.data.parquet._MAX_BYTES", 60)
    with pytest.raises(ValueError, match=r"bytes in observation.state, above 60"):
        table.read(["observation.state"])
