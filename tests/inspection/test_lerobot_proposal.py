"""How an unknown LeRobot folder may be read: by names, and by values where names say nothing."""

from dataclasses import asdict

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from inspect_files import look, parts_of, problems_of
from json_edits import change_json
from lerobot_files import ACTION, CAMERA, FPS, STATE, Demo, make_demo, write_table, write_v2

from genie_robo import cli
from genie_robo.data.formats import index_folder
from genie_robo.data.metadata import open_folder
from genie_robo.inspection.entry import entry_text
from genie_robo.inspection.episodes import camera_facts, sample_columns
from genie_robo.inspection.facts import inspect_dataset
from genie_robo.inspection.lerobot_proposal import propose_lerobot

SEEDS = range(4)
UNKNOWN = [
    {"motors": [f"motor_{i}" for i in range(7)]},
    ["actions"],
    None,
]


def demo(seed, state, action, *, hz=FPS) -> Demo:
    count = len(state)
    found = make_demo(count, seed=seed, times=np.arange(count) / hz)
    return found._replace(state=state.astype(np.float32), action=action.astype(np.float32))


def walk(seed, width, *, count=40, size=0.03):
    return size * np.random.default_rng(seed).normal(size=(count, width)).cumsum(axis=0)


def after(rows):
    return np.concatenate([rows[1:], rows[-1:]])


def joint_targets(seed, width=7):
    joints = walk(seed, width)
    return joints, after(joints) + 1e-3 * walk(seed + 9, width)


def hand_deltas(seed):
    """A pose of x y z roll pitch yaw gripper, and the motion of a step with the next gripper."""
    pose = walk(seed, 7, size=0.01)
    pose[:, 6] = np.arange(len(pose)) < 20
    action = after(pose) - pose
    action[:, :6] += 1e-3 * np.random.default_rng(seed).normal(size=(len(pose), 6))
    action[:, 6] = after(pose)[:, 6]
    return pose, action


def folder_of(tmp_path, make, names=None, state_names=None, **options):
    folder = write_v2(tmp_path / "demos", [demo(s, *make(s), **options) for s in SEEDS])

    def rename(info):
        info["features"][ACTION]["names"] = names
        info["features"][STATE]["names"] = state_names

    change_json(folder / "meta/info.json", rename)
    return folder


def propose(folder):
    """The parts of a proposal as `look` has them, and its source."""
    schema = open_folder(folder)
    index = index_folder(schema)
    proposal, source = propose_lerobot(schema, sample_columns(index), camera_facts(index))
    parts = {part.setting: asdict(part) for part in proposal.parts}
    assert len(parts) == len(proposal.parts)
    return parts, source


def rename_columns(folder, keys):
    """Give columns other names; None leaves one out."""
    for file in folder.glob("data/*/*.parquet"):
        table = pq.read_table(file)
        columns = {keys.get(name, name): table[name] for name in table.column_names}
        write_table(file, type(table).from_pydict({k: v for k, v in columns.items() if k}))

    def change(info):
        stored = {keys.get(key, key): content for key, content in info["features"].items()}
        info["features"] = {key: content for key, content in stored.items() if key}

    change_json(folder / "meta/info.json", change)


@pytest.mark.parametrize("names", UNKNOWN)
def test_names_that_say_nothing_and_a_pose_that_moves(tmp_path, names):
    parts, source = propose(folder_of(tmp_path, hand_deltas, names))
    assert source.action.translation == "action[0:3]"
    assert source.action.rotation == "action[3:6]"
    assert source.action.gripper == "action[6]"
    assert (source.action.joints, source.action.motion) == ("", "delta")
    assert source.pose.position == "observation.state[0:3]"
    guesses = {parts[k]["confidence"] for k in parts if k.startswith(("action", "pose"))}
    assert guesses == {"guess"}


@pytest.mark.parametrize("names", UNKNOWN)
def test_names_that_say_nothing_and_joints(tmp_path, names):
    """Joints that go where they are sent look like a pose that does."""
    parts, source = propose(folder_of(tmp_path, joint_targets, names))
    assert (source.action.translation, source.action.joints) == ("", "action[0:7]")
    assert (source.action.joints_motion, source.pose.joints) == (
        "target",
        "observation.state[0:7]",
    )
    assert parts["action.joints"]["confidence"] == "guess"


def test_joints_that_are_named_are_sure(tmp_path):
    names = [f"joint_{i}" for i in range(7)]
    parts, _ = propose(folder_of(tmp_path, joint_targets, names, names))
    assert parts["action.joints"]["confidence"] == parts["pose.joints"]["confidence"] == "sure"


def test_absolute_poses_are_told_from_joints_by_their_quaternions(tmp_path):
    def make(seed):
        pose = walk(seed, 8, size=0.01)
        turn = np.array([0.0, 0, 0, 1]) + walk(seed + 50, 4, size=0.02)
        pose[:, 3:7] = turn / np.linalg.norm(turn, axis=1, keepdims=True)
        pose[:, 7] = np.arange(len(pose)) < 20
        return pose, after(pose)

    _, source = propose(folder_of(tmp_path, make))
    assert (source.action.translation, source.action.motion) == ("action[0:3]", "target")
    assert source.action.rotation_format == "quaternion_xyzw"
    assert source.pose.position == "observation.state[0:3]"


def test_the_widest_measured_column_is_the_action(tmp_path):
    """As in the folders of AgiBot: several columns, of which that of the gripper is named first."""

    def make(seed):
        joints = walk(seed, 14)
        return joints, after(joints) + 1e-3 * walk(seed + 9, 14)

    folder = folder_of(tmp_path, make)
    for number, file in enumerate(sorted(folder.glob("data/*/*.parquet"))):
        table = pq.read_table(file)
        small = walk(number, 2).tolist()
        columns = dict(zip(table.column_names, table.columns, strict=True))
        columns |= {"actions.effector.position": small, "observation.states.effector": small}
        columns |= {"actions.waist.pitch": walk(number, 20).tolist()}
        write_table(file, type(table).from_pydict(columns))
    shape = {"dtype": "float32", "names": None}

    def add(info):
        info["features"]["actions.effector.position"] = shape | {"shape": [2]}
        info["features"]["observation.states.effector"] = shape | {"shape": [2]}
        info["features"]["actions.waist.pitch"] = shape | {"shape": [20]}

    change_json(folder / "meta/info.json", add)
    rename_columns(folder, {ACTION: "actions.joint.position", STATE: "observation.states.joint"})
    parts, source = propose(folder)
    assert source.action.joints == "actions.joint.position[0:14]"
    assert source.pose.joints == "observation.states.joint[0:14]"
    why = parts["action.joints"]["why"]
    assert "actions.effector.position (2), actions.waist.pitch (20)" in why


def test_two_hands_are_read_as_joints(tmp_path):
    axes = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
    names = [f"{side}_{axis}" for side in ("left", "right") for axis in axes]

    def make(seed):
        poses = walk(seed, 14)
        return poses, after(poses)

    parts, source = propose(folder_of(tmp_path, make, names, names))
    assert source.action.joints == "action[0:14]"
    assert source.pose.joints == "observation.state[0:14]"
    assert parts["action.joints"]["confidence"] == "guess"


def test_names_of_one_hand_are_its_action(tmp_path):
    names = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
    _, source = propose(folder_of(tmp_path, hand_deltas, names, names))
    assert (source.action.translation, source.action.joints) == ("action[0:3]", "")
    assert source.control_hz == FPS


@pytest.mark.parametrize("names", [None, [f"joint_{i}" for i in range(7)]])
def test_velocities_of_joints(tmp_path, names):
    def make(seed):
        joints = walk(seed, 7)
        return joints, (after(joints) - joints) * FPS

    _, source = propose(folder_of(tmp_path, make, names, names))
    if names is None:  # a hand that moves by velocities looks the same
        assert source.action.motion == "velocity"
        return
    assert (source.action.joints, source.action.joints_motion) == ("action[0:7]", "velocity")


def test_differences_of_joints_stay_differences(tmp_path):
    names = [f"joint_{i}" for i in range(7)]

    def make(seed):
        joints = walk(seed, 7)
        return joints, after(joints) - joints

    _, source = propose(folder_of(tmp_path, make, names, names))
    assert source.action.joints_motion == "delta"


def test_positions_among_positions_and_velocities(tmp_path):
    names = [f"joint_{i}" for i in range(5)]
    both = [f"{name}_vel" for name in names] + names + ["gripper"]

    def make(seed):
        joints = walk(seed, 5)
        velocity = (after(joints) - joints) * FPS
        return np.column_stack([velocity, joints, joints[:, :1]]), after(joints)

    parts, source = propose(folder_of(tmp_path, make, names, both))
    assert source.pose.joints == "observation.state[5:10]"
    assert source.action.joints_motion == "target"
    assert parts["pose.joints"]["confidence"] == "sure"


def test_a_rate_that_was_rounded_down(tmp_path):
    folder = folder_of(tmp_path, joint_targets, hz=12.5)
    rename_columns(folder, {CAMERA: None})
    change_json(folder / "meta/info.json", lambda info: info.update(fps=12))
    index = index_folder(open_folder(folder))
    assert index.step_s == pytest.approx(0.08)
    facts = look(folder)
    part = parts_of(facts)["control_hz"]
    assert (part["value"], part["confidence"]) == ("12.5", "likely")
    assert "12.5 Hz, but meta/info.json says fps=12" in problems_of(facts)["rate"]
    assert facts["words"].count("control_hz") == 1
    assert "rate" in {problem["kind"] for problem in facts["problems"]}


def test_uneven_times_are_a_problem_and_gaps_too(tmp_path):
    def times(demo):
        found = demo.times.copy()
        found[10:] += 2.0
        return demo._replace(times=found)

    demos = [times(demo(s, *joint_targets(s))) for s in SEEDS]
    facts = look(write_v2(tmp_path, demos, images="image"))
    problems = {problem["kind"]: problem["text"] for problem in facts["problems"]}
    assert "up to 2e+03 ms from 10 Hz" in problems["uneven_times"]
    assert "timestamps jump 4 times in 4 of 4 episodes" in problems["gaps"]


def test_a_list_that_is_too_short_is_a_problem(tmp_path):
    folder = folder_of(tmp_path, joint_targets)
    change_json(folder / "meta/info.json", lambda info: info.update(total_episodes=9))
    assert "lists 4 episodes" in problems_of(look(folder))["episode_list"]


@pytest.mark.parametrize(("width", "is_read"), [(100, True), (256, True), (257, False)])
def test_long_actions(tmp_path, width, is_read):
    folder = folder_of(tmp_path, lambda seed: joint_targets(seed, width))
    if is_read:
        assert propose(folder)[1].action.joints == f"action[0:{width}]"
    else:
        facts = look(folder)
        assert "action is float32[257], more than 256 numbers" in facts["proposal"]["missing"][0]
        with pytest.raises(ValueError, match=r"data=lerobot data.source.camera=KEY"):
            entry_text(inspect_dataset(folder))


def test_what_is_written_is_read(tmp_path, capfd):
    folder = folder_of(tmp_path, joint_targets)
    written = tmp_path / "conf/data/mine.yaml"
    written.parent.mkdir(parents=True)
    assert cli.main(["inspect", f"path={folder}", f"write={written}"]) == cli.OK
    content = yaml.safe_load(written.read_text())
    assert content["path"] == str(folder)
    assert content["source"]["action"]["joints"] == "action[0:7]"
    assert content["source"]["instruction"] == ["task"]
    assert (
        cli.main(["inspect", f"path={folder}", "--config-dir", str(tmp_path / "conf"), "data=mine"])
        == cli.OK
    )
    shown = capfd.readouterr().out
    assert "data=lerobot" in shown
    assert "data=rlds" not in shown
