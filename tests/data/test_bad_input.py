"""Damage as it happens to real datasets, from the files to what the user reads."""

import json
import tracemalloc
import zlib

import numpy as np
import pytest
from json_edits import change_columns
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

from genie_robo.data.records import parse_record
from genie_robo.data.schema import open_schema
from genie_robo.data.windows import WindowDataset
from tests.memory_limit import run_limited

FORMATS = ("tfrecord", "array_record")
LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"


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
    assert "action has values that are not finite" in caplog.text


def test_an_episode_of_one_step_is_not_a_bad_one(tmp_path, caplog):
    dataset = open_table(write_five(tmp_path, num_steps=1), bad_episode_limit=0.0)
    assert (len(dataset), dataset.num_short, len(dataset.bad_episodes)) == (4, 1, 0)
    assert "skipping 1 episodes of one step" in caplog.text


def test_features_of_another_version_of_the_dataset(tmp_path):
    """The shards still hold seven actions where features.json now says eight."""
    folder = write_five(tmp_path)
    change_columns(folder, lambda steps: steps["action"]["tensor"]["shape"].update(dimensions=[8]))
    with pytest.raises(ValueError, match=r"5 of 5 episodes of .* cannot be read") as caught:
        open_table(folder)
    assert "action holds 28 values, not 8 for every step" in str(caught.value)
    assert "take it and the shards from one version of the dataset" in str(caught.value)


def test_a_field_of_a_newer_version_of_tensorflow_datasets(tmp_path):
    folder = write_five(tmp_path)
    change_columns(folder, lambda steps: steps["action"]["tensor"].update(compression="none"))
    info = folder / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"checksums": {"train": "0"}}))
    assert len(open_table(folder)) == 5


def test_a_class_of_a_newer_version_of_tensorflow_datasets(tmp_path):
    folder = write_five(tmp_path)
    file = folder / "features.json"
    file.write_text(file.read_text().replace("text_feature.Text", "prose_feature.Prose"))
    assert len(open_table(folder, instruction=())) == 5
    with pytest.raises(ValueError, match=r"instruction wants language_instruction.*prose_feature."):
        open_table(folder)


@pytest.mark.parametrize("unknown", ["float99", "bfloat16", "S99999999999", "", "O,f8"])
def test_a_number_type_that_is_unknown(tmp_path, unknown):
    folder = write_five(tmp_path)
    change_columns(
        folder,
        lambda steps: steps["is_first"]["tensor"].update(dtype=unknown or 3),
    )
    assert len(open_table(folder)) == 5
    change_columns(folder, lambda steps: steps["action"]["tensor"].update(dtype=unknown or 3))
    with pytest.raises(
        ValueError, match=r"data.source.action.translation wants action, .* unknown"
    ):
        open_table(folder)


def with_matrices(rows) -> bytes:
    """A record whose zlib column holds these bytes."""
    plain = F.FeaturesDict({"steps": F.Dataset({"observation": {"matrix": F.Text()}})})
    steps = [{"observation": {"matrix": row}} for row in rows]
    return serialize(table_features(), table_episode(len(rows))) + serialize(
        plain, {"steps": steps}
    )


BOMB = zlib.compress(b"\0" * 50_000_000)
READS_MATRIX = {"translation": "observation/matrix[0:3]", "rotation": "", "gripper": ""}


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([BOMB] * 2, "does not have the 32 bytes it should"),
        ([zlib.compress(bytes(32))[:-3]] * 2, "does not have the 32 bytes it should"),
        ([zlib.compress(bytes(24))] * 2, "has a step of 24 bytes instead of 32"),
        ([b"not compressed"] * 2, "is not compressed by zlib"),
    ],
    ids=["bomb", "cut", "short", "plain"],
)
def test_a_compressed_column_that_is_damaged(tmp_path, rows, reason):
    """It costs its episode where it is read, and nothing where it is not."""
    folder = write_five(tmp_path)
    records = [serialize(table_features(), table_episode(4, tag=tag)) for tag in range(4)]
    write_shard(only_shard(folder), [*records, with_matrices(rows)], "tfrecord")
    assert len(open_table(folder)) == 5
    dataset = open_table(folder, action=READS_MATRIX, bad_episode_limit=0.2)
    assert len(dataset) == 4
    with pytest.raises(ValueError, match=rf"1 of 5 episodes .*observation/matrix .*{reason}"):
        open_table(folder, action=READS_MATRIX)


def test_a_bomb_is_not_inflated_beyond_its_step(tmp_path):
    columns = parse_record(with_matrices([BOMB] * 2), open_schema(write_five(tmp_path)).features)
    tracemalloc.start()
    try:
        assert columns.steps["action"].shape == (2, 7)
        with pytest.raises(ValueError, match="does not have the 32 bytes it should"):
            columns.steps["observation/matrix"]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_compressed_column_beyond_the_limit(tmp_path):
    """2**27 bytes in each of three steps, of which the file holds a few hundred."""
    folder = write_five(tmp_path)
    change_columns(
        folder,
        lambda steps: steps["observation"]["featuresDict"]["features"]["matrix"]["tensor"][
            "shape"
        ].update(dimensions=[2**24]),
    )
    write_shard(only_shard(folder), [with_matrices([BOMB[:100]] * 3)] * 5, "tfrecord")
    assert len(open_table(folder)) == 1
    with pytest.raises(ValueError, match=r"would have 402653184 bytes, more than the 268435456 th"):
        open_table(folder, action=READS_MATRIX)


def test_a_bomb_in_little_memory(tmp_path):
    """As under `ulimit -v`: 512 MB of zeros in 2 MB, in a column that is read."""
    folder = write_five(tmp_path)
    change_columns(folder, lambda columns: columns["action"]["tensor"].update(encoding="zlib"))
    stream = zlib.compressobj(1)
    bomb = b"".join(stream.compress(bytes(2**20)) for _ in range(512)) + stream.flush()
    plain = F.FeaturesDict({"steps": F.Dataset({"action": F.Text()})})
    record = serialize(table_features(), table_episode(2)) + serialize(
        plain, {"steps": [{"action": bomb}] * 2}
    )
    write_shard(only_shard(folder), [record] * 5, "tfrecord")
    code = (
        "try:\n    RldsDataset(Path(sys.argv[1]), Source(camera='observation/image'))\n"
        "except ValueError as error:\n    print(error)\n"
    )
    imports = (
        "from pathlib import Path\nfrom genie_robo.data.rlds import RldsDataset\n"
        "from genie_robo.data.settings import Source\n"
        "from tensorflow_datasets.proto import tf_example_pb2\n"
    )
    found = run_limited(imports, code, folder, extra_mb=200)
    assert "a compressed step that does not have the 28 bytes it should" in found
    assert "Traceback" not in found
