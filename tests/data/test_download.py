"""Shards that are missing or empty: what the message advises, and reading the others."""

import json
import shlex

import pytest
from json_edits import change_json
from rlds_files import (
    make_source,
    open_table,
    serialize,
    table_episode,
    table_features,
    write_rlds,
    write_shard,
)

from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.table import load_command
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.schema import open_schema


@pytest.fixture
def folder(tmp_path):
    """Six shards of one episode each, of 2 to 7 steps, and a val split of one."""
    train = [[table_episode(2 + i, tag=i)] for i in range(6)]
    return write_rlds(tmp_path, {"train": train, "val": [[table_episode(9, tag=9)]]})


def shard(folder, number, split="train", total=6):
    return folder / f"table-{split}.tfrecord-{number:05d}-of-{total:05d}"


def lengths(folder, *rlds_splits):
    return RldsDataset(folder, make_source(), rlds_splits=rlds_splits).lengths.tolist()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train[:3shards]"], [2, 3, 4]),
        (["train[3shards:]"], [5, 6, 7]),
        (["train[1shards:3shards]"], [3, 4]),
        (["train[-1shards:]"], [7]),
        (["train[:]"], [2, 3, 4, 5, 6, 7]),
        (["train[:99shards]"], [2, 3, 4, 5, 6, 7]),
        (["val", "train[:1shards]"], [9, 2]),
        (["train[:2shards]", "train[1shards:3shards]"], [2, 3, 4]),
    ],
)
def test_part_of_a_split(folder, words, expected):
    assert lengths(folder, *words) == expected


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("train[6shards:]", r"train\[6shards:\] has none of the 6 shards"),
        (
            "train[:3]",
            r"has no split train\[:3\]; it has train, val. Part of a split is written in",
        ),
        ("train[:50%]", "Part of a split is written in shards: train"),
        ("test[:1shards]", "has no split test"),
        ("../train", "has no split ../train"),
    ],
)
def test_a_part_that_is_none(folder, word, reason):
    with pytest.raises(ValueError, match=reason):
        open_schema(folder, [word])


def test_a_partial_download_is_read_as_the_message_says(folder):
    """The advised words, pasted into a shell, read what is there."""
    for number in (1, 4):
        shard(folder, number).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        open_table(folder)
    message = str(caught.value)
    assert message.startswith(f"shard {shard(folder, 1)} is missing, but dataset_info.json lists")
    assert "and 1 more; complete the download, or read only what is there: " in message
    words = message.split("what is there: ")[1].removesuffix(" (for inspect without `data.`)")
    command = load_command("train")
    composed = compose_config(
        command, [*shlex.split(words), "run=x", "data.path=y", "data=tabletop"]
    )
    assert lengths(folder, *to_config(command, composed).data.rlds_splits) == [2, 4, 5, 7, 9]


def test_parts_of_a_missing_part_keep_their_numbers(folder):
    shard(folder, 4).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        lengths(folder, "train[3shards:]")
    for word in ("train[3shards:4shards]", "train[5shards:6shards]"):
        assert word in str(caught.value)


def numbered(folder, shards, *rlds_splits):
    dataset = RldsDataset(folder, make_source(), rlds_splits=rlds_splits, shards=shards)
    return dataset.lengths.tolist()


@pytest.mark.parametrize(
    ("shards", "expected"),
    [
        ("0", [2, 9]),
        ("[0,5]", [2, 7, 9]),
        ("1-3", [3, 4, 5]),
        (" 4-5, 0 ", [2, 6, 7, 9]),
        ("0-5", [2, 3, 4, 5, 6, 7, 9]),
        ("", [2, 3, 4, 5, 6, 7, 9]),
    ],
)
def test_shards_by_number(folder, shards, expected):
    for number in {0, 1, 2, 3, 4, 5} - {length - 2 for length in expected}:
        shard(folder, number).unlink()
    assert numbered(folder, shards) == expected


def test_shards_by_number_of_one_split(folder):
    assert numbered(folder, "0,2", "train") == [2, 4]
    assert numbered(folder, "2-3", "train[1shards:]") == [4, 5]


@pytest.mark.parametrize(
    ("shards", "wrong"),
    [
        ("6", "goes beyond the shards, which are 0-5"),
        ("3-1", "goes beyond the shards"),
        ("0-999999999", "goes beyond the shards"),
        ("-1", "is not a list of numbers such as 0-63,70"),
        ("0,,2", "is not a list of numbers"),
        ("first", "is not a list of numbers"),
        ("9" * 5000, "is not a list of numbers"),
    ],
)
def test_numbers_of_no_shards(folder, shards, wrong):
    with pytest.raises(ValueError, match=rf"data.shards={shards} {wrong}"):
        numbered(folder, shards)


@pytest.mark.parametrize("typed", ["0,2-3", "[0,2-3]", "'0,2-3'"])
def test_a_partial_download_of_one_split(folder, typed):
    for number in (1, 4, 5):
        shard(folder, number).unlink()
    with pytest.raises(FileNotFoundError, match=r"complete the download, or add data.shards=0,2-3"):
        lengths(folder, "train")
    words = [f"data.shards={typed}", "data.rlds_splits=[train]", "run=x", "data.path=y"]
    data = to_config(load_command("train"), compose_config(load_command("train"), words)).data
    assert numbered(folder, data.shards, *data.rlds_splits) == [2, 4, 5]


def test_nothing_is_there(folder):
    for number in range(6):
        shard(folder, number).unlink()
    shard(folder, 0, "val", 1).unlink()
    with pytest.raises(FileNotFoundError, match=r"and 6 more; complete the download$"):
        open_table(folder)


def test_shards_with_the_numbers_of_another_version(folder):
    for number in range(6):
        shard(folder, number).rename(shard(folder, number, total=8))
    with pytest.raises(FileNotFoundError) as caught:
        lengths(folder, "train")
    assert "the folder has table-train.tfrecord-00000-of-00008, of another version" in str(
        caught.value
    )
    assert "download" not in str(caught.value)


@pytest.mark.parametrize("is_there", [True, False])
def test_an_empty_shard_without_records_is_no_fault(folder, is_there):
    """Writers that spread few episodes over many shards leave some empty."""
    info = json.loads((folder / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"][2] = "0"
    (folder / "dataset_info.json").write_text(json.dumps(info))
    shard(folder, 2).write_bytes(b"")
    if not is_there:
        shard(folder, 2).unlink()
    assert lengths(folder, "train") == [2, 3, 5, 6, 7]
    assert lengths(folder, "train") == [2, 3, 5, 6, 7]  # from the cache


def test_an_empty_shard_with_records_is_one(folder):
    shard(folder, 2).write_bytes(b"")
    with pytest.raises(ValueError, match=r"00002-of-00006 has zero bytes: its download failed"):
        open_table(folder)


def test_a_shard_that_should_be_empty(folder):
    change_json(
        folder / "dataset_info.json",
        lambda info: info["splits"][0].update(shardLengths=["1", "1", "0", "1", "1", "1"]),
    )
    with pytest.raises(ValueError, match=r"00002-of-00006 holds 1 records, but .* says 0"):
        open_table(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "has zero bytes: its download failed"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "run `git lfs pull`"),
        ('{"name": ', r"is cut or damaged at line 1, column 10 .*; download it again"),
        ("[]", "it holds a list instead of an object"),
        ("\xff\xfe", "cannot be read"),
    ],
)
@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
def test_the_cause_decides_the_advice_about_a_json_file(folder, name, content, reason):
    (folder / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=rf"{name} .*{reason}"):
        open_table(folder)


def test_a_description_without_splits(folder):
    (folder / "dataset_info.json").write_text('{"splits": 3}')
    with pytest.raises(
        ValueError, match="it lacks a name and a list of splits; take the file that"
    ):
        open_table(folder)


def test_a_shard_of_array_records_with_none(tmp_path):
    folder = write_rlds(tmp_path, {"train": [[table_episode(4)], []]}, file_format="array_record")
    assert lengths(folder) == [4]
    write_shard(
        folder / "table-train.array_record-00001-of-00002",
        [serialize(table_features(), table_episode(3))],
        "array_record",
    )
    with pytest.raises(ValueError, match=r"holds 1 records, but dataset_info.json says 0"):
        lengths(folder)
