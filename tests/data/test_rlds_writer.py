"""Episodes of arrays as an RLDS folder: what is written is what is read, by us and by TFDS."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.table import load_command
from genie_robo.data.actions import achieved_motion
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.rlds_writer import EPISODES_PER_SHARD, _check, write_rlds
from genie_robo.data.settings import PoseSource, Source
from genie_robo.data.transforms import decode_frames

SOURCE = Source(
    camera="observation/image",
    pose=PoseSource(position="observation/state[0:3]"),
    instruction=("language_instruction",),
)


def arrays(seed, *, num_steps=5, width=7):
    random = np.random.default_rng(seed)
    return (
        random.integers(0, 256, (num_steps, 6, 8, 3), np.uint8),
        random.normal(size=(num_steps - 1, width)),
        random.normal(size=(num_steps, 3)),
    )


def test_what_is_written_is_read(tmp_path):
    folder = tmp_path / "my_robot" / "1.2.0"
    with write_rlds(folder) as writer:
        for seed in range(3):
            writer.add_episode(*arrays(seed), instruction=f"task {seed}")
        assert not folder.exists()
    dataset = RldsDataset(folder, SOURCE)
    assert len(dataset) == 3
    assert dataset.num_duplicates == 0
    by_task = {episode.instruction: episode for episode in dataset}
    for seed in range(3):
        frames, actions, states = arrays(seed)
        episode = by_task[f"task {seed}"]
        decoded = decode_frames(episode.images["primary"], image_size=(6, 8))
        np.testing.assert_array_equal(decoded, frames)
        np.testing.assert_allclose(episode.robot_actions[:-1, :6], actions[:, :6], rtol=1e-6)
        assert not episode.robot_actions[-1].any()
        np.testing.assert_allclose(episode.end_effector_pose[:, :3], states, rtol=1e-6)


def test_tensorflow_datasets_opens_it(tmp_path):
    folder = tmp_path / "my_robot" / "1.0.0"
    with write_rlds(folder, description="Cups.") as writer:
        writer.add_episode(*arrays(0))
    builder = tfds.builder_from_directory(folder)
    assert (builder.name, str(builder.version)) == ("my_robot", "1.0.0")
    assert builder.info.description == "Cups."
    assert builder.info.splits["train"].num_examples == 1
    steps = list(builder.as_data_source("train")[0]["steps"])
    frames, actions, states = arrays(0)
    assert [step["is_first"] for step in steps] == [True, False, False, False, False]
    assert [step["is_last"] for step in steps] == [False, False, False, False, True]
    np.testing.assert_array_equal(steps[2]["observation"]["image"], frames[2])
    np.testing.assert_allclose(steps[2]["action"], actions[2], rtol=1e-6)
    np.testing.assert_allclose(steps[4]["observation"]["state"], states[4], rtol=1e-6)


def test_states_are_left_out_where_there_are_none(tmp_path):
    with write_rlds(tmp_path / "a" / "1.0.0") as writer:
        frames, actions, _ = arrays(0)
        writer.add_episode(frames, np.concatenate([actions, actions[:1]]))
    dataset = RldsDataset(tmp_path / "a", Source(camera="observation/image"))
    assert "observation/state" not in dataset.features
    assert dataset[0].instruction == ""


def test_many_episodes_have_several_shards(tmp_path):
    folder = tmp_path / "a" / "1.0.0"
    with write_rlds(folder) as writer:
        for seed in range(EPISODES_PER_SHARD + 1):
            writer.add_episode(*arrays(seed, num_steps=2))
    names = sorted(path.name for path in folder.glob("*array_record*"))
    assert names == [f"a-train.array_record-0000{i}-of-00002" for i in range(2)]
    (split,) = json.loads((folder / "dataset_info.json").read_text())["splits"]
    assert split["shardLengths"] == [str(EPISODES_PER_SHARD), "1"]
    assert len(RldsDataset(folder, SOURCE)) == EPISODES_PER_SHARD + 1


def write_all(folder, *episodes, then=None):
    with write_rlds(folder) as writer:
        for episode in episodes:
            writer.add_episode(*episode)
        if then is not None:
            raise then


def test_a_block_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="the camera"):
        write_all(tmp_path / "a/1.0.0", arrays(0), then=RuntimeError("the camera was unplugged"))
    assert list((tmp_path / "a").iterdir()) == []


def test_an_empty_dataset_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no episode was added"):
        write_all(tmp_path / "a/1.0.0")
    assert list((tmp_path / "a").iterdir()) == []


def test_a_folder_that_exists_is_kept(tmp_path):
    with pytest.raises(FileExistsError, match="give another folder"):
        write_all(tmp_path, arrays(0))


def test_episodes_of_other_sizes_are_refused(tmp_path):
    message = "actions of 6, states of 3, but the first one has .*actions of 7"
    with pytest.raises(ValueError, match=message):
        write_all(tmp_path / "a/1.0.0", arrays(0), arrays(1, width=6))


def test_the_example_of_the_page_runs(tmp_path, monkeypatch):
    """In at most 30 lines; its words for training read what it wrote."""
    page = (Path(__file__).parents[2] / "docs/data.md").read_text()
    section = page.split("### Write your own episodes")[1]
    code, words = re.findall(r"```(?:python|bash)\n(.*?)```", section, re.DOTALL)[:2]
    assert len(code.splitlines()) <= 30
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/data.md", "exec"), {})
    program, name, *settings = shlex.split(words.replace("\\\n", ""))
    assert (program, name) == ("genie-robo", "train")
    command = load_command("train")
    data = to_config(command, compose_config(command, settings)).data
    dataset = RldsDataset(Path(data.path), data.source)
    assert len(dataset) == 10
    motion, mask = achieved_motion(dataset[0])
    np.testing.assert_allclose(motion[:, :6], dataset[0].robot_actions[:-1, :6], atol=1e-5)
    assert mask.all()
    assert dataset[0].control_hz == 10


FRAMES = np.zeros((3, 4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": np.zeros((5, 7))}, "there are 5 actions for 3 frames"),
        ({"actions": np.full((3, 7), np.nan)}, "actions of step 0 are not finite"),
        ({"actions": np.zeros(3)}, r"actions have the shape \(3,\), not \(t, number\)"),
        ({"frames": FRAMES[:1]}, "two frames or more, not 1"),
        ({"frames": FRAMES.astype(float)}, r"frames are float64 of shape .* must be uint8 RGB"),
        ({"frames": FRAMES[..., 0]}, r"must be uint8 RGB images of shape \(t, h, w, 3\)"),
    ],
)
def test_arrays_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        _check({"frames": FRAMES, "actions": np.zeros((3, 7))} | changes)
