"""Datasets at an address: fetched into the cache, with the same episodes as a local copy."""

import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from http_folder import Behaviour, serving
from json_edits import change_json
from rlds_files import make_source, table_episode, write_rlds

from genie_robo.data import remote as remote_module
from genie_robo.data.cache import cache_folder
from genie_robo.data.formats import open_dataset
from genie_robo.data.metadata import open_folder
from genie_robo.data.windows import split_episodes

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

SHARD = "table-train.tfrecord-00001-of-00004"


@pytest.fixture
def folder(tmp_path):
    """Four shards of two episodes each, and a val split of one."""
    train = [[table_episode(2 + 2 * i + j, tag=2 * i + j) for j in range(2)] for i in range(4)]
    return write_rlds(tmp_path, {"train": train, "val": [[table_episode(9, tag=9)]]})


@pytest.fixture
def memory(folder):
    """The folder in a file system of fsspec that lies in memory."""
    system = fsspec.filesystem("memory")
    system.put(str(folder), "/robots/table/1.0.0", recursive=True)
    yield "memory://robots/table/1.0.0"
    system.rm("/robots", recursive=True)


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    monkeypatch.setattr(remote_module, "_WAIT_S", 0.01)


def read(address, **settings):
    return open_dataset(address, make_source(), **settings)


def assert_same_episodes(one, other):
    assert one.fingerprint == other.fingerprint
    assert one.episode_ids == other.episode_ids
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(ours.robot_actions, theirs.robot_actions)
        assert ours.images == theirs.images


def shards_in_cache():
    return sorted((cache_folder() / "remote").rglob("table-*record-*"))


def bytes_in_cache():
    return sum(file.stat().st_size for file in (cache_folder() / "remote").rglob("*"))


def fetches(served, name=SHARD):
    """The first bytes of all requests for a shard's content."""
    return [start for method, asked, start in served.asked if (method, asked) == ("GET", name)]


def test_a_folder_in_an_object_store(folder, memory):
    remote, local = read(memory), read(folder)
    assert_same_episodes(remote, local)
    assert remote.place == memory
    assert split_episodes(
        remote.episode_ids, val_fraction=0.2, test_fraction=0.2
    ) == split_episodes(local.episode_ids, val_fraction=0.2, test_fraction=0.2)
    assert_same_episodes(read(memory), local)  # from the cache


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_a_folder_on_a_web_server_is_fetched_once(tmp_path, file_format):
    folder = write_rlds(
        tmp_path, {"train": [[table_episode(4)], [table_episode(5)]]}, file_format=file_format
    )
    with serving(folder) as served:
        assert_same_episodes(read(served.address), read(folder))
        assert_same_episodes(pickle.loads(pickle.dumps(read(served.address))), read(folder))
    shards = [name for method, name, _ in served.asked if method == "GET" and "record-" in name]
    assert len(shards) == 2


@pytest.mark.parametrize(
    "kind",
    [
        {"has_ranges": False},
        {"has_etag": False},
    ],
)
def test_plain_servers(folder, kind):
    behaviour = Behaviour()
    vars(behaviour).update(kind)
    with serving(folder, behaviour) as served:
        assert_same_episodes(read(served.address), read(folder))


class Dropping(Behaviour):
    """Closes the connection half way, the first time that a shard is asked for."""

    def __init__(self, *, has_ranges=True, times=1):
        self.has_ranges, self._times = has_ranges, times

    def body(self, name, content, start):
        if name == SHARD and self._times:
            self._times -= 1
            yield content[: len(content) // 2]
            time.sleep(0.1)  # what has not been read when the connection ends is lost
        else:
            yield content


@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_dropped_connection_is_resumed(folder, has_ranges):
    half = (folder / SHARD).stat().st_size // 2
    with serving(folder, Dropping(has_ranges=has_ranges)) as served:
        assert_same_episodes(read(served.address), read(folder))
    assert fetches(served) == ([0, half] if has_ranges else [0, 0])


def test_a_server_that_always_drops_is_an_error(folder):
    with (
        serving(folder, Dropping(has_ranges=False, times=99)) as served,
        pytest.raises(ConnectionError, match=rf"{SHARD} (cannot be read|ended after)"),
    ):
        read(served.address)
    assert len(fetches(served)) == remote_module._ATTEMPTS


def test_the_download_of_a_killed_process_is_continued(folder):
    """A file of the same version that is not whole yet is completed, not begun again."""

    with serving(folder, Dropping()) as served:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(remote_module, "_ATTEMPTS", 1)
            with pytest.raises(ConnectionError):
                read(served.address)
        (part,) = (cache_folder() / "remote").rglob("*.part")
        half = part.stat().st_size
        assert 0 < half < (folder / SHARD).stat().st_size
        assert_same_episodes(read(served.address), read(folder))
    assert fetches(served) == [0, half]
    assert not list((cache_folder() / "remote").rglob("*.part"))


class WrongByte(Behaviour):
    """Flips a bit of a shard, some times."""

    def __init__(self, times, place=-100):
        self._times, self._place = times, place

    def body(self, name, content, start):
        changed = bytearray(content)
        if name == SHARD and self._times:
            self._times -= 1
            changed[self._place] ^= 1
        yield bytes(changed)


@pytest.mark.parametrize("place", [-100, 3], ids=["in a record", "in the length of one"])
def test_a_wrong_byte_is_noticed_and_fetched_again(folder, place, caplog):
    with serving(folder, WrongByte(1, place)) as served:
        assert_same_episodes(read(served.address), read(folder))
    assert len(fetches(served)) == 2
    assert "is damaged in the cache" in caplog.text


def test_a_shard_that_is_damaged_at_the_server_is_an_error_that_names_it(folder):
    with serving(folder, WrongByte(99)) as served:
        with pytest.raises(ValueError, match="also after") as caught:
            read(served.address)
        assert f"{served.address}/{SHARD} was fetched again: its copy there" in str(caught.value)
        assert len(fetches(served)) == 2
    with serving(folder, WrongByte(99, 3)) as served:
        with pytest.raises(ValueError, match=f"shard {served.address}/{SHARD} is damaged"):
            read(served.address)
        assert len(fetches(served)) == 2


def test_a_damaged_record_at_the_server_is_skipped_like_that_of_a_local_folder(folder):
    data = bytearray((folder / SHARD).read_bytes())
    data[-100] ^= 1
    (folder / SHARD).write_bytes(data)
    with serving(folder) as served:
        assert_same_episodes(
            read(served.address, bad_episode_limit=0.5), read(folder, bad_episode_limit=0.5)
        )


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_cached_shard_that_was_damaged_is_fetched_again(folder, damage):
    with serving(folder) as served:
        opened = read(served.address)
        (shard,) = [file for file in shards_in_cache() if file.name == SHARD]
        data = bytearray(shard.read_bytes())
        data[-100] ^= 1
        shard.write_bytes(data[: -50 if damage == "cut" else None])
        assert_same_episodes(opened, read(folder))
        assert len(fetches(served)) == 2


def test_a_shard_that_changed_at_the_server_is_fetched_again(folder, tmp_path):
    other = write_rlds(tmp_path / "other", {"train": [[table_episode(4, tag=7)]]})
    name = "table-train.tfrecord-00000-of-00001"
    with serving(other) as served:
        before = read(served.address)
        data = write_rlds(tmp_path / "new", {"train": [[table_episode(4, tag=8)]]}) / name
        (other / name).write_bytes(data.read_bytes())
        after = read(served.address)
        assert before.fingerprint != after.fingerprint
        assert_same_episodes(after, read(other))
        shards_in_cache()[0].unlink()
        with pytest.raises(ValueError, match="has changed since the dataset was opened"):
            before[0]


def test_the_cache_never_exceeds_its_limit(folder, monkeypatch):
    sizes = [file.stat().st_size for file in folder.glob("table-*record-*")]
    texts = sum((folder / name).stat().st_size for name in ("features.json", "dataset_info.json"))
    limit = 2 * max(sizes) + texts
    monkeypatch.setenv("GENIE_ROBO_CACHE_GB", str(limit / 1e9))
    with serving(folder) as served:
        opened = read(served.address)
        assert_same_episodes(opened, read(folder))
        for i in (0, 8, 3, 0, 5):
            assert opened[i].episode_id == opened.episode_ids[i]
            assert sum(f.stat().st_size for f in shards_in_cache()) + texts <= limit
    assert 0 < len(shards_in_cache()) < len(sizes)


def test_the_shard_used_longest_ago_leaves_first_and_one_in_use_never(folder, monkeypatch):
    files = sorted(folder.glob("table-train*"))
    texts = sum((folder / name).stat().st_size for name in ("features.json", "dataset_info.json"))
    limit = sum(file.stat().st_size for file in files[1:]) + texts
    monkeypatch.setenv("GENIE_ROBO_CACHE_GB", str(limit / 1e9))
    with serving(folder) as served:
        opened = read(served.address, shards="0-2", rlds_splits=["train"])
        opened[0]  # shard 0 is now the last one used, shard 1 the first
        schema = open_folder(served.address, ["train"])
        held = schema.remote
        held.look_up([shard.path for shard in schema.shards])
        with held.holding(schema.shards[1].path), held.holding(schema.shards[3].path):
            assert [file.name[21:26] for file in shards_in_cache()] == ["00000", "00001", "00003"]
            with (
                held.holding(schema.shards[0].path),
                pytest.raises(OSError, match=r"does not fit into the cache .* not in use"),
                held.holding(schema.shards[2].path),
            ):
                pass


def test_a_file_larger_than_the_cache(folder, monkeypatch):
    monkeypatch.setenv("GENIE_ROBO_CACHE_GB", "0.000001")
    with (
        serving(folder) as served,
        pytest.raises(OSError, match=r"does not fit .* raise GENIE_ROBO_CACHE_GB"),
    ):
        read(served.address)
    assert not shards_in_cache()


@pytest.mark.parametrize("limit", ["0", "-1", "much", "nan", "inf"])
def test_a_limit_that_is_none(folder, monkeypatch, limit):
    monkeypatch.setenv("GENIE_ROBO_CACHE_GB", limit)
    with (
        serving(folder) as served,
        pytest.raises(ValueError, match=f"GENIE_ROBO_CACHE_GB={limit} must be a positive number"),
    ):
        read(served.address)


def test_threads_share_one_download(folder):
    class Slow(Behaviour):
        def body(self, name, content, start):
            time.sleep(0.05)
            yield content

    with serving(folder, Slow()) as served:
        opened = read(served.address)
        for file in shards_in_cache():
            file.unlink()
        before = len(fetches(served))
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(opened[2].episode_id)) for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [opened.episode_ids[2]] * 6
        assert len(fetches(served)) == before + 1


# Opened in one process, then read by two that it forks, as the workers of a DataLoader are.
PROGRAM = """
import os, sys
from pathlib import Path
from rlds_files import make_source
from genie_robo.data.cache import cache_folder
from genie_robo.data.formats import open_dataset

dataset = open_dataset(sys.argv[1], make_source())
for file in cache_folder().rglob("table-*"):
    file.unlink()
workers = []
while len(workers) < 2:
    workers.append(os.fork())
    if not workers[-1]:
        assert [episode.episode_id for episode in dataset] == list(dataset.episode_ids)
        os._exit(0)
for worker in workers:
    assert os.waitpid(worker, 0)[1] == 0
print(dataset.fingerprint)
"""


def test_forked_processes_share_one_download(folder, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with serving(folder) as served:
        found = subprocess.run(
            [sys.executable, str(tmp_path / "program.py"), served.address],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        )
    assert found.stdout.strip() == read(folder).fingerprint, found.stderr
    assert fetches(served) == [0, 0]


def test_progress_is_shown_where_it_takes_long(folder, capsys, monkeypatch):
    with serving(folder) as served:
        read(served.address, shards="0")
        assert not capsys.readouterr().err
        monkeypatch.setattr("genie_robo.data.index.BAR_AFTER_S", 1e-9)
        opened = read(served.address)
        shown = capsys.readouterr().err
        assert "fetch and index table" in shown
        assert "MB/s" in shown
        monkeypatch.setattr(remote_module, "BAR_AFTER_S", 1e-9)
        for file in shards_in_cache():
            file.unlink()
        capsys.readouterr()
        opened[2]
        assert f"fetch {SHARD}" in capsys.readouterr().err


def test_a_folder_of_too_many_files(folder):
    change_json(
        folder / "dataset_info.json",
        lambda info: info["splits"][0].update(shardLengths=["1"] * 100_001),
    )
    with (
        serving(folder) as served,
        pytest.raises(ValueError, match="lists 100002 shards with records, more than 100000; name"),
    ):
        read(served.address)


class Endless(Behaviour):
    """Sends more than it said, without an end."""

    has_length = False

    def __init__(self, endless):
        self._endless = endless

    def body(self, name, content, start):
        yield content
        while name == self._endless:
            yield bytes(2**20)


def test_an_endless_description(folder, monkeypatch):
    monkeypatch.setattr("genie_robo.data.metadata.MAX_JSON_BYTES", 2**22)
    with (
        serving(folder, Endless("features.json")) as served,
        pytest.raises(ValueError, match=r"features.json has more than 4194304 bytes"),
    ):
        read(served.address)


def test_a_server_that_does_not_say_the_size(folder):
    with (
        serving(folder, Endless("")) as served,
        pytest.raises(ValueError, match=r"does not say how large .*00000-of-00004 is"),
    ):
        read(served.address)


def test_a_shard_that_is_longer_than_it_was_said_to_be(folder):
    class Longer(Behaviour):
        def __init__(self):
            self.has_length = True

        def status(self, handler):
            self.has_length = handler.command == "HEAD"
            return 200

        def body(self, name, content, start):
            yield content
            while name == SHARD:
                yield bytes(2**20)

    with (
        serving(folder, Longer()) as served,
        pytest.raises(ValueError, match=rf"{SHARD} sends more than the \d+ bytes that it has"),
    ):
        read(served.address)
    assert bytes_in_cache() < 2**20


@pytest.mark.parametrize(
    "name", ["../../../evil", "/etc/evil", "..", "a/../../evil", ".state/../../evil"]
)
def test_names_that_lead_out_of_the_cache(folder, name):
    change_json(
        folder / "dataset_info.json",
        lambda info: info["splits"][0].update(filepathTemplate=name),
    )
    with (
        serving(folder) as served,
        pytest.raises(ValueError, match="is not a file in the dataset's folder"),
    ):
        read(served.address)


def test_no_dataset_there(folder):
    with serving(folder) as served:
        with pytest.raises(FileNotFoundError, match=r"data.path=http.*/other has no features.json"):
            read(f"{served.address}/other")
        (folder / SHARD).unlink()
        with pytest.raises(FileNotFoundError) as caught:
            read(served.address, rlds_splits=["train"])
        assert f"shard {served.address}/{SHARD} is missing" in str(caught.value)
        assert "add data.shards=0,2-3, or read only" in str(caught.value)
        assert len(read(served.address, rlds_splits=["train"], shards="0,2-3")) == 6


def test_a_damaged_description_is_named_by_its_address(folder):
    (folder / "features.json").write_text("{")
    with (
        serving(folder) as served,
        pytest.raises(ValueError, match=f"{served.address}/features.json cannot be read"),
    ):
        read(served.address)


def test_an_interrupted_index_keeps_the_shards_that_are_done(folder):
    with serving(folder, Dropping(has_ranges=False, times=remote_module._ATTEMPTS)) as served:
        with pytest.raises(ConnectionError):
            read(served.address)
        for file in shards_in_cache():
            file.unlink()
        assert_same_episodes(
            read(served.address, rlds_splits=["train"]), read(folder, rlds_splits=["train"])
        )
        assert len(fetches(served, SHARD.replace("00001-of", "00000-of"))) == 2  # for its episodes
