"""Actions that are wider than the seven numbers of an end effector."""

from dataclasses import replace

import numpy as np
import pytest
from joint_episodes import ARM, HAND, Stored, stored, write_joints
from rlds_files import make_source

from genie_robo.data.actions import achieved_motion, compose_actions, to_robot_actions
from genie_robo.data.features import Feature
from genie_robo.data.joints import to_joints
from genie_robo.data.loader import collate
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.settings import ActionSource, JointsMotion, Motion, PoseSource, Source
from genie_robo.data.sources import MAX_JOINTS, action_dim, check_source, source_keys
from genie_robo.data.statistics import ALL, dataset_statistics, normalize
from genie_robo.data.windows import MixedWindows, WindowDataset
from genie_robo.types import ACTION_NAMES, action_names, action_units

COMMANDS = np.array([[1.0, 10.0], [3.0, 10.0], [4.0, 40.0], [8.0, 40.0], [9.0, 0.0], [0, 0]])
MEASURED = np.array([[0.0, 9.0], [1.0, 9.0], [2.0, 9.0], [5.0, 39.0], [7.0, 41.0], [9.0, 9.0]])
COLUMNS = {"action": COMMANDS, "observation/joints": MEASURED}


def two_joints(motion: str) -> Source:
    action = replace(ARM.action, joints="action[0:2]", joints_motion=JointsMotion(motion))
    return replace(ARM, action=action)


@pytest.mark.parametrize(
    ("motion", "by_step", "by_three"),
    [
        # Command less measured joints; then the third command less the first measured joints.
        ("target", [[1, 1], [2, 1], [2, 31], [3, 1], [2, -41]], [[4 - 0, 40 - 9]]),
        ("delta", [[1, 10], [3, 10], [4, 40], [8, 40], [9, 0]], [[1 + 3 + 4, 10 + 10 + 40]]),
        # Per second, five steps each: the way of one step, then of three.
        ("velocity", [[0.2, 2], [0.6, 2], [0.8, 8], [1.6, 8], [1.8, 0]], [[1.6, 2 + 2 + 8]]),
        ("position", [[1, 10], [3, 10], [4, 40], [8, 40], [9, 0]], [[4, 40]]),
    ],
)
def test_known_answers_of_every_motion(motion, by_step, by_three):
    source = two_joints(motion)
    actions, mask = to_robot_actions(COLUMNS, source)
    np.testing.assert_array_equal(actions[:-1, 7:], np.float32(by_step))
    np.testing.assert_array_equal(actions[-1], np.zeros(9))
    assert not actions[:, :7].any()
    assert mask.tolist() == [False] * 7 + [True, True]

    starts = to_joints(COLUMNS, source).starts
    composed = compose_actions(actions[:-1], 3, starts[:-1])[:, 7:]
    np.testing.assert_allclose(composed, by_three, rtol=1e-6)
    later = compose_actions(actions[2:-1], 3, starts[2:-1])  # steps 2, 3 and 4
    expected = {"target": [9 - 2, 0 - 9], "delta": [4 + 8 + 9, 40 + 40 + 0], "position": [9, 0]}
    expected["velocity"] = [21 / 5, 80 / 5]
    np.testing.assert_allclose(later[0, 7:], expected[motion], rtol=1e-6)


def test_a_robot_that_follows_late_is_not_counted_once_per_step():
    """The sum of command less measured over three steps would be 3, three times the way."""
    columns = {"action": np.ones((4, 2)), "observation/joints": np.zeros((4, 2))}
    source = two_joints("target")
    actions, _ = to_robot_actions(columns, source)
    composed = compose_actions(actions[:-1], 3, to_joints(columns, source).starts[:-1])
    assert composed[0, 7:].tolist() == [1, 1]


def test_an_end_effector_with_further_numbers_keeps_its_seven():
    rows = np.arange(36, dtype=np.float64).reshape(4, 9) / 100
    alone, _ = to_robot_actions({"action": rows}, replace(HAND, action=ActionSource()))
    actions, mask = to_robot_actions({"action": rows}, HAND)
    np.testing.assert_array_equal(actions[:, :7], alone)
    np.testing.assert_allclose(actions[:-1, 7:], rows[:-1, 7:], rtol=1e-6)
    assert mask.all()


def test_joints_that_are_not_finite_are_named():
    broken = COMMANDS.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="a joint command of step 3 is not finite"):
        to_robot_actions(COLUMNS | {"action": broken}, two_joints("delta"))
    broken = MEASURED.copy()
    broken[5, 0] = np.inf
    with pytest.raises(ValueError, match="a measured joint of step 5 is not finite"):
        to_robot_actions(COLUMNS | {"observation/joints": broken}, two_joints("target"))
    last = COMMANDS.copy()
    last[-1] = np.nan  # never valid
    actions, _ = to_robot_actions(COLUMNS | {"action": last}, two_joints("delta"))
    assert np.isfinite(actions).all()


@pytest.mark.parametrize(
    ("joints", "width"),
    [("", 7), ("a[0:9]", 16), ("a[3]", 8), ("a[-1]", 8), ("a[-4:]", 11), ("a[:2]", 9)],
)
def test_the_width_follows_from_the_settings_alone(joints, width):
    source = replace(HAND, action=replace(HAND.action, joints=joints))
    assert action_dim(source) == width


@pytest.mark.parametrize("joints", ["action", "action[2:]", "action[1:-1]", "action[:]"])
def test_a_width_that_only_the_dataset_knows_is_refused(joints):
    source = replace(HAND, action=replace(HAND.action, joints=joints))
    with pytest.raises(ValueError, match=r"write the slice.*joints=action\[0:7\]"):
        action_dim(source)


@pytest.mark.parametrize("joints", ["action[3:3]", "action[5:2]", f"action[0:{MAX_JOINTS + 1}]"])
def test_no_joints_and_too_many(joints):
    source = replace(HAND, action=replace(HAND.action, joints=joints))
    with pytest.raises(ValueError, match=f"must be 1 to {MAX_JOINTS}"):
        action_dim(source)


FEATURES = {
    "observation/image": Feature(kind="image", dtype="uint8", shape=(8, 8, 3), encoding="png"),
    "action": Feature(kind="tensor", dtype="float32", shape=(9,)),
    "observation/joints": Feature(kind="tensor", dtype="float32", shape=(9,)),
}


@pytest.mark.parametrize(
    ("action", "pose", "message"),
    [
        ({}, {"joints": ""}, "joints_motion=target needs the measured joints"),
        (
            {},
            {"joints": "observation/joints[0:8]"},
            "pose.joints=observation/joints[0:8] must be 9",
        ),
        ({"joints": "action[2:11]"}, {}, "action.joints=action[2:11] must be 9 numbers"),
        ({"joints": "action"}, {}, "write the slice"),
        ({"joints": ""}, {"joints": ""}, "action.joints=KEY[0:7]"),
        ({"joints": "", "gripper": "action[6]"}, {}, "name the joint commands, or leave both out"),
    ],
)
def test_joints_that_do_not_fit(action, pose, message):
    source = replace(ARM, action=replace(ARM.action, **action), pose=replace(ARM.pose, **pose))
    with pytest.raises(ValueError, match=r"data\.source") as caught:
        check_source(source, FEATURES)
    assert message in str(caught.value)


def test_joint_velocities_need_a_rate_and_move_nothing_before_the_first_command():
    action = replace(two_joints("velocity").action, lag=1)
    actions, _ = to_robot_actions(COLUMNS, replace(ARM, action=action))
    np.testing.assert_allclose(actions[:3, 7:], [[0, 0], [0.2, 2], [0.6, 2]], rtol=1e-6)
    action = replace(ARM.action, joints_motion=JointsMotion.velocity)
    check_source(replace(ARM, action=action), FEATURES)
    with pytest.raises(ValueError, match=r"action\.joints_motion=velocity needs .*control_hz"):
        check_source(replace(ARM, action=action, control_hz=0.0), FEATURES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joint_names": ("a", "b")}, "joint_names must be 9 different names"),
        ({"joint_names": ("a",) * 9}, "joint_names must be 9 different names"),
        ({"joint_names": (*"abcdefgh", "dx")}, "none of them dx dy dz"),
        ({"joint_names": (*"abcdefgh", "a/b")}, "joint_names must be 9 different names"),
        ({"joint_units": ("rad", "m")}, "joint_units must be one unit for all joints or 9"),
        ({"joint_units": ("\x1b[2J",)}, "joint_units must be one unit"),
    ],
)
def test_names_and_units_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=r"data\.source") as caught:
        check_source(replace(ARM, action=replace(ARM.action, **changes)), FEATURES)
    assert message in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_joints_alone_need_nothing_of_an_end_effector():
    check_source(ARM, FEATURES)
    for motion in (Motion.target, Motion.velocity):  # of an end effector that is not there
        action = replace(ARM.action, motion=motion)
        check_source(replace(ARM, action=action, control_hz=0.0), FEATURES)
    assert source_keys(ARM) == ("observation/image", "action", "observation/joints")


def test_what_is_read_without_joints_is_described_as_before():
    reading = make_source().reading
    assert "joints" not in reading["action"]
    assert "joints_motion" not in reading["action"]
    assert "joints" not in reading["pose"]
    assert ARM.reading["action"]["joints_motion"] == "target"
    assert ARM.reading["pose"]["joints"] == "observation/joints"


def test_names_and_units_of_a_wide_action():
    assert action_names(7) == ACTION_NAMES
    assert action_names(9)[6:] == ("gripper", "joint0", "joint1")
    assert action_units(9)[6:] == ("1 = open", "stored", "stored")
    assert action_names(9, ("waist", "elbow"))[6:] == ("gripper", "waist", "elbow")
    assert action_units(9, ("rad",))[7:] == ("rad", "rad")
    assert action_units(9, ("rad", "m"))[7:] == ("rad", "m")


def test_names_and_units_reach_every_episode_but_no_fingerprint(folder):
    action = replace(ARM.action, joint_names=tuple("abcdefghi"), joint_units=("rad",))
    named, plain = RldsDataset(folder, replace(ARM, action=action)), RldsDataset(folder, ARM)
    assert named.fingerprint == plain.fingerprint
    assert named.action_names[6:9] == ("gripper", "a", "b")
    assert plain.action_names[6:9] == ("gripper", "joint0", "joint1")
    assert named[0].action_names == named.action_names
    assert named[0].action_units == named.action_units == (*action_units(7), *["rad"] * 9)


@pytest.fixture(scope="module")
def episodes() -> list[Stored]:
    return [stored(10 + n, seed=n) for n in range(5)]


@pytest.fixture(scope="module")
def folder(episodes, tmp_path_factory):
    return write_joints(tmp_path_factory.mktemp("arm"), episodes)


def windows_of(folder, source, *, stride=1) -> WindowDataset:
    dataset = RldsDataset(folder, source)
    numbers = range(len(dataset))
    return WindowDataset(dataset, numbers, num_frames=3, image_size=(16, 16), frame_stride=stride)


@pytest.mark.parametrize("stride", [1, 3])
def test_windows_of_joint_commands(folder, episodes, stride):
    windows = windows_of(folder, ARM, stride=stride)
    by_id = {windows.dataset[e].episode_id: e for e in range(5)}
    window = windows[1]  # starts at step 1
    raw = episodes[by_id[window.episode_id]]
    ends = 1 + stride * np.arange(1, 3)
    expected = raw.action[ends - 1] - raw.joints[ends - stride]
    np.testing.assert_allclose(window.robot_actions[:, 7:], expected, atol=1e-6)
    assert window.robot_actions.shape == (2, 16)
    assert window.action_mask.tolist() == [False] * 7 + [True] * 9


def test_episodes_have_the_measured_joints(folder, episodes):
    episode = RldsDataset(folder, ARM)[0]
    assert episode.end_effector_pose is None
    assert episode.joints.dtype == np.float32
    for stride in (1, 3):
        motion, mask = achieved_motion(episode, stride=stride)
        moved = np.diff(episode.joints[::stride], axis=0)
        np.testing.assert_array_equal(motion[:, 7:], moved)
        assert not motion[:, :7].any()
        assert mask.tolist() == [False] * 7 + [True] * 9


def test_statistics_are_as_wide_as_the_actions_and_kept(folder, episodes, caplog):
    dataset = RldsDataset(folder, ARM)
    fractions = {"val_fraction": 0.2, "test_fraction": 0.2}
    found = dataset_statistics(dataset, **fractions).splits[ALL]
    rows = np.concatenate([e.action[:-1] - e.joints[:-1] for e in episodes])
    np.testing.assert_allclose(found.commanded.mean[7:], rows.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.commanded.q99[7:], np.quantile(rows, 0.99, axis=0), atol=1e-6)
    moved = np.concatenate([np.diff(e.joints, axis=0) for e in episodes])
    np.testing.assert_allclose(found.achieved.std[7:], moved.std(0), atol=1e-6)
    assert found.achieved.mask.tolist() == [False] * 7 + [True] * 9
    low = normalize(found.commanded.q01[None], found.commanded)[0]
    np.testing.assert_allclose(low, [0.0] * 7 + [-1.0] * 9, atol=1e-6)
    again = dataset_statistics(dataset, **fractions).splits[ALL]
    np.testing.assert_array_equal(again.commanded.std, found.commanded.std)


def test_sets_of_other_widths_share_a_batch(folder):
    hand = replace(HAND, action=ActionSource())
    mixed = MixedWindows([windows_of(folder, s) for s in (ARM, HAND, hand)], [0.0] * 3)
    third = len(mixed) // 3
    numbers = (0, third, 2 * third)
    batch = collate([mixed[k] for k in numbers])
    assert batch.robot_actions.shape == (3, 2, 16)
    assert batch.action_mask.sum(1).tolist() == [9, 9, 7]
    for row, k in enumerate(numbers):
        width = len(mixed[k].action_mask)
        np.testing.assert_array_equal(batch.robot_actions[row, :, :width], mixed[k].robot_actions)
        assert not batch.robot_actions[row, :, width:].any()
        assert not batch.action_mask[row, width:].any()


def test_a_pose_source_without_joints_reads_as_before():
    assert PoseSource().joints == ""
    assert ActionSource().joints_motion is JointsMotion.delta
