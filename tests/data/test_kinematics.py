"""Poses of a link from measured joints, against arms whose poses have a closed form."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from joint_episodes import ARM, stored, write_joints

from genie_robo.data.actions import to_pose, to_robot_actions
from genie_robo.data.features import Feature
from genie_robo.data.kinematics import MAX_BYTES, MAX_LINKS, open_kinematics
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.settings import ActionSource, JointsMotion, Motion, PoseSource, Source
from genie_robo.data.sources import action_dim, check_source, with_names
from genie_robo.rotations import rpy_to_matrix

UPPER, FORE, HAND = 0.3, 0.2, 0.1
"""Metres."""
ANGLES = np.array([[0.0, 0.0, 0.0], [0.4, -0.3, 0.2], [1.0, 1.0, -2.0], [-2.5, 0.1, 3.0]])


def joint(name, parent, child, *, kind="revolute", xyz="0 0 0", rpy="0 0 0", axis="0 0 1", more=""):
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="{xyz}" rpy="{rpy}"/><axis xyz="{axis}"/>{more}</joint>'
    )


def urdf(*joints: str, before: str = "") -> str:
    """A robot of these joints; meshes that do not exist are on every link."""
    names = ("world", "base", "upper", "fore", "hand", "tool", "left", "right")
    mesh = '<visual><geometry><mesh filename="package://no/such.stl"/></geometry></visual>'
    links = "".join(f'<link name="{name}">{mesh}</link>' for name in names)
    return f'{before}<robot name="arm">{links}{"".join(joints)}</robot>'


SHOULDER = joint("shoulder", "base", "upper")
ELBOW = joint("elbow", "upper", "fore", xyz=f"{UPPER} 0 0")
WRIST = joint("wrist", "fore", "hand", xyz=f"{FORE} 0 0")
TOOL = joint("flange", "hand", "tool", kind="fixed", xyz=f"{HAND} 0 0", rpy="0 0 0.5")
THREE = urdf(SHOULDER, ELBOW, WRIST, TOOL)
JOINTS = ("shoulder", "elbow", "wrist")


@pytest.fixture
def write(tmp_path):
    def pose(text: str | bytes, *, joints=JOINTS, link="tool", **more) -> PoseSource:
        file = tmp_path / "arm.urdf"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return PoseSource(
            joints="joints", urdf=str(file), link=link, urdf_joints=tuple(joints), **more
        )

    return pose


def flat(positions, yaw):
    """Poses in the plane z = 0."""
    x, y = positions
    zero = np.zeros_like(x)
    return np.stack([x, y, zero], 1), np.stack([zero, zero, yaw], 1)


def assert_poses(found, positions, rpy, *, scale=1.0):
    np.testing.assert_allclose(found[0], positions, atol=1e-12)
    np.testing.assert_allclose(rpy_to_matrix(found[1]), rpy_to_matrix(rpy), atol=1e-12)


def test_an_arm_of_two_links(write):
    """x = a cos s + b cos(s + e), and so on."""
    s, e = ANGLES[:, 0], ANGLES[:, 0] + ANGLES[:, 1]
    kinematics = open_kinematics(
        write(urdf(SHOULDER, ELBOW, WRIST), joints=("shoulder", "elbow"), link="fore")
    )
    assert_poses(kinematics.poses(ANGLES[:, :2]), *flat((UPPER * np.cos(s), UPPER * np.sin(s)), e))


def test_an_arm_of_three_links_with_a_fixed_tool(write):
    s, e, w = np.cumsum(ANGLES, axis=1).T
    x = UPPER * np.cos(s) + FORE * np.cos(e) + HAND * np.cos(w)
    y = UPPER * np.sin(s) + FORE * np.sin(e) + HAND * np.sin(w)
    assert_poses(open_kinematics(write(THREE)).poses(ANGLES), *flat((x, y), w + 0.5))


def test_a_rotated_base_turns_and_moves_every_pose(write):
    mounted = joint("mount", "world", "base", kind="fixed", xyz="1 2 3", rpy="0.3 -0.4 1.2")
    text = urdf(mounted, SHOULDER, ELBOW, WRIST, TOOL)
    positions, rpy = open_kinematics(write(THREE)).poses(ANGLES)
    turn = rpy_to_matrix(np.array([0.3, -0.4, 1.2]))
    found = open_kinematics(write(text)).poses(ANGLES)
    np.testing.assert_allclose(found[0], [1, 2, 3] + positions @ turn.T, atol=1e-12)
    np.testing.assert_allclose(rpy_to_matrix(found[1]), turn @ rpy_to_matrix(rpy), atol=1e-12)
    # In the frame of the base itself the mount does not matter.
    assert_poses(open_kinematics(write(text, base_link="base")).poses(ANGLES), positions, rpy)


def test_axes_of_any_direction_and_sliding_joints(write):
    text = urdf(
        joint("lift", "base", "upper", kind="prismatic", xyz="0 0 1", axis="0 0 -2"),
        joint("roll", "upper", "tool", kind="continuous", xyz="0 0.5 0", axis="1 0 0"),
    )
    values = np.array([[0.2, 0.0], [-0.1, 1.5], [0.0, 40.0]])
    found = open_kinematics(write(text, joints=("lift", "roll"))).poses(values)
    expected = np.stack([[0.0] * 3, [0.5] * 3, 1 - values[:, 0]], 1)
    assert_poses(found, expected, np.stack([values[:, 1], 0 * values[:, 1], 0 * values[:, 1]], 1))


def test_stored_degrees_and_the_order_of_columns(write):
    pose = write(THREE, joints=("wrist", "", "shoulder", "elbow"), joints_scale=np.pi / 180)
    columns = np.degrees(np.stack([ANGLES[:, 2], ANGLES[:, 2] * np.nan, *ANGLES[:, :2].T], 1))
    assert_poses(open_kinematics(pose).poses(columns), *open_kinematics(write(THREE)).poses(ANGLES))


def test_a_joint_that_mimics_moves_with_the_other_one(write):
    mimic = '<mimic joint="shoulder" multiplier="-2" offset="0.1"/>'
    follows = joint("elbow", "upper", "fore", xyz=f"{UPPER} 0 0", more=mimic)
    text = urdf(SHOULDER, follows, WRIST, TOOL)
    given = np.stack([ANGLES[:, 0], 0.1 - 2 * ANGLES[:, 0], ANGLES[:, 2]], 1)
    found = open_kinematics(write(text, joints=("shoulder", "wrist"))).poses(ANGLES[:, [0, 2]])
    assert_poses(found, *open_kinematics(write(THREE)).poses(given))


def test_degrees_that_are_taken_for_radians_are_refused(write):
    with pytest.raises(ValueError, match=r"joint elbow turns by 90, .*joints_scale, 0.0174533"):
        open_kinematics(write(THREE)).poses(np.array([[1.0, -90.0, 2.0]]))


LOOP = urdf(joint("a", "base", "upper"), joint("b", "upper", "base"))
SELF = urdf(joint("shoulder", "base", "tool", more='<mimic joint="shoulder"/>'))
FREE = urdf(joint("a", "base", "upper", kind="floating"), joint("b", "upper", "tool"))
LONG = "".join(joint(f"j{n}", f"l{n}", f"l{n + 1}", kind="fixed") for n in range(MAX_LINKS + 1))


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("", {}, "is no URDF that can be read"),
        ("<robot><link", {}, "is no URDF that can be read"),
        (b"\xff\xfe<", {}, "is no URDF that can be read"),
        ("<mujoco/>", {}, "it is a <mujoco>, not a <robot>; MJCF is not read"),
        (urdf(before='<!DOCTYPE a [<!ENTITY b "c">]>'), {}, "it has a DOCTYPE"),
        (" " * (MAX_BYTES + 1), {}, f"more than the {MAX_BYTES:,} bytes"),
        (urdf(SHOULDER, SHOULDER), {}, "two joints have one name"),
        (urdf(SHOULDER, joint("other", "world", "upper")), {}, "one link hangs on two joints"),
        (urdf('<joint name="a" type="fixed"/>'), {}, "lacks a name, a parent or a child"),
        (THREE, {"link": "gripper"}, "pose.link=gripper is no link of arm.urdf"),
        (THREE, {"base_link": "left"}, "base_link=left is not above"),
        (THREE, {"link": "base"}, "no joint moves base against the root"),
        (THREE, {"joints": ("shoulder", "wrist")}, "moves with elbow, which is not measured"),
        (THREE, {"joints": (*JOINTS, "knee")}, "urdf_joints names knee"),
        (LOOP, {"link": "upper", "joints": ("a", "b")}, f"more than {MAX_LINKS} links follow"),
        (f'<robot><link name="l{MAX_LINKS + 1}"/>{LONG}</robot>',
         {"link": f"l{MAX_LINKS + 1}", "joints": ()}, f"more than {MAX_LINKS} links follow"),
        (SELF, {"joints": ("elbow",)}, "urdf_joints names elbow"),
        (SELF, {"joints": ("",)}, "joint shoulder mimics itself"),
        (FREE, {"joints": ("b",)}, "joint a on the way to the link is floating"),
        (THREE.replace(f'"{UPPER} 0 0"', '"nan 0 0"'), {}, "xyz of joint elbow is not three"),
        (THREE.replace(f'"{UPPER} 0 0"', '"1 2"'), {}, "xyz of joint elbow is not three"),
        (urdf(joint("shoulder", "base", "tool", axis="0 0 0")), {"joints": ("shoulder",)},
         "has joints that MuJoCo refuses"),
        (THREE.replace('name="elbow"', 'name="el&#10;bow"'), {}, r"'el\nbow' is too long or"),
    ],
)  # fmt: skip
def test_a_urdf_that_does_not_fit_is_refused(write, text, changes, message):
    with pytest.raises((ValueError, KeyError)) as caught:
        open_kinematics(write(text, **changes))
    assert message in str(caught.value)


def test_a_urdf_that_is_not_there(tmp_path):
    pose = PoseSource(joints="joints", urdf=str(tmp_path / "no.urdf"), link="tool")
    with pytest.raises(FileNotFoundError, match=r"pose\.urdf=.*no\.urdf does not exist"):
        open_kinematics(pose)


def source_of(pose: PoseSource, **action) -> Source:
    nothing = {"translation": "", "rotation": "", "gripper": ""}
    return Source(
        camera="observation/image",
        action=ActionSource(**nothing, motion=Motion.pose_change, **action),
        pose=replace(pose, joints="observation/joints[0:3]"),
        control_hz=5.0,
    )


FEATURES = {
    "observation/image": Feature(kind="image", dtype="uint8", shape=(8, 8, 3), encoding="png"),
    "action": Feature(kind="tensor", dtype="float32", shape=(9,)),
    "observation/joints": Feature(kind="tensor", dtype="float32", shape=(3,), names=JOINTS),
}


def test_joints_alone_give_the_motion_of_the_tool(write):
    source = source_of(write(THREE))
    check_source(source, FEATURES)
    assert action_dim(source) == 7
    columns = {"observation/joints": ANGLES}
    pose, pose_mask = to_pose(columns, source)
    positions, rpy = open_kinematics(source.pose).poses(ANGLES)
    np.testing.assert_allclose(pose[:, :6], np.concatenate([positions, rpy], 1), atol=1e-6)
    assert pose_mask.tolist() == [True] * 6 + [False]
    actions, mask = to_robot_actions(columns, source)
    np.testing.assert_allclose(actions[:-1, :3], np.diff(positions, axis=0), atol=1e-6)
    assert mask.tolist() == pose_mask.tolist()


def test_joints_stay_beside_the_motion_that_is_computed_from_them(write):
    source = source_of(write(THREE), joints="action[0:3]", joints_motion=JointsMotion.target)
    columns = {"observation/joints": ANGLES, "action": ANGLES + 0.1}
    check_source(source, FEATURES)
    actions, mask = to_robot_actions(columns, source)
    assert mask.tolist() == [True] * 6 + [False] + [True] * 3
    np.testing.assert_allclose(actions[:-1, 7:], 0.1, atol=1e-6)


def test_joints_are_found_by_the_names_of_the_dataset(write):
    text = THREE.replace('"shoulder"', '"shoulder_joint"')
    source = with_names(source_of(write(text, joints=())), FEATURES)
    assert source.pose.urdf_joints == ("shoulder_joint", "elbow", "wrist")
    unnamed = FEATURES | {"observation/joints": replace(FEATURES["observation/joints"], names=())}
    with pytest.raises(ValueError, match=r"has no names of joints.*shoulder_joint, elbow, wrist"):
        check_source(with_names(source_of(write(text, joints=())), unnamed), unnamed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position": "observation/joints[0:3]"}, "leave out data.source.pose.position"),
        ({"rotation": "observation/joints[0:3]"}, "leave out data.source.pose.position"),
        ({"link": ""}, "needs the measured joints"),
        ({"joints": ""}, "needs the measured joints"),
        ({"joints": "observation/joints[0:2]"}, "has 3 names, but"),
        ({"urdf": ""}, "pose.link is about a URDF"),
        ({"link": "knee"}, "is no link"),
    ],
)
def test_settings_that_do_not_fit_each_other(write, changes, message):
    source = source_of(write(THREE))
    source = replace(source, action=ActionSource(translation="action[0:3]"))
    with pytest.raises((ValueError, KeyError)) as caught:
        check_source(replace(source, pose=replace(source.pose, **changes)), FEATURES)
    assert message in str(caught.value)


def test_another_urdf_is_another_reading(write, tmp_path):
    (tmp_path / "arm").mkdir()
    folder = write_joints(tmp_path / "arm", [stored(6, seed=seed) for seed in range(3)])
    first = RldsDataset(folder, source_of(write(THREE)))
    copy = Path(first.source.pose.urdf).with_name("copy.urdf")
    copy.write_bytes(Path(first.source.pose.urdf).read_bytes())
    moved = replace(first.source, pose=replace(first.source.pose, urdf=str(copy)))
    assert RldsDataset(folder, moved).fingerprint == first.fingerprint
    poses = first[0].end_effector_pose
    longer = write(THREE.replace(f'"{UPPER} 0 0"', '"0.5 0 0"'))
    changed = RldsDataset(folder, source_of(longer))
    assert changed.fingerprint != first.fingerprint
    assert np.abs(changed[0].end_effector_pose - poses).max() > 0.01
    assert ARM.reading["pose"].keys() == {"position", "rotation", "rotation_format", "gripper",
                                          "gripper_format", "joints"}  # fmt: skip
