"""The words that `genie-robo inspect` proposes for a dataset that it does not know."""

import re

import numpy as np
import pytest
from inspect_files import (
    changed,
    composed,
    look,
    make_arrays,
    make_dataset,
    make_episode,
    parts_of,
    problems_of,
)
from rlds_files import rt1_episode, rt1_features
from scipy.spatial.transform import Rotation

from genie_robo.inspection.proposal import known_sources
from genie_robo.rotations import relative_rpy


def test_an_unknown_dataset_gets_words_that_read_it(tmp_path):
    facts = look(make_dataset(tmp_path, map(make_episode, range(4))))
    assert facts["read_as"] == "proposed below"
    assert facts["problems"] == []
    source = composed(facts["words"])
    assert facts["words"].startswith("data=rlds data.source.camera=observation/front ")
    assert source.camera == "observation/front"
    assert source.instruction == ("language_instruction",)
    assert (source.action.translation, source.action.rotation) == ("action[0:3]", "action[3:6]")
    assert (source.action.gripper, source.action.gripper_format) == ("action[6]", "open_one")
    assert source.pose.position == "observation/state[0:3]"
    assert source.pose.rotation == "observation/state[3:6]"
    assert (source.pose.gripper, source.pose.gripper_format) == ("observation/state[6]", "open_one")
    # The arm goes exactly where it is commanded, so its commands are the achieved motion.
    assert source.action.motion == "achieved"
    parts = parts_of(facts)
    assert parts["action.motion"]["confidence"] == "sure"
    assert parts["action.gripper_format"]["confidence"] == "guess"
    assert "wrist" not in parts["camera"]["value"]
    assert parts["camera"]["confidence"] == "likely"
    for part in parts.values():
        assert part["why"]
    assert all(word in facts["out"].replace("\n", "") for word in facts["words"].split())


def noisy(arrays):
    """Poses that follow the commands, but not exactly."""
    random = np.random.default_rng(5)
    state = arrays["state"].copy()
    state[:, :3] += random.normal(size=(len(state), 3)) * 0.001
    return arrays | {"state": state.astype(np.float32)}


def test_commands_are_told_from_achieved_motion(tmp_path):
    episodes = [make_episode(seed, arrays=noisy(make_arrays(seed))) for seed in range(4)]
    facts = look(make_dataset(tmp_path, episodes))
    assert parts_of(facts)["action.motion"]["value"] == "delta"
    assert "action.motion" not in facts["words"]
    assert composed(facts["words"]).action.motion == "delta"


def test_absolute_targets(tmp_path):
    episodes = []
    for seed in range(4):
        arrays = noisy(make_arrays(seed))
        arrays["action"][:-1, :6] = make_arrays(seed)["state"][1:, :6]
        episodes.append(make_episode(seed, arrays=arrays))
    facts = look(make_dataset(tmp_path, episodes))
    assert composed(facts["words"]).action.motion == "target"
    assert "close to observation/state[0:3] itself" in parts_of(facts)["action.motion"]["why"]
    assert facts["actions"][0]["max"] < 0.1


def test_normalised_commands_get_a_scale(tmp_path):
    episodes = []
    for seed in range(4):
        arrays = noisy(make_arrays(seed))
        arrays["action"][:, :3] *= 50
        episodes.append(make_episode(seed, arrays=arrays))
    facts = look(make_dataset(tmp_path, episodes))
    assert composed(facts["words"]).action.translation_scale == pytest.approx(0.02, rel=0.1)
    assert parts_of(facts)["action.translation_scale"]["confidence"] == "guess"
    assert "action_scale" not in problems_of(facts)


def test_closed_grippers_are_told_by_how_episodes_begin(tmp_path):
    def invert(rows):
        rows[:, 6] = 1 - rows[:, 6]
        return rows

    episodes = []
    for seed in range(4):
        arrays = {key: invert(rows) for key, rows in make_arrays(seed).items()}
        episodes.append(make_episode(seed, arrays=arrays))
    facts = look(make_dataset(tmp_path, episodes))
    source = composed(facts["words"])
    assert (source.action.gripper_format, source.pose.gripper_format) == ("closed_one",) * 2
    assert "most grippers begin open" in parts_of(facts)["action.gripper_format"]["why"]


def test_a_gripper_in_metres_is_not_mapped(tmp_path):
    episodes = [changed(seed, lambda a: a * ([1] * 6 + [0.08])) for seed in range(4)]
    facts = look(make_dataset(tmp_path, episodes))
    assert composed(facts["words"]).action.gripper == ""
    assert "goes from 0 to 0.08" in parts_of(facts)["action.gripper"]["why"]


def rt1_like(seed):
    random = np.random.default_rng(seed)
    count = 12
    turns = random.normal(size=(count, 3)) * 0.1
    rotations = [np.array([0.0, 0.0, 0.0, 1.0])]
    position = [np.zeros(3)]
    for turn in turns[:-1]:
        rotations.append(
            (Rotation.from_euler("xyz", turn) * Rotation.from_quat(rotations[-1])).as_quat()
        )
    moves = random.normal(size=(count, 3)) * 0.02
    for move in moves[:-1]:
        position.append(position[-1] + move + random.normal(size=3) * 0.002)
    pose = np.column_stack([position, rotations])
    commands = np.where(np.arange(count) == 6, 1.0, np.where(np.arange(count) == 9, -1.0, 0.0))
    episode = rt1_episode(commands, pose, np.linspace(0, 1, count))
    for t, step in enumerate(episode["steps"]):
        step["action"]["world_vector"] = moves[t].astype(np.float32)
        step["action"]["rotation_delta"] = turns[t].astype(np.float32)
    return episode


def test_named_parts_and_a_quaternion(tmp_path):
    folder = make_dataset(tmp_path, map(rt1_like, range(4)), features=rt1_features())
    facts = look(folder)
    source, known = composed(facts["words"]), known_sources()["fractal20220817_data"]
    assert source.action == known.action
    assert source.pose.position == known.pose.position
    assert source.pose.rotation == known.pose.rotation
    assert source.pose.rotation_format == "quaternion_xyzw"
    assert (source.pose.gripper, source.pose.gripper_format) == (
        "observation/gripper_closed",
        "closed_one",
    )
    assert source.instruction == known.instruction
    assert "fractal20220817_data" in facts["fits"]
    assert "which may mean" not in facts["out"]
    assert "where they may mean other things" in facts["out"]


def test_a_dataset_of_a_known_name_that_does_not_fit(tmp_path):
    facts = look(make_dataset(tmp_path, map(make_episode, range(3)), name="tabletop"))
    assert re.search(
        r"data=tabletop is meant for this dataset but does not fit: .*wants observation/image",
        problems_of(facts)["own_file"],
    )
    assert facts["proposal"] is not None


def test_a_known_name_is_read_by_its_file(tmp_path):
    folder = make_dataset(
        tmp_path, map(rt1_like, range(4)), features=rt1_features(), name="fractal20220817_data"
    )
    facts = look(folder)
    assert facts["fits"] == ["fractal20220817_data"]
    assert facts["words"] == "data=fractal20220817_data"
    assert facts["proposal"] is None


def turned_arrays(seed, *, relative):
    """An arm near a pole whose stored rotations are turns, or differences of its angles."""
    arrays = make_arrays(seed)
    random = np.random.default_rng(seed)
    turns = Rotation.from_rotvec(random.normal(size=(20, 3)) * 0.1)
    angles = (turns * Rotation.from_euler("xyz", [0.3, 1.5, -1.0])).as_euler("xyz")
    change = relative_rpy(angles[:-1], angles[1:]) if relative else np.diff(angles, axis=0)
    arrays["state"][:, 3:6] = angles
    arrays["action"][:-1, 3:6] = change
    return arrays


@pytest.mark.parametrize("relative", [True, False])
def test_turns_are_told_from_differences_of_angles(tmp_path, relative):
    """Either way the words that are proposed read the turns that happened."""
    episodes = [make_episode(s, arrays=turned_arrays(s, relative=relative)) for s in range(4)]
    facts = look(make_dataset(tmp_path, episodes))
    assert parts_of(facts)["action.motion"]["value"] == ("delta" if relative else "achieved")
    for action in facts["actions"][3:6]:
        assert action["std"] == pytest.approx(action["achieved_std"], rel=1e-3)
        assert action["std"] < 0.3


def test_differences_of_angles_without_a_pose_are_left_out(tmp_path):
    episodes = []
    for seed in range(4):
        arrays = make_arrays(seed)
        arrays["state"][:, 3:] = 9  # within no full turn
        episodes.append(make_episode(seed, arrays=arrays))
    facts = look(make_dataset(tmp_path, episodes))
    source = composed(facts["words"])
    assert (source.action.motion, source.action.rotation) == ("achieved", "")
    assert "no measured angles" in parts_of(facts)["action.rotation"]["why"]
