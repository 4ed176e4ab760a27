import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rlds_files import NO_POSE, RT1_SOURCE, make_source
from scipy.spatial.transform import Rotation

from genie_robo.data.actions import (
    achieved_deltas,
    compose_actions,
    open_gripper,
    to_pose,
    to_robot_actions,
    to_rpy,
)
from genie_robo.data.settings import Gripper, RotationFormat
from genie_robo.rotations import matrix_to_rpy, rpy_to_matrix

small_angles = arrays(np.float64, (5, 3), elements=st.floats(-1.5, 1.5))


def test_a_flat_action_comes_through_and_the_last_is_zero():
    rows = np.arange(21, dtype=np.float32).reshape(3, 7) / 100
    actions, mask = to_robot_actions({"action": rows}, make_source())
    np.testing.assert_array_equal(actions[:2], rows[:2])
    np.testing.assert_array_equal(actions[2], np.zeros(7))
    assert mask.tolist() == [True] * 7
    assert actions.dtype == np.float32


def test_the_last_action_may_be_anything():
    rows = np.zeros((3, 7))
    rows[2] = np.nan
    actions, _ = to_robot_actions({"action": rows}, make_source())
    assert np.isfinite(actions).all()


def test_a_value_that_is_not_finite():
    rows = np.zeros((4, 7))
    rows[1, 5] = np.inf
    with pytest.raises(ValueError, match="the action of step 1 is not finite"):
        to_robot_actions({"action": rows}, make_source())
    with pytest.raises(ValueError, match="the pose of step 1 is not finite"):
        to_pose({"observation/state": rows}, make_source())


def test_rt1_parts_are_joined():
    columns = {
        "action/world_vector": np.array([[1, 2, 3], [4, 5, 6], [0, 0, 0]], np.float32),
        "action/rotation_delta": np.array([[7, 8, 9], [10, 11, 12], [0, 0, 0]], np.float32),
        "action/gripper_closedness_action": np.array([[1], [0], [0]], np.float32),
    }
    actions, _ = to_robot_actions(columns, RT1_SOURCE)
    assert actions.tolist() == [[1, 2, 3, 7, 8, 9, 0], [4, 5, 6, 10, 11, 12, 0], [0] * 7]


@pytest.mark.parametrize(
    ("convention", "values", "expected"),
    [
        ("open_one", [0, 0.25, 1, 1.02, -0.1], [0, 0.25, 1, 1, 0]),
        ("closed_one", [0, 0.25, 1, 1.02, -1], [1, 0.75, 0, 0, 1]),
        # closing comes first: it was open before; holds until it opens
        ("relative_close", [0, 0, 1, 0, 0, -1, 0], [1, 1, 0, 0, 0, 1, 1]),
        # opening comes first: it was closed before; 0.05 is no command
        ("relative_close", [0.05, -0.9, 0.05, 0.9], [0, 1, 1, 0]),
        ("relative_close", [0, 0, 0.1], [1, 1, 1]),
    ],
)
def test_grippers(convention, values, expected):
    opened = open_gripper(np.array(values, np.float32), Gripper(convention))
    np.testing.assert_allclose(opened, np.array(expected, np.float32), atol=1e-7)


@given(arrays(np.float32, 12, elements=st.sampled_from([-1.0, 0.0, 1.0])))
def test_an_integrated_gripper_follows_every_command(values):
    opened = open_gripper(values, Gripper.relative_close)
    assert (opened[values > 0] == 0).all()
    assert (opened[values < 0] == 1).all()
    held = np.flatnonzero(values[1:] == 0) + 1
    np.testing.assert_array_equal(opened[held], opened[held - 1])


def test_a_pose_without_a_source_is_none():
    assert to_pose({}, make_source(pose=NO_POSE)) is None


def test_a_pose_of_two_columns_with_a_closed_gripper():
    source = make_source(
        pose={
            "position": "cartesian[0:3]",
            "rotation": "cartesian[3:6]",
            "gripper": "gripper",
            "gripper_format": "closed_one",
        }
    )
    columns = {"cartesian": np.arange(12.0).reshape(2, 6), "gripper": np.array([[0.0], [0.75]])}
    pose, mask = to_pose(columns, source)
    assert pose.tolist() == [[0, 1, 2, 3, 4, 5, 1], [6, 7, 8, 9, 10, 11, 0.25]]
    assert mask.all()


def test_a_pose_in_the_plane():
    source = make_source(pose={"position": "xy", "rotation": "", "gripper": ""})
    pose, mask = to_pose({"xy": np.array([[1.0, 2.0]])}, source)
    assert pose.tolist() == [[1, 2, 0, 0, 0, 0, 0]]
    assert mask.tolist() == [True, True] + [False] * 5


def test_a_pose_with_a_quaternion():
    angles = np.array([[0.1, -0.2, 3.0], [3.0, 0.5, -1.0]])
    quaternions = Rotation.from_euler("xyz", angles).as_quat() * 2
    columns = {
        "observation/base_pose_tool_reached": np.concatenate([np.ones((2, 3)), quaternions], 1),
        "observation/gripper_closed": np.array([[0.0], [1.0]]),
    }
    pose, _ = to_pose(columns, RT1_SOURCE)
    np.testing.assert_allclose(pose[:, 3:6], angles, atol=1e-6)
    assert pose[:, 6].tolist() == [1, 0]


def test_a_quaternion_of_length_zero():
    source = make_source(
        pose={"position": "p[0:3]", "rotation": "p[3:7]", "rotation_format": "quaternion_xyzw"}
    )
    columns = {"p": np.zeros((2, 7)), "observation/state": np.zeros((2, 7))}
    with pytest.raises(ValueError, match="the quaternion of step 0 has length zero"):
        to_pose(columns, source)


def test_a_6d_rotation_of_parallel_vectors():
    source = make_source(action={"rotation": "action[3:9]", "rotation_format": "rotation_6d"})
    columns = {"action": np.ones((2, 10)), "observation/state": np.zeros((2, 7))}
    with pytest.raises(ValueError, match="6-D rotation of step 0 has two parallel or zero vectors"):
        to_robot_actions(columns, source)


HALF = np.sqrt(0.5)


@pytest.mark.parametrize(
    ("changes", "row", "expected", "missing"),
    [
        # eight numbers: delta quaternion of a quarter turn about z, gripper 1 = closed
        (
            {
                "rotation": "action[3:7]",
                "rotation_format": "quaternion_xyzw",
                "gripper": "action[7]",
                "gripper_format": "closed_one",
            },
            [0.1, 0.2, 0.3, 0, 0, HALF, HALF, 1],
            [0.1, 0.2, 0.3, 0, 0, np.pi / 2, 0],
            [],
        ),
        # w first: a quarter turn about x
        (
            {
                "rotation": "action[3:7]",
                "rotation_format": "quaternion_wxyz",
                "gripper": "action[7]",
            },
            [0, 0, 0, HALF, HALF, 0, 0, 0.25],
            [0, 0, 0, np.pi / 2, 0, 0, 0.25],
            [],
        ),
        # an axis times its angle, about y
        ({"rotation_format": "axis_angle"}, [1, 2, 3, 0, 0.5, 0, 1], [1, 2, 3, 0, 0.5, 0, 1], []),
        # two columns of a matrix, of any length: a quarter turn about z
        (
            {"rotation": "action[3:9]", "rotation_format": "rotation_6d", "gripper": "action[9]"},
            [1, 2, 3, 0, 2, 0, -3, 5, 0, 1],
            [1, 2, 3, 0, 0, np.pi / 2, 1],
            [],
        ),
        # the same numbers as rows: a quarter turn back
        (
            {
                "rotation": "action[3:9]",
                "rotation_format": "rotation_6d_rows",
                "gripper": "action[9]",
            },
            [1, 2, 3, 0, 2, 0, -3, 5, 0, 1],
            [1, 2, 3, 0, 0, -np.pi / 2, 1],
            [],
        ),
        # two numbers: in the plane
        (
            {"translation": "action[0:2]", "rotation": "", "gripper": ""},
            [0.3, -0.4],
            [0.3, -0.4, 0, 0, 0, 0, 0],
            [2, 3, 4, 5, 6],
        ),
        # four: x y z gripper
        (
            {"rotation": "", "gripper": "action[3]"},
            [1, 2, 3, 0.5],
            [1, 2, 3, 0, 0, 0, 0.5],
            [3, 4, 5],
        ),
        # five: x y z yaw gripper
        (
            {"rotation": "action[3]", "rotation_format": "yaw", "gripper": "action[4]"},
            [1, 2, 3, 0.7, 1],
            [1, 2, 3, 0, 0, 0.7, 1],
            [3, 4],
        ),
        # the last eight of fifteen, before a terminate flag
        (
            {"translation": "action[-8:-5]", "rotation": "action[-5:-2]", "gripper": "action[-2]"},
            [9, 9, 9, 9, 9, 9, 9, 1, 2, 3, 0.4, 0.5, 0.6, 1, 9],
            [1, 2, 3, 0.4, 0.5, 0.6, 1],
            [],
        ),
        # velocities at 4 Hz
        (
            {"motion": "velocity"},
            [4, 8, -4, 0.4, 0, -0.8, 1],
            [1, 2, -1, 0.1, 0, -0.2, 1],
            [],
        ),
        # units of the controller
        (
            {"translation_scale": 0.075, "rotation_scale": 0.15},
            [1, -1, 0, 1, 0, -1, 0],
            [0.075, -0.075, 0, 0.15, 0, -0.15, 0],
            [],
        ),
    ],
)
def test_layouts_by_hand(changes, row, expected, missing):
    source = make_source(action=changes, control_hz=4.0)
    rows = np.array([row, row, np.full(len(row), 77)], np.float64)
    actions, mask = to_robot_actions({"action": rows}, source)
    np.testing.assert_allclose(actions, [expected, expected, np.zeros(7)], atol=1e-6)
    assert np.flatnonzero(~mask).tolist() == missing


def test_achieved_deltas_known_answer():
    """About z, roll is wrapped; the second turn is of a tool that yaw has turned by a quarter."""
    quarter = np.pi / 2
    pose = np.array(
        [
            [0.0, 0.0, 0.0, 3.1, 0.0, 0.0, 1.0],
            [0.1, 0.0, -0.2, -3.1, 0.0, 0.0, 0.5],
            [0.1, 0.3, -0.2, -3.1, 0.0, quarter, 0.0],
            [0.1, 0.3, -0.2, -3.0, 0.0, quarter, 0.0],
        ]
    )
    expected = [
        [0.1, 0, -0.2, 2 * np.pi - 6.2, 0, 0, 0.5],
        [0, 0.3, 0, 0, 0, quarter, 0.0],
        [0, 0, 0, 0, 0.1, 0, 0.0],
    ]
    np.testing.assert_allclose(achieved_deltas(pose), expected, atol=1e-12)


def stored_rotations(turns: Rotation, rotation_format: RotationFormat) -> np.ndarray:
    """Rotations as a dataset stores them; a quaternion may have either sign."""
    quaternions = turns.as_quat() * np.resize([1, -1], (len(turns), 1))
    match rotation_format:
        case RotationFormat.rpy:
            return matrix_to_rpy(turns.as_matrix())
        case RotationFormat.axis_angle:
            return turns.as_rotvec()
        case RotationFormat.quaternion_xyzw:
            return quaternions
        case RotationFormat.rotation_6d:  # two columns of the matrix
            return turns.as_matrix()[:, :, :2].transpose(0, 2, 1).reshape(-1, 6)
        case RotationFormat.rotation_6d_rows:
            return turns.as_matrix()[:, :2].reshape(-1, 6)
        case _:
            return quaternions[:, [3, 0, 1, 2]]


FORMATS = [member for member in RotationFormat if member is not RotationFormat.yaw]


@pytest.mark.parametrize("pitch", [np.pi / 2, -np.pi / 2, 0.0])
@pytest.mark.parametrize("rotation_format", FORMATS)
@pytest.mark.parametrize("half_turn", [None, 0, 1, 2])
def test_achieved_deltas_at_the_poles_in_every_format(pitch, rotation_format, half_turn):
    """0.01 rad of noise at a pole is 0.01 rad of motion, and half turns are half turns."""
    rng = np.random.default_rng(0)
    noise = Rotation.from_rotvec(rng.normal(size=(40, 3)) * 0.01)
    turns = noise * Rotation.from_euler("xyz", [0.4, pitch, -0.2])
    if half_turn is not None:
        turned = Rotation.from_rotvec(np.pi * (np.arange(40) % 2)[:, None] * np.eye(3)[half_turn])
        turns = turned * turns
    rotation = stored_rotations(turns, rotation_format)
    size = rotation.shape[1]
    source = make_source(
        pose={"rotation": f"p[0:{size}]", "rotation_format": rotation_format, "gripper": ""}
    )
    columns = {"p": rotation, "observation/state": np.zeros((40, 7))}
    pose, _ = to_pose(columns, source)
    found = Rotation.from_euler("xyz", achieved_deltas(pose)[:, 3:6])
    expected = turns[1:] * turns[:-1].inv()
    assert (found * expected.inv()).magnitude().max() < 1e-5
    if half_turn is None:
        assert achieved_deltas(pose)[:, 3:6].std(axis=0).max() < 0.02


def test_composed_actions_known_answer():
    actions = np.zeros((5, 7), np.float32)
    actions[:, 0] = [1, 2, 3, 4, 5]
    actions[:, 5] = [0.1, 0.2, 0.3, 0.4, 0.5]
    actions[:, 6] = [0, 1, 1, 0, 1]
    composed = compose_actions(actions, 2)
    np.testing.assert_allclose(composed[:, [0, 5, 6]], [[3, 0.3, 1], [7, 0.7, 0]], atol=1e-6)
    assert compose_actions(actions, 1) is actions
    assert compose_actions(actions, 6).shape == (0, 7)


def test_rotations_compose_from_the_left():
    quarter = np.pi / 2
    actions = np.zeros((2, 7))
    actions[0, 3] = quarter  # about x, then about the fixed z
    actions[1, 5] = quarter
    (composed,) = compose_actions(actions, 2)
    expected = Rotation.from_euler("z", quarter) * Rotation.from_euler("x", quarter)
    np.testing.assert_allclose(
        Rotation.from_euler("xyz", composed[3:6]).as_matrix(), expected.as_matrix(), atol=1e-12
    )


@given(small_angles, st.integers(2, 5))
def test_composed_rotations_agree_with_scipy(angles, stride):
    actions = np.zeros((5, 7))
    actions[:, 3:6] = angles / 5
    composed = compose_actions(actions, stride)
    for row, start in zip(composed, range(0, 5, stride), strict=False):
        total = Rotation.identity()
        for step in range(start, start + stride):
            total = Rotation.from_euler("xyz", actions[step, 3:6]) * total
        expected = total.as_matrix()
        np.testing.assert_allclose(rpy_to_matrix(row[3:6]), expected, atol=1e-9)


@given(arrays(np.float64, (7, 7), elements=st.floats(-3, 3)), st.integers(1, 6))
def test_composed_achieved_deltas_are_the_longer_delta(pose, stride):
    composed = compose_actions(achieved_deltas(pose), stride)
    direct = achieved_deltas(pose[::stride])
    np.testing.assert_allclose(composed[:, :3], direct[:, :3], atol=1e-9)
    matrices = [rpy_to_matrix(rows[:, 3:6]) for rows in (composed, direct)]
    np.testing.assert_allclose(*matrices, atol=1e-6)
    np.testing.assert_array_equal(composed[:, 6], direct[:, 6])


@given(small_angles)
def test_every_format_gives_the_same_angles(angles):
    turns = Rotation.from_euler("xyz", angles)
    for rotation_format in FORMATS:
        stored = stored_rotations(turns, rotation_format)
        np.testing.assert_allclose(to_rpy(stored, rotation_format), angles, atol=1e-6)
