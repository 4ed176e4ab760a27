"""Damage as it happens to real datasets, from the files to what the user reads."""

import json
import sys
import zlib

import numpy as np
import pytest
from rlds_files import (
    F,
    encode_image,
    only_shard,
    open_table,
    serialize,
    table_episode,
    table_features,
    write_rlds,
    write_shard,
)

from genie_robo.data.schema import open_schema, parse_record
from genie_robo.data.windows import WindowDataset

FORMATS = ("tfrecord", "array_record")
LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"


class NoTensorFlow:
    """A finder that says that TensorFlow is not installed."""

    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            raise ModuleNotFoundError("No module named 'tensorflow'")


def write_five(root, file_format="tfrecord", **of_the_third):
    """Five episodes of four steps in one shard; the third may differ."""
    episodes = [table_episode(4, tag=i) for i in range(5)]
    episodes[2] = table_episode(**({"num_steps": 4, "tag": 2} | of_the_third))
    return write_rlds(root, {"train": [episodes]}, file_format=file_format)


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, FileNotFoundError, "is missing, but dataset_info.json lists it; complete the down"),
        (b"", ValueError, "has zero bytes: its download failed; download it again"),
        (LFS_POINTER.encode(), ValueError, "is a Git LFS pointer, not data; run `git lfs pull`"),
        (b"half", ValueError, "is damaged: .*; download it again"),
    ],
    ids=["missing", "empty", "pointer", "cut"],
)
def test_an_unusable_shard_stops_opening(tmp_path, file_format, content, error, message):
    shard = only_shard(write_five(tmp_path, file_format))
    good = shard.read_bytes()
    shard.unlink()
    if content is not None:
        shard.write_bytes(good[: len(good) // 2] if content == b"half" else content)
    with pytest.raises(error, match=message) as caught:
        open_table(tmp_path)
    assert str(shard) in str(caught.value)


def test_a_flipped_byte_in_an_array_record_costs_one_episode(tmp_path, caplog):
    noise = np.random.default_rng(0).integers(0, 256, (4, 90, 90, 3), np.uint8)
    images = [encode_image(frame) for frame in noise]
    folder = write_five(tmp_path, "array_record", images=images)
    shard = only_shard(folder)
    data = bytearray(shard.read_bytes())
    # Noise cannot be compressed, so its bytes are in the file as they are.
    data[data.index(images[0].getvalue()[5_000:5_100])] ^= 1
    shard.write_bytes(data)
    dataset = open_table(folder, bad_episode_limit=0.2)
    assert [episode.instruction for episode in dataset] == ["task 0", "task 1", "task 3", "task 4"]
    assert len(dataset.bad_episodes) == 1
    assert "(record 2 of table-train.array_record-00000-of-00001)" in caplog.text
    assert "does not match its checksum" in caplog.text
    with pytest.raises(ValueError, match=r"1 of 5 episodes of .* 20.0%, above data.bad_episode_li"):
        open_table(folder, bad_episode_limit=0.19)


def test_a_jpeg_that_breaks_off(tmp_path, caplog):
    """It begins like a JPEG, so only decoding finds it: skipped, counted and named then."""
    rng = np.random.default_rng(0)
    images = [
        encode_image(rng.integers(0, 255, (8, 8, 3)).astype(np.uint8), "JPEG") for _ in range(4)
    ]
    images[1] = type(images[1])(images[1].getvalue()[:100])
    dataset = open_table(write_five(tmp_path, images=images), bad_episode_limit=0.2)
    windows = WindowDataset(dataset, range(5), num_frames=4, image_size=(8, 8))
    assert [windows[k].episode_id for k in range(5)] == [
        dataset.episode_ids[i] for i in (0, 1, 3, 3, 4)
    ]
    assert len(dataset.bad_episodes) == 1
    assert "(record 2 of " in caplog.text
    assert "the image of step 1 cannot be decoded" in caplog.text


@pytest.mark.parametrize("file_format", FORMATS)
def test_an_action_that_is_nan(tmp_path, file_format, caplog):
    actions = np.zeros((4, 7), np.float32)
    actions[1, 3] = np.nan
    folder = write_five(tmp_path, file_format, actions=actions)
    assert len(open_table(folder, bad_episode_limit=0.2)) == 4
    assert "missing, not finite or no image: action" in caplog.text


def test_an_episode_of_one_step_is_not_a_bad_one(tmp_path, caplog):
    dataset = open_table(write_five(tmp_path, num_steps=1), bad_episode_limit=0.0)
    assert (len(dataset), dataset.num_short, len(dataset.bad_episodes)) == (4, 1, 0)
    assert "skipping 1 episodes of one step" in caplog.text


def test_features_of_another_version_of_the_dataset(tmp_path):
    """The shards still hold seven actions where features.json now says eight."""
    folder = write_five(tmp_path)
    file = folder / "features.json"
    tree = json.loads(file.read_text())
    steps = tree["featuresDict"]["features"]["steps"]["sequence"]["feature"]["featuresDict"]
    steps["features"]["action"]["tensor"]["shape"]["dimensions"] = ["8"]
    file.write_text(json.dumps(tree))
    with pytest.raises(ValueError, match=r"5 of 5 episodes of .* cannot be read") as caught:
        open_table(folder)
    assert "it is not an episode" in str(caught.value)


def test_features_of_another_version_of_tensorflow_datasets(tmp_path):
    folder = write_five(tmp_path)
    file = folder / "features.json"
    file.write_text(file.read_text().replace("text_feature.Text", "prose_feature.Prose"))
    with pytest.raises(ValueError, match=r"cannot be read \(.*prose_feature.Prose.*download them"):
        open_schema(folder)


def test_a_number_type_that_nobody_knows(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [NoTensorFlow(), *sys.meta_path])
    folder = write_five(tmp_path)
    file = folder / "features.json"
    file.write_text(file.read_text().replace("float32", "float99"))
    with pytest.raises(ValueError, match=r"features.json or dataset_info.json in .* cannot be rea"):
        open_schema(folder)


def test_a_tensor_that_inflates_beyond_its_shape(tmp_path):
    """A few kB that would become a gigabyte are refused before they do."""
    raw = serialize(table_features(), table_episode(2))
    bomb = zlib.compress(b"\0" * 50_000_000)
    plain = F.FeaturesDict({"steps": F.Dataset({"observation": {"matrix": F.Text()}})})
    steps = [{"observation": {"matrix": bomb}}] * 2
    folder = write_five(tmp_path)
    record = raw + serialize(plain, {"steps": steps})
    with pytest.raises(ValueError, match="a compressed tensor does not have the 32 bytes it shou"):
        parse_record(record, open_schema(folder))
    write_shard(only_shard(folder), [raw] * 4 + [record], "tfrecord")
    with pytest.raises(ValueError, match=r"1 of 2 episodes .* cannot be read, 50.0%"):
        open_table(folder)
