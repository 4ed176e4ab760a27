"""Joints, velocities and 6-D rotations, which must not be read as deltas in metres and radians."""

import numpy as np
import pytest
from inspect_files import (
    composed,
    look,
    make_arrays,
    make_dataset,
    make_episode,
    make_features,
    parts_of,
    problems_of,
)
from rlds_files import F, encode_image
from scipy.spatial.transform import Rotation

SEEDS = range(4)


def tensor(width):
    return F.Tensor(shape=(width,), dtype=np.float32)


def write(tmp_path, episodes, **more):
    """Episodes of an action, and of named observations; `more` are columns of the step."""
    first = episodes[0]
    observation = {"front": F.Image(shape=(8, 12, 3), encoding_format="png")}
    observation |= {k: tensor(v.shape[1]) for k, v in first.items() if k != "action"}
    features = make_features(action=tensor(first["action"].shape[1]), observation=observation)
    image = encode_image(np.full((8, 12, 3), 90, np.uint8)).getvalue()
    found = []
    for number, arrays in enumerate(episodes):
        arrays = {k: v.astype(np.float32) for k, v in arrays.items()}
        episode = make_episode(number, num_steps=len(arrays["action"]))
        for t, step in enumerate(episode["steps"]):
            columns = {k: v[t] for k, v in arrays.items() if k != "action"}
            step["observation"] = {"front": type(step["observation"]["front"])(image)} | columns
            step["action"] = arrays["action"][t]
        found.append(episode)
    return make_dataset(tmp_path, found, features=features)


def arm(seed, *, num_steps=25, follows="joints", scale=1.0):
    """Seven joints and a gripper; the tool is some smooth function of the joints."""
    random = np.random.default_rng(seed)
    joints = 0.03 * random.normal(size=(num_steps, 7)).cumsum(0) + [0, 0.4, 0, -2, 0, 2, 1]
    tool = np.zeros((num_steps, 6))
    tool[:, :3] = 0.3 * np.sin(joints[:, [3, 5, 1]])
    command = np.concatenate([joints[1:], joints[-1:]]) + random.normal(size=joints.shape) * 1e-3
    if follows == "cartesian":
        command = np.column_stack([np.concatenate([tool[1:], tool[-1:]]), joints[:, 0]])
    gripper = (np.arange(num_steps) < 9).astype(float)
    return {
        "action": np.column_stack([scale * command, gripper]),
        "joints": scale * joints,
        "tool": tool,
    }


def renamed(arrays, joints, tool):
    return {"action": arrays["action"], joints: arrays["joints"], tool: arrays["tool"]}


@pytest.mark.parametrize("joints", ["joint_positions", "state"])
def test_joints_beside_a_cartesian_column_are_no_pose(tmp_path, joints):
    """The targets of seven joints follow the measured joints, not the tool."""
    episodes = [renamed(arm(seed), joints, "cartesian_position") for seed in SEEDS]
    facts = look(write(tmp_path, episodes))
    source = composed(facts["words"])
    assert (source.action.translation, source.action.rotation) == ("", "")
    assert source.action.joints == "action[0:7]"
    assert source.action.joints_motion == "target"
    assert source.pose.joints == f"observation/{joints}[0:7]"
    assert source.pose.position == ""
    assert (source.action.gripper, source.action.gripper_format) == ("action[7]", "open_one")
    parts = parts_of(facts)
    assert "sure" not in {parts[k]["confidence"] for k in parts if k.startswith(("action", "pose"))}
    assert [row["name"] for row in facts["actions"]] == [
        "gripper",
        *(f"joint{j}" for j in range(7)),
    ]


def test_cartesian_targets_beside_joints_are_read_as_such(tmp_path):
    episodes = [
        renamed(arm(seed, follows="cartesian"), "joint_positions", "cartesian_position")
        for seed in SEEDS
    ]
    facts = look(write(tmp_path, episodes))
    source = composed(facts["words"])
    assert source.pose.position == "observation/cartesian_position[0:3]"
    assert (source.action.motion, source.action.joints) == ("target", "")


def test_steps_of_31_metres_are_implausible_and_nothing_is_sure(tmp_path):
    """Joint positions in degrees in columns without a name: dz is 31.6 "m" in a step."""
    episodes = []
    for seed in SEEDS:
        arrays = make_arrays(seed)
        arrays["action"][:, :3], arrays["action"][4, 2] = 100 * arrays["action"][:, :3], 31.6
        arrays["state"][:, :3] = 0
        arrays["state"][1:, :3] = np.cumsum(arrays["action"][:-1, :3], axis=0)
        episodes.append(make_episode(seed, arrays=arrays))
    facts = look(make_dataset(tmp_path, episodes))
    texts = [problem["text"] for problem in facts["problems"] if problem["kind"] == "implausible"]
    for kind in ("commanded", "measured"):
        assert any(f"{kind} dz reaches 31.6 m in a step" in text for text in texts)
    assert "no arm moves more than 0.5 m" in facts["out"]
    assert "none found" not in facts["out"]
    parts = parts_of(facts)
    assert parts["action.translation"]["confidence"] == "guess"
    assert parts["pose.position"]["confidence"] == "guess"
    assert "which are no metres" in parts["pose.position"]["why"]


def test_implausible_steps_are_found_without_a_pose(tmp_path):
    episodes = []
    for seed in SEEDS:
        arrays = make_arrays(seed)
        arrays["action"][:, 3] = 3.0
        arrays["action"][:, 0] *= 1000
        arrays["state"][:] = 0
        episodes.append(make_episode(seed, arrays=arrays))
    facts = look(make_dataset(tmp_path, episodes))
    texts = " ".join(p["text"] for p in facts["problems"] if p["kind"] == "implausible")
    assert "commanded dx reaches" in texts
    assert "commanded droll reaches 3 rad in a step" in texts
    assert "no arm moves more than 2 rad" in texts
    assert facts["motion"] is None


def test_steps_that_are_too_small_are_implausible(tmp_path):
    arrays = [make_arrays(seed, size_m=1e-7) for seed in SEEDS]
    facts = look(make_dataset(tmp_path, [make_episode(s, arrays=a) for s, a in enumerate(arrays)]))
    assert "too small for an arm" in problems_of(facts)["implausible"]


def six_d(matrices, order):
    two = matrices[:, :, :2].transpose(0, 2, 1) if order == "rotation_6d" else matrices[:, :2]
    return two.reshape(-1, 6)


def ten_columns(seed, order, *, motion, num_steps=20):
    """A tool that turns, told by x y z, two columns or rows of a matrix, and a gripper."""
    random = np.random.default_rng(seed)
    turns = Rotation.from_rotvec(0.1 * random.normal(size=(num_steps, 3)))
    poses = [Rotation.from_euler("xyz", [0.5, -0.3, 1.0])]
    for turn in turns[:-1]:
        poses.append(turn * poses[-1])
    orientation = Rotation.concatenate(poses)
    moves = 0.01 * random.normal(size=(num_steps, 3))
    position = 0.4 + np.concatenate([np.zeros((1, 3)), moves[:-1].cumsum(0)])
    position += 1e-3 * random.normal(size=position.shape)
    command, rotation = moves, turns
    if motion == "target":
        command, rotation = position + moves, turns * orientation
    gripper = (np.arange(num_steps) < 9).astype(float)
    pose = np.column_stack([position, orientation.as_quat()])
    action = np.column_stack([command, six_d(rotation.as_matrix(), order), gripper])
    return {"action": action, "pose": pose}


@pytest.mark.parametrize("order", ["rotation_6d", "rotation_6d_rows"])
@pytest.mark.parametrize("motion", ["delta", "target"])
def test_ten_columns_are_a_6d_rotation(tmp_path, order, motion):
    """Columns and rows are told apart by the measured quaternion; the turns are read rightly."""
    folder = write(tmp_path, [ten_columns(seed, order, motion=motion) for seed in SEEDS])
    facts = look(folder)
    source = composed(facts["words"])
    assert (source.action.translation, source.action.rotation) == ("action[0:3]", "action[3:9]")
    assert (source.action.gripper, source.action.motion) == ("action[9]", motion)
    assert source.action.rotation_format == order
    assert source.pose.rotation_format == "quaternion_xyzw"
    for row in facts["actions"][3:6]:
        assert row["std"] == pytest.approx(row["achieved_std"], rel=0.01)
    assert not any(p["kind"] == "implausible" for p in facts["problems"])


def test_a_6d_rotation_that_nothing_decides_is_left_out(tmp_path):
    episodes = [ten_columns(seed, "rotation_6d", motion="delta") for seed in SEEDS]
    for arrays in episodes:
        arrays["pose"] = arrays["pose"][:, :3]
    facts = look(write(tmp_path, episodes))
    source = composed(facts["words"])
    assert (source.action.translation, source.action.rotation) == ("action[0:3]", "")
    assert source.action.gripper == "action[9]"
    why = parts_of(facts)["action.rotation"]["why"]
    assert "two columns of the matrix (rotation_6d) or two rows (rotation_6d_rows" in why
    assert "do not tell which" in why


def test_ten_columns_of_something_else_are_not_read_as_metres(tmp_path):
    """The words leave the action empty, so that a training refuses it instead of guessing."""
    random = np.random.default_rng(0)
    episodes = [{"action": random.normal(size=(20, 10)), "thing": np.zeros((20, 2))} for _ in SEEDS]
    facts = look(write(tmp_path, episodes))
    assert facts["actions"] == []
    assert "no column looks like an end-effector action" in facts["proposal"]["missing"][0]
    action = composed(facts["words"]).action
    assert (action.translation, action.rotation, action.gripper) == ("", "", "")


def moving(seed, *, key, hz=10.0):
    """Velocities in metres a second, and the position that follows them."""
    random = np.random.default_rng(seed)
    velocity = 0.1 * random.normal(size=(30, 7))
    velocity[:, 6] = np.arange(30) < 15
    position = np.concatenate([np.zeros((1, 3)), velocity[:-1, :3].cumsum(0) / hz])
    position += 1e-4 * random.normal(size=position.shape)
    return {"action": velocity, key: np.column_stack([position, np.zeros((30, 3))])}


def stamped(episodes, *, hz=10.0):
    for number, arrays in enumerate(episodes):
        arrays["timestamp"] = (number + np.arange(len(arrays["action"])) / hz)[:, None]
    return episodes


def test_velocities_are_told_by_the_rate_of_the_timestamps(tmp_path):
    episodes = stamped([moving(seed, key="tcp_pose") for seed in SEEDS])
    facts = look(write(tmp_path, episodes))
    source = composed(facts["words"])
    assert (source.action.motion, source.control_hz) == ("velocity", 10.0)
    assert source.action.translation_scale == 1.0
    assert "advances by 0.1 s a step" in parts_of(facts)["control_hz"]["why"]
    assert facts["motion"]["ratio"] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(("factor", "motion"), [(10.0, "velocity"), (1.0, "delta")])
def test_velocities_of_joints_are_told_by_the_rate_too(tmp_path, factor, motion):
    episodes = []
    for seed in SEEDS:
        arrays = renamed(arm(seed), "joint_positions", "cartesian_position")
        joints = arrays["joint_positions"]
        arrays["action"][:-1, :7] = factor * np.diff(joints, axis=0)
        episodes.append(arrays)
    source = composed(look(write(tmp_path, stamped(episodes)))["words"])
    assert (source.action.joints, source.action.joints_motion) == ("action[0:7]", motion)
    assert source.control_hz == (10.0 if motion == "velocity" else 0.0)


def test_deltas_with_timestamps_stay_deltas(tmp_path):
    episodes = stamped([moving(seed, key="tcp_pose", hz=1.0) for seed in SEEDS])
    facts = look(write(tmp_path, episodes))
    source = composed(facts["words"])
    assert (source.action.motion, source.control_hz) == ("achieved", 10.0)


def named_velocity(tmp_path, key):
    """The same columns under `action_dict/cartesian_velocity`."""
    features = make_features(
        action={"cartesian_velocity": tensor(7)},
        observation={"front": F.Image(shape=(8, 12, 3), encoding_format="png"), key: tensor(6)},
    )
    episodes = []
    for seed in SEEDS:
        arrays = {k: v.astype(np.float32) for k, v in moving(seed, key=key).items()}
        episode = make_episode(seed, num_steps=30)
        for t, step in enumerate(episode["steps"]):
            step["observation"] = {"front": step["observation"]["front"], key: arrays[key][t]}
            step["action"] = {"cartesian_velocity": arrays["action"][t]}
        episodes.append(episode)
    return make_dataset(tmp_path, episodes, features=features)


def test_named_velocities_get_the_rate_that_their_motion_tells(tmp_path):
    facts = look(named_velocity(tmp_path, "cartesian_position"))
    source = composed(facts["words"])
    assert source.action.motion == "velocity"
    assert source.control_hz == pytest.approx(10.0, rel=0.05)
    assert parts_of(facts)["control_hz"]["confidence"] == "guess"


def test_named_velocities_without_any_rate_ask_for_it(tmp_path):
    facts = look(named_velocity(tmp_path, "joint_positions"))
    assert any("velocities need the steps per second" in m for m in facts["proposal"]["missing"])
    assert facts["actions"] == []
    assert composed(facts["words"]).action.motion == "velocity"  # which training refuses


def test_an_unknown_rate_is_asked_for(tmp_path):
    facts = look(make_dataset(tmp_path, map(make_episode, SEEDS)))
    assert "give data.source.control_hz=HZ" in problems_of(facts)["control_hz"]
