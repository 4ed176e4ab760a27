"""Datasets that want code to run, files to be written elsewhere, or memory: none of it happens."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from json_edits import change_columns, change_json
from rlds_files import TABLE_SOURCE, only_shard, open_table, table_episode, write_rlds

from genie_robo.build import build_datasets
from genie_robo.config import DataConfig, DatasetConfig
from genie_robo.data import cache as cache_module
from genie_robo.data.index import SAVED, build_index
from genie_robo.inspection.facts import inspect_dataset, record_first

ROOT = Path(__file__).parents[2]
PAYLOAD = "from pathlib import Path\nPath(__file__).with_name('it_ran').touch()\nclass Text: ...\n"


@pytest.fixture
def folder(tmp_path):
    return write_rlds(tmp_path / "set", {"train": [[table_episode(4, tag=t) for t in range(8)]]})


@pytest.fixture
def payload(folder, monkeypatch):
    """A module in the dataset's folder, which is on sys.path and is the working directory."""
    (folder / "payload.py").write_text(PAYLOAD)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(folder)
    yield folder / "it_ran"
    assert "payload" not in sys.modules
    assert not (folder / "it_ran").exists()


def name_a_class(folder: Path, place: str) -> None:
    """Name payload.Text as the class of an unused column, a used one, the steps or all of it."""
    text = {"pythonClassName": "payload.Text", "text": {}}
    old = {"type": "payload.Text", "content": {}, "proto_cls": "payload.Text"}
    change_json(folder / "dataset_info.json", lambda info: info.update(moduleName="payload"))
    if place in ("unused", "used"):
        key = "is_first" if place == "unused" else "language_instruction"
        change_columns(folder, lambda columns: columns.update({key: text, "older": old}))
    elif place == "metadata":
        change_json(
            folder / "features.json",
            lambda top: top["featuresDict"]["features"].update(episode_metadata=text),
        )
    else:
        change_json(
            folder / "features.json", lambda top: top.update(pythonClassName="payload.Text")
        )


PLACES = ("unused", "used", "metadata", "top")


@pytest.mark.parametrize("place", PLACES)
def test_no_module_is_imported_in_this_process(folder, payload, tmp_path, place):
    name_a_class(folder, place)
    config = DataConfig(
        path=str(folder),
        source=TABLE_SOURCE,
        mix={"other": DatasetConfig(path=str(folder), source=TABLE_SOURCE)},
    )
    uses = (
        lambda: inspect_dataset(folder),
        lambda: record_first(folder, tmp_path / "a.rrd", num_episodes=1),
        lambda: [dataset[0] for dataset in build_datasets(config).values()],
    )
    for use in uses:
        if place in ("unused", "metadata"):
            use()
        elif place == "top" or use is uses[2]:
            with pytest.raises(ValueError, match=r"payload\.Text"):
                use()
        else:
            use()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["used", "top"])
@pytest.mark.parametrize(
    "module", [("genie_robo", "inspect", "path=."), ("genie_robo.commands.importer", ".")]
)
def test_no_module_is_imported_by_the_commands(folder, payload, module, place):
    """`python -m` has the working directory, the dataset's folder, on its path."""
    name_a_class(folder, place)
    done = subprocess.run(
        [sys.executable, "-m", *module],
        capture_output=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        timeout=300,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert (done.returncode == 0) == (place == "used"), done.stderr.decode()
    assert not payload.exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": "x/../../../../my_settings"}, "which is not a file in the dataset's folder"),
        ({"name": ".."}, "is missing"),
        ({"name": "/etc/x"}, "is missing|not a file in"),
        ({"name": "a\x00b"}, "which is not a file in the dataset's folder"),
        ({"name": "a\\..\\b"}, "which is not a file in the dataset's folder"),
        ({"filepathTemplate": "../{DATASET}"}, "which is not a file in the dataset's folder"),
        ({"filepathTemplate": "/etc/passwd"}, "which is not a file in the dataset's folder"),
        ({"filepathTemplate": "."}, "which is not a file in the dataset's folder"),
        ({"filepathTemplate": "a/../../b"}, "which is not a file in the dataset's folder"),
    ],
)
def test_no_name_leads_out_of_the_folder(folder, tmp_path, cache_home, change, reason):
    def edit(info):
        info["splits"][0].update(change)

    build_index(folder)
    before = all_files(tmp_path)
    change_json(folder / "dataset_info.json", edit)
    with pytest.raises((ValueError, FileNotFoundError), match=reason):
        inspect_dataset(folder)
    assert all_files(tmp_path) == before


@pytest.mark.parametrize("name", ["x/../../../../my_settings", "../a", "/abs"])
def test_the_name_of_a_dataset_leads_nowhere(folder, tmp_path, name):
    before = all_files(tmp_path)
    change_json(folder / "dataset_info.json", lambda info: info.update(name=name))
    with pytest.raises(ValueError, match="which is not a file in the dataset's folder"):
        inspect_dataset(folder)
    assert all_files(tmp_path) == before


def all_files(folder: Path) -> dict[Path, bytes]:
    return {
        file: b"" if file.name == "dataset_info.json" else file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_odd_split_names_are_fine(tmp_path, cache_home):
    """They are names of files, and the cache is named by a digest."""
    name = "träin set.v1 [a]"
    folder = write_rlds(tmp_path, {name: [[table_episode(4)]]})
    assert len(build_index(folder).entries) == 1
    assert len(build_index(folder, [name]).entries) == 1
    names = [file.name for file in cache_home.rglob("*.json")]
    assert names
    assert all(set(name) <= set("index_0123456789abcdef.json") for name in names)


@pytest.mark.parametrize(
    "change",
    [{"length": 2**40}, {"offset": -5}, {"offset": "0"}, {"num_steps": 1.5}, {"episode_id": "../x"},
     {"faults": []}, {"faults": {"action": 3}}, {"shard": 7}, {"shard": -1}],
)  # fmt: skip
def test_an_index_with_a_right_checksum_and_wrong_content_is_ignored(folder, cache_home, change):
    good = build_index(folder)
    (file,) = cache_home.rglob("index_*.json")
    content = json.loads(file.read_text())
    del content["checksum"]
    fields = ["shard", *SAVED]
    for key, value in change.items():
        content["records"][0][fields.index(key)] = value
    checksum = cache_module._checksum(content)
    file.write_text(json.dumps({"checksum": checksum, **content}))
    assert build_index(folder).entries == good.entries


def test_a_nested_json_file_is_refused(folder):
    for name in ("features.json", "dataset_info.json"):
        good = (folder / name).read_text()
        (folder / name).write_text("[" * 100_000)
        with pytest.raises(ValueError, match=rf"{name} cannot be read"):
            open_table(folder)
        (folder / name).write_text(good)
    assert len(open_table(folder)) == 8


@pytest.mark.parametrize("lengths", [["x"], [None], 3, [1e999], {"a": 1}, ["9" * 5000]])
def test_counts_that_are_none(folder, lengths):
    change_json(
        folder / "dataset_info.json", lambda info: info["splits"][0].update(shardLengths=lengths)
    )
    with pytest.raises(
        ValueError, match=r"it lacks the number of records of every shard|holds 8 rec"
    ):
        open_table(folder)


def test_a_count_beyond_all_records(folder):
    change_json(
        folder / "dataset_info.json",
        lambda info: info["splits"][0].update(shardLengths=[str(2**63)]),
    )
    with pytest.raises(
        ValueError, match=r"holds 8 records, but dataset_info.json says 922337203685"
    ):
        open_table(folder)
    assert only_shard(folder).exists()


def test_shards_in_a_folder_of_the_dataset_open_again_and_again(folder):
    shard = only_shard(folder)
    before = build_index(folder)
    (folder / "shards").mkdir()
    shard.rename(folder / "shards" / shard.name)
    template = "shards/{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    info = folder / "dataset_info.json"
    content = json.loads(info.read_text())
    content["splits"][0]["filepathTemplate"] = template
    info.write_text(json.dumps(content))
    for _ in range(2):
        again = build_index(folder)
        assert again.fingerprint == before.fingerprint
        assert len([again.read(entry) for entry in again.entries]) == 8


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json", "shard"])
def test_a_pipe_in_place_of_a_file_is_refused(folder, name):
    path = only_shard(folder) if name == "shard" else folder / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match="is not a regular file"):
        build_index(folder)


def test_a_huge_index_is_not_read(folder, monkeypatch):
    index = build_index(folder)
    monkeypatch.setattr(cache_module, "_MAX_BYTES", 10)
    assert build_index(folder) == index  # made anew


@pytest.mark.slow
def test_names_do_not_command_the_terminal(folder, genie_robo):
    info = folder / "dataset_info.json"
    content = json.loads(info.read_text())
    content["name"] = "x\x1b[2J\x1b]0;title\x07"
    content["splits"][0]["name"] = "tr\x1b[31main"
    info.write_text(json.dumps(content))
    for words in ((), ("rlds_splits=[none]",)):
        done = genie_robo("inspect", f"path={folder}", *words)
        assert "\x1b" not in done.stdout + done.stderr
        assert "\x07" not in done.stdout + done.stderr
        assert r"\x1b" in done.stdout + done.stderr
