import json
import logging
import os
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from rlds_files import (
    encode_image,
    frame_tfrecord,
    grey,
    only_shard,
    serialize,
    table_episode,
    table_features,
    write_rlds,
)

from genie_robo.data import index as index_module
from genie_robo.data.index import build_index


@pytest.fixture
def folder(tmp_path):
    """Four episodes of 3, 4, 5 and 6 steps in one shard."""
    return write_rlds(tmp_path, {"train": [[table_episode(3 + i, tag=i) for i in range(4)]]})


@pytest.fixture
def index_file(cache_home):
    """The only cached index."""

    def find():
        (file,) = cache_home.rglob("index_*.json")
        return file

    return find


@pytest.fixture
def no_reading(monkeypatch):
    """Switch that makes reading any record fail."""

    def forbid() -> None:
        def fail(*_args):
            raise AssertionError("a record was read")

        monkeypatch.setattr(index_module, "read_record", fail)

    return forbid


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_every_record_is_found(tmp_path, file_format):
    shards = [[table_episode(3), table_episode(4, tag=1)], [table_episode(5, tag=2)]]
    folder = write_rlds(tmp_path, {"train": shards}, file_format=file_format)
    index = build_index(tmp_path)
    assert index.folder == folder
    assert [entry.num_steps for entry in index.entries] == [3, 4, 5]
    assert [entry.number for entry in index.entries] == [0, 1, 0]
    assert [index.read(entry).num_steps for entry in index.entries] == [3, 4, 5]
    assert not any(entry.problem or entry.faults for entry in index.entries)


def test_ids_are_of_the_content_not_of_the_place(tmp_path):
    episodes = [table_episode(3), table_episode(4, tag=1)]
    one = build_index(write_rlds(tmp_path / "a", {"train": [episodes]}))
    for episode in episodes:
        for step in episode["steps"]:
            step["observation"]["image"].seek(0)
            step["observation"]["wrist"].seek(0)
            step["observation"]["depth"].seek(0)
    other = build_index(
        write_rlds(tmp_path / "b", {"val": [episodes]}, file_format="array_record", name="copy")
    )
    assert [e.episode_id for e in one.entries] == [e.episode_id for e in other.entries]
    assert one.fingerprint == other.fingerprint
    assert len({e.episode_id for e in one.entries}) == 2
    assert all(len(e.episode_id) == 16 for e in one.entries)


def test_the_index_is_kept_in_the_cache_folder(folder, cache_home, index_file, no_reading):
    before = sorted(folder.iterdir())
    first = build_index(folder)
    assert sorted(folder.iterdir()) == before
    assert index_file().parent == cache_home / "genie_robo"
    no_reading()
    assert build_index(folder).entries == first.entries


def test_tensorflow_datasets_still_opens_the_folder(folder):
    build_index(folder)
    assert tfds.builder_from_directory(str(folder)).info.splits["train"].num_examples == 4


def test_a_read_only_folder_is_left_alone(folder, read_only, no_reading):
    before = sorted(folder.iterdir())
    read_only(folder)
    first = build_index(folder)
    assert sorted(folder.iterdir()) == before
    no_reading()
    assert build_index(folder).entries == first.entries


def test_no_place_to_remember(folder, cache_home, caplog):
    (cache_home / "genie_robo").write_text("a file where the folder should be")
    assert len(build_index(folder).entries) == 4
    assert "cannot be kept in" in caplog.text
    assert "it will be made again next time" in caplog.text


def test_a_changed_shard_is_indexed_anew(folder):
    before = build_index(folder)
    shard = only_shard(folder)
    time_ns = shard.stat().st_mtime_ns
    episodes = [table_episode(3 + i, tag=i + 1) for i in range(4)]
    shard.write_bytes(
        b"".join(frame_tfrecord(serialize(table_features(), episode)) for episode in episodes)
    )
    os.utime(shard, ns=(time_ns + 1, time_ns + 1))
    after = build_index(folder)
    assert not {e.episode_id for e in before.entries} & {e.episode_id for e in after.entries}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"stamp": 3}', '{"stamp": "%s"}'])
def test_a_damaged_index_file_is_made_anew(folder, index_file, content):
    first = build_index(folder)
    file = index_file()
    stamp = json.loads(file.read_text())["stamp"]
    file.write_text(content.replace("%s", stamp))
    assert build_index(folder).entries == first.entries
    assert json.loads(file.read_text())["stamp"] == stamp


def test_a_moved_dataset_is_indexed_where_it_is(folder, tmp_path):
    first = build_index(folder)
    shutil.move(folder, tmp_path / "elsewhere")
    moved = build_index(tmp_path / "elsewhere")
    assert moved.fingerprint == first.fingerprint
    assert {entry.shard.parent for entry in moved.entries} == {tmp_path / "elsewhere"}


def test_each_choice_of_columns_has_an_index(folder, no_reading):
    build_index(folder)
    both = build_index(folder, keys=["action", "observation/image"]).entries
    no_reading()
    assert build_index(folder, keys=["observation/image", "action"]).entries == both
    with pytest.raises(AssertionError, match="a record was read"):
        build_index(folder, keys=["action"])


def test_records_are_missing_at_the_end(folder):
    shard = only_shard(folder)
    last = build_index(folder).entries[-1]
    with shard.open("r+b") as file:
        file.truncate(last.offset - 12)
    message = "holds 3 records, but dataset_info.json says 4: it is cut, damaged"
    with pytest.raises(ValueError, match=message):
        build_index(folder)


def test_a_missing_shard_is_named_although_there_is_an_index(folder):
    build_index(folder)
    only_shard(folder).unlink()
    with pytest.raises(FileNotFoundError, match=r"table-train.*00000-of-00001 is missing"):
        build_index(folder)


def test_no_episodes(tmp_path):
    folder = write_rlds(tmp_path, {"train": []})
    with pytest.raises(ValueError, match=r"holds no episodes; check data.rlds_splits"):
        build_index(folder)


def test_a_flipped_byte_condemns_one_record(folder):
    shard = only_shard(folder)
    target = build_index(folder).entries[2]
    data = bytearray(shard.read_bytes())
    data[target.offset + 100] ^= 1
    shard.write_bytes(data)
    problems = [entry.problem for entry in build_index(folder).entries]
    assert problems == ["", "", "the data does not match its checksum", ""]


def test_a_record_that_is_no_episode(folder):
    shard = only_shard(folder)
    data = shard.read_bytes()
    last = build_index(folder).entries[-1]
    shard.write_bytes(data[: last.offset - 12] + frame_tfrecord(b"some other bytes"))
    assert "it is not an episode" in build_index(folder).entries[-1].problem


def test_unusable_columns_are_noted(tmp_path):
    actions = np.zeros((4, 7), np.float32)
    actions[1, 2] = np.nan
    unused = np.zeros((4, 7), np.float32)
    unused[3, 0] = np.inf
    images = [encode_image(grey(t)) for t in range(3)]
    images.append(type(images[0])(b"this is no image"))
    episodes = [
        table_episode(4, actions=actions),
        table_episode(4, actions=unused, tag=1),
        table_episode(4, images=images, tag=2),
        table_episode(4, tag=3),
    ]
    episodes[3]["steps"][3]["observation"]["state"] = np.full(7, np.nan, np.float32)
    folder = write_rlds(tmp_path, {"train": [episodes]})
    keys = ["action", "observation/image", "observation/state"]
    assert [dict(entry.faults) for entry in build_index(folder, keys=keys).entries] == [
        {"action": "has values that are not finite"},
        {},  # the last action is never used
        {"observation/image": "is not JPEG or PNG"},
        {"observation/state": "has values that are not finite"},
    ]
    assert not any(entry.faults for entry in build_index(folder, keys=["is_first"]).entries)


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_threads_find_the_same_in_the_same_order(tmp_path, monkeypatch, file_format):
    shards = [[table_episode(2 + i, tag=10 * n + i) for i in range(5)] for n in range(3)]
    folder = write_rlds(tmp_path, {"train": shards}, file_format=file_format)
    alone = build_index(folder, keys=["action"])
    monkeypatch.setattr(index_module, "_load", lambda *_args: None)
    monkeypatch.setattr(index_module, "_LONG_RECORD", 0)
    monkeypatch.setattr(index_module, "_CHUNK", 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert build_index(folder, keys=["action"]) == alone
    monkeypatch.setattr(index_module, "_examine", lambda *_args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build_index(folder, keys=["action"])


def test_a_long_index_shows_its_progress(folder, monkeypatch, capsys):
    monkeypatch.setattr(index_module, "_QUIET_BYTES", 0)
    assert len(build_index(folder).entries) == 4
    shown = capsys.readouterr().err
    assert "index table train" in shown
    assert "4/4" in shown


def test_a_name_with_brackets_is_no_markup_of_the_progress_bar(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(index_module, "_QUIET_BYTES", 0)
    folder = write_rlds(tmp_path, {"train": [[table_episode(3)]]})
    named = {"name": "a[b] [red]", "splits": [{"name": "t[/]", "shardLengths": ["1"]}]}
    named["splits"][0]["filepathTemplate"] = "table-train.tfrecord-{SHARD_X_OF_Y}"
    (folder / "dataset_info.json").write_text(json.dumps(named))
    assert len(build_index(folder).entries) == 1
    assert "index a[b] [red] t[/]" in capsys.readouterr().err


def test_only_the_chosen_splits_are_read(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    splits = {"train": [[table_episode(3)]], "val": [[table_episode(4, tag=1)]]}
    folder = write_rlds(tmp_path, splits)
    (folder / "table-train.tfrecord-00000-of-00001").unlink()
    assert [entry.num_steps for entry in build_index(folder, ["val"]).entries] == [4]
