import logging
import os
import pickle

import numpy as np
import pytest
import tensorflow_datasets as tfds
from rlds_files import (
    NO_POSE,
    RT1_SOURCE,
    F,
    encode_image,
    grey,
    make_source,
    only_shard,
    open_table,
    rt1_episode,
    rt1_features,
    serialize,
    table_episode,
    table_features,
    write_rlds,
    write_shard,
)
from scipy.spatial.transform import Rotation

from genie_robo.data.dataset import BadEpisodeError, BadEpisodes
from genie_robo.data.index import build_index
from genie_robo.data.rlds import RldsDataset


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_an_episode_comes_back_as_it_was_written(tmp_path, file_format):
    episodes = [table_episode(3), table_episode(5, tag=7)]
    write_rlds(tmp_path, {"train": [episodes]}, file_format=file_format)
    dataset = open_table(tmp_path, sim_state="observation/state")
    assert len(dataset) == 2
    assert dataset.lengths.tolist() == [3, 5]
    episode = dataset[1]
    assert episode.episode_id == dataset.episode_ids[1]
    assert episode.num_steps == 5
    assert set(episode.images) == {"primary", "observation/wrist"}
    assert episode.images["primary"][4] == encode_image(grey(11)).getvalue()
    assert episode.images["observation/wrist"][4] == encode_image(grey(104)).getvalue()
    np.testing.assert_allclose(episode.robot_actions[:, 0], [0, 1, 2, 3, 0])
    assert episode.robot_actions[:, 6].tolist() == [0, 1, 0, 1, 0]
    assert episode.action_mask.all()
    assert episode.end_effector_pose is not None
    assert episode.end_effector_pose[:, 0].tolist() == [7, 8, 9, 10, 11]
    assert episode.sim_state is not None
    assert episode.sim_state.dtype == np.float64
    assert episode.scene == '{"tag": 7}'
    assert episode.instruction == "task 7"
    assert episode.control_hz == 3.0


def test_what_is_not_asked_for_stays_out(table):
    episode = open_table(table, pose=NO_POSE, instruction=())[0]
    assert episode.end_effector_pose is None
    assert episode.sim_state is None
    assert (episode.scene, episode.instruction) == ("", "")


def test_another_camera_can_be_primary(table):
    episode = open_table(table, camera="observation/wrist")[0]
    assert episode.images["primary"][0] == encode_image(grey(100)).getvalue()
    assert "observation/image" in episode.images


def test_it_is_a_sequence(table):
    dataset = open_table(table)
    assert [episode.num_steps for episode in dataset] == list(range(3, 13))
    assert [episode.num_steps for episode in dataset[2:4]] == [5, 6]
    assert dataset[-1].num_steps == 12
    with pytest.raises(IndexError):
        dataset[10]


def test_rt1_exactly(tmp_path):
    angles = np.array([[0.1, 0.2, 0.3], [-0.4, 0.5, 3.0], [0, 0, 0], [1, 0, 0]])
    pose = np.concatenate([np.full((4, 3), 0.5), Rotation.from_euler("xyz", angles).as_quat()], 1)
    episode = rt1_episode([0, 1, 0, -1], pose, gripper_closed=[0, 0, 1, 0.5])
    write_rlds(tmp_path, {"train": [[episode]]}, features=rt1_features(), name="fractal")
    read = RldsDataset(tmp_path, RT1_SOURCE)[0]
    expected = [
        [0, 0, 0, 0, 0, 0, 1],
        [1, 2, 3, 0.1, 0.2, 0.3, 0],
        [2, 4, 6, 0.2, 0.4, 0.6, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    np.testing.assert_allclose(read.robot_actions, expected, atol=1e-6)
    assert read.end_effector_pose is not None
    np.testing.assert_allclose(read.end_effector_pose[:, 3:6], angles, atol=1e-6)
    assert read.end_effector_pose[:, 6].tolist() == [1, 1, 0, 0.5]
    assert read.instruction == "pick coke can"
    assert read.images["primary"][0].startswith(b"\xff\xd8\xff")


def test_an_unknown_key_stops_at_opening(table):
    with pytest.raises(KeyError, match=r"data.source.camera wants image, which this dataset"):
        open_table(table, camera="image")


def test_records_in_two_splits_are_used_once(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    records = [serialize(table_features(), table_episode(4, tag=i)) for i in range(3)]
    folder = write_rlds(
        tmp_path, {"train": [[table_episode()] * 3], "val": [[table_episode()] * 3]}
    )
    write_shard(folder / "table-train.tfrecord-00000-of-00001", records, "tfrecord")
    write_shard(folder / "table-val.tfrecord-00000-of-00001", records[::-1], "tfrecord")
    dataset = open_table(folder)
    assert (len(dataset), dataset.num_duplicates) == (3, 3)
    assert [episode.instruction for episode in dataset] == ["task 0", "task 1", "task 2"]
    assert "3 of 6 records repeat another one" in caplog.text
    val = RldsDataset(folder, make_source(), rlds_splits=["val"])
    assert set(val.episode_ids) == set(dataset.episode_ids)
    assert val.num_duplicates == 0


def test_the_fingerprint_is_of_episodes_and_source(table, tmp_path):
    dataset = open_table(table)
    assert dataset.fingerprint == open_table(table.parent).fingerprint
    assert dataset.fingerprint != open_table(table, camera="observation/wrist").fingerprint
    other = write_rlds(tmp_path, {"train": [[table_episode(4)]]})
    assert dataset.fingerprint != open_table(other).fingerprint


def test_episodes_of_one_step_are_left_out(tmp_path, caplog):
    episodes = [table_episode(1), table_episode(2, tag=1), table_episode(1, tag=2)]
    folder = write_rlds(tmp_path, {"train": [episodes]})
    dataset = open_table(folder)
    assert dataset.lengths.tolist() == [2]
    assert dataset.num_short == 2
    assert len(dataset.bad_episodes) == 0
    assert "skipping 2 episodes of one step" in caplog.text


def test_nothing_to_use(tmp_path):
    folder = write_rlds(tmp_path, {"train": [[table_episode(1)]]})
    with pytest.raises(ValueError, match="has no episode to use: 1 have fewer than 2 steps and 0 "):
        open_table(folder)


@pytest.fixture
def half_bad(tmp_path):
    """Four episodes: a NaN action in one, a flipped byte in another."""
    actions = np.full((4, 7), np.nan, np.float32)
    episodes = [table_episode(4, tag=i) for i in range(4)]
    episodes[1] = table_episode(4, tag=1, actions=actions)
    folder = write_rlds(tmp_path, {"train": [episodes]})
    shard = only_shard(folder)
    data = bytearray(shard.read_bytes())
    data[build_index(folder).entries[3].offset + 50] ^= 1
    shard.write_bytes(data)
    os.utime(shard, ns=(1, 1))
    return folder


def test_bad_episodes_are_skipped_counted_and_named(half_bad, caplog):
    dataset = open_table(half_bad, bad_episode_limit=0.5)
    assert [episode.instruction for episode in dataset] == ["task 0", "task 2"]
    assert len(dataset.bad_episodes) == 2
    nan, flipped = [record.getMessage() for record in caplog.records]
    assert "(record 1 of table-train.tfrecord-00000-of-00001)" in nan
    assert nan.endswith("action has values that are not finite")
    assert "(record 3 of table-train.tfrecord-00000-of-00001)" in flipped
    assert "the data does not match its checksum" in flipped


def test_too_many_bad_episodes(half_bad):
    with pytest.raises(
        ValueError, match=r"2 of 4 episodes of .* cannot be read, 50.0%, above"
    ) as e:
        open_table(half_bad, bad_episode_limit=0.49)
    assert "data.bad_episode_limit=0.49" in str(e.value)
    assert "repair the dataset, or raise the limit" in str(e.value)


def test_a_bad_column_that_is_not_read_does_no_harm(half_bad):
    parts = {"translation": "observation/state[0:3]", "rotation": "", "gripper": ""}
    assert len(open_table(half_bad, bad_episode_limit=0.25, action=parts)) == 3


def test_a_column_that_a_record_lacks(tmp_path):
    episodes = [table_episode(3, tag=i) for i in range(2)]
    folder = write_rlds(tmp_path, {"train": [episodes]})
    part = F.FeaturesDict({"steps": F.Dataset({"is_first": F.Scalar(np.bool_)})})
    lacking = serialize(part, {"steps": [{"is_first": True}, {"is_first": False}]})
    records = [serialize(table_features(), table_episode(3)), lacking]
    write_shard(only_shard(folder), records, "tfrecord")
    dataset = open_table(folder, bad_episode_limit=0.5)
    assert len(dataset) == 1
    with pytest.raises(
        ValueError, match="action is missing, language_instruction is missing, observation/image"
    ):
        open_table(folder, bad_episode_limit=0.4)


def test_a_record_that_breaks_after_opening(tmp_path):
    folder = write_rlds(tmp_path, {"train": [[table_episode(3), table_episode(4, tag=1)]]})
    dataset = open_table(folder)
    shard = only_shard(folder)
    shard.write_bytes(shard.read_bytes()[:-20])
    assert dataset[0].num_steps == 3
    with pytest.raises(BadEpisodeError, match=r"episode .*record 1 of .* cannot be read: the data"):
        dataset[1]


def test_skipping_counts_towards_the_limit(table):
    dataset = open_table(table, bad_episode_limit=0.1)
    dataset.skip(4, "its frames are blank")
    dataset.skip(4, "said twice, counted once")
    assert dataset.name(4) in dataset.bad_episodes
    with pytest.raises(ValueError, match=r"2 of 10 episodes .* 20.0%, above data.bad_episode_lim"):
        dataset.skip(5, "its frames are blank")


def test_a_long_list_of_bad_episodes_is_cut(tmp_path):
    bad = BadEpisodes(tmp_path, num_episodes=10, limit=0.0)
    for number in range(7):
        bad.add(f"episode{number}", "unreadable")
    with pytest.raises(ValueError, match=r"episode4 \(unreadable\) and 2 more; repair"):
        bad.check()


def test_tensorflow_datasets_reads_the_same(tmp_path):
    """Our reading of a folder agrees with the official random-access source."""
    episodes = [table_episode(3), table_episode(5, tag=2)]
    folder = write_rlds(tmp_path, {"train": [episodes]}, file_format="array_record")
    official = tfds.builder_from_directory(str(folder)).as_data_source(split="train")
    for ours, theirs in zip(open_table(folder), official, strict=True):
        steps = list(theirs["steps"])
        actions = np.stack([step["action"] for step in steps])
        np.testing.assert_array_equal(ours.robot_actions[:-1], actions[:-1])
        assert ours.instruction.encode() == steps[0]["language_instruction"]


def test_no_pickle_anywhere_on_disk(table, cache_home):
    open_table(table)
    files = list(cache_home.rglob("*.json"))
    assert files
    for file in files:
        with pytest.raises(pickle.UnpicklingError):
            pickle.loads(file.read_bytes())


def test_naming_the_unit_does_not_change_the_fingerprint(table):
    """It changes no number that is read; a scale does."""
    first = open_table(table).fingerprint
    assert open_table(table, action={"in_metres": False}).fingerprint == first
    assert open_table(table, action={"translation_scale": 0.5}).fingerprint != first
