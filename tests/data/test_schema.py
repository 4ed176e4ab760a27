import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rlds_files import F, serialize, table_episode, table_features, write_rlds

from genie_robo.data.folders import find_version_folder
from genie_robo.data.records import parse_record
from genie_robo.data.schema import open_schema


@pytest.fixture(scope="module")
def schema(table):
    return open_schema(table)


@pytest.fixture(scope="module")
def record() -> bytes:
    return serialize(table_features(), table_episode(4))


def test_the_folder_may_be_given_from_one_or_two_above(table):
    for path in (table, table.parent, table.parent.parent):
        assert find_version_folder(path) == table


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data.path=.*gone does not exist; give the fol"):
        find_version_folder(tmp_path / "gone")
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match=r"data.path=.*file is a file"):
        find_version_folder(tmp_path / "file")


def test_a_folder_without_a_dataset(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no features.json in it .* \(it is empty\)"):
        find_version_folder(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"\(it holds notes.txt\); give the folder that"):
        find_version_folder(tmp_path)


def test_several_versions_are_listed(tmp_path):
    for version in ("0.1.0", "1.0.0"):
        write_rlds(tmp_path, {"train": [[table_episode()]]}, version=version)
    with pytest.raises(ValueError, match="holds 2 datasets or versions; choose one of") as caught:
        find_version_folder(tmp_path / "table")
    assert str(tmp_path / "table" / "0.1.0") in str(caught.value)
    assert find_version_folder(tmp_path / "table" / "1.0.0") == tmp_path / "table" / "1.0.0"


def test_a_recording_in_progress_is_not_a_dataset(tmp_path):
    folder = write_rlds(tmp_path, {"train": [[table_episode()]]})
    folder.rename(folder.with_name(".1.0.0.123.tmp"))
    with pytest.raises(FileNotFoundError, match="is not an RLDS dataset"):
        find_version_folder(tmp_path)


def test_features_and_shards(schema, table):
    assert {key: str(feature) for key, feature in schema.features.items()} == {
        "action": "float32[7]",
        "is_first": "bool",
        "language_instruction": "text",
        "observation/depth": "uint8[8,8,1] png image",
        "observation/image": "uint8[8,8,3] png image",
        "observation/matrix": "float64[2,2]",
        "observation/state": "float32[7]",
        "observation/wrist": "uint8[8,8,3] png image",
    }
    assert [key for key, feature in schema.features.items() if feature.is_camera] == [
        "observation/image",
        "observation/wrist",
    ]
    assert [(s.path.parent, s.split, s.num_records) for s in schema.shards] == [
        (table, "train", 5),
        (table, "train", 5),
    ]


def test_an_unknown_split(table):
    with pytest.raises(ValueError, match=r"has no split test; it has train"):
        open_schema(table, ["train", "test", "val"])


def test_missing_or_damaged_json(tmp_path):
    folder = write_rlds(tmp_path, {"train": [[table_episode()]]})
    good = (folder / "dataset_info.json").read_text()
    (folder / "dataset_info.json").write_text(good[:40])
    with pytest.raises(ValueError, match=r"dataset_info.json cannot be read: it is cut .*download"):
        open_schema(folder)
    (folder / "dataset_info.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has features.json but no dataset_info.json"):
        open_schema(folder)
    (folder / "dataset_info.json").write_text(good)
    (folder / "features.json").write_text("[]")
    with pytest.raises(ValueError, match=r"features.json cannot be read: it holds a list instead"):
        open_schema(folder)


def test_a_format_that_is_not_read(tmp_path):
    folder = write_rlds(tmp_path, {"train": [[table_episode()]]})
    info = json.loads((folder / "dataset_info.json").read_text()) | {"fileFormat": "riegeli"}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match="is stored as riegeli; genie_robo reads tfrecord and arr"):
        open_schema(folder)


def test_a_dataset_that_is_not_rlds(tmp_path):
    features = F.FeaturesDict({"image": F.Image(shape=(8, 8, 3)), "label": F.Text()})
    folder = write_rlds(tmp_path, {"train": [[]]}, features=features)
    with pytest.raises(ValueError, match=r"features.json it has no `steps` dataset, only image, l"):
        open_schema(folder)


def test_a_record_becomes_columns(schema, record):
    columns = parse_record(record, schema.features)
    assert columns.num_steps == 4
    assert columns.steps["observation/state"][2].tolist() == [2.0] * 7
    assert columns.steps["language_instruction"][3] == b"task 0"
    assert columns.steps["observation/image"][0].startswith(b"\x89PNG")
    assert columns.scene == b'{"tag": 0}'


def test_compressed_tensors_are_inflated(schema, record):
    matrix = parse_record(record, schema.features).steps["observation/matrix"]
    assert matrix.dtype == np.float64
    np.testing.assert_array_equal(matrix, np.arange(4)[:, None, None] + np.full((2, 2), 0.5))


def test_an_episode_of_one_step(schema):
    raw = serialize(table_features(), table_episode(1))
    assert parse_record(raw, schema.features).num_steps == 1


def test_columns_of_different_lengths(schema):
    episodes = [serialize(table_features(), table_episode(n)) for n in (3, 2)]
    merged = b"".join(episodes)  # a protobuf map takes the last value of each key
    assert parse_record(merged, schema.features).num_steps == 2
    features = F.FeaturesDict(
        {"steps": F.Dataset({"action": F.Tensor(shape=(7,), dtype=np.float32)})}
    )
    only_actions = serialize(features, {"steps": [{"action": np.zeros(7, np.float32)}] * 5})
    columns = parse_record(merged + only_actions, schema.features)
    assert columns.num_steps == 2
    assert columns.steps["language_instruction"].tolist() == [b"task 0"] * 2
    with pytest.raises(ValueError, match="action has 5 steps, the episode 2"):
        columns.steps["action"]


def test_bytes_that_are_no_episode(schema):
    with pytest.raises(ValueError, match="it is not an episode"):
        parse_record(b"not a protobuf", schema.features)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_never_fail_in_another_way(schema, record, data):
    position = data.draw(st.integers(0, len(record) - 1))
    damaged = data.draw(
        st.sampled_from(
            [
                record[:position],
                record[position:],
                record[:position] + bytes([record[position] ^ 0x55]) + record[position + 1 :],
                data.draw(st.binary(max_size=60)),
            ]
        )
    )
    try:
        columns = parse_record(damaged, schema.features)
    except ValueError:
        return
    assert all(len(column) == columns.num_steps for column in columns.steps.values())
