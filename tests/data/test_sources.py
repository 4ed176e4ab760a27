import numpy as np
import pytest
from rlds_files import NO_POSE, RT1_SOURCE, make_source

from genie_robo.data.schema import open_schema
from genie_robo.data.sources import Feature, Part, check_source, source_keys


def tensor(*shape: int | None, dtype: str = "float32") -> Feature:
    return Feature(kind="tensor", dtype=dtype, shape=shape)


def image(dtype: str = "uint8", channels: int = 3) -> Feature:
    return Feature(kind="image", dtype=dtype, shape=(64, 64, channels), encoding="jpeg")


YAW = {"rotation": "observation/state[5]", "rotation_format": "yaw"}
TEXT = Feature(kind="text", dtype="string", shape=())
FEATURES = {
    "observation/image": image(),
    "observation/wrist": image(),
    "observation/depth": image("float32", 1),
    "observation/state": tensor(7),
    "observation/joints": tensor(6),
    "action": tensor(7),
    "language_instruction": TEXT,
}


def refusal(error: type[Exception], **changes) -> str:
    with pytest.raises(error) as caught:
        check_source(make_source(**changes), FEATURES)
    return str(caught.value.args[0])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pose": NO_POSE, "instruction": ()},
        {"sim_state": "observation/state", "cameras": {"w": "observation/wrist"}},
    ],
)
def test_a_source_fits_as_long_as_every_key_is_there(changes):
    source = make_source(**changes)
    check_source(source, FEATURES)
    assert set(source_keys(source)) <= set(FEATURES)
    for key in source_keys(source):
        others = {name: feature for name, feature in FEATURES.items() if name != key}
        with pytest.raises(KeyError, match=f"wants {key}, which this dataset does not have"):
            check_source(source, others)


def test_an_unknown_camera_lists_the_cameras():
    message = refusal(KeyError, camera="observation/front")
    assert message == (
        "data.source.camera wants observation/front, which this dataset does not have. It has: "
        "observation/image (uint8[64,64,3] jpeg image), "
        "observation/wrist (uint8[64,64,3] jpeg image)"
    )


@pytest.mark.parametrize("key", ["observation/depth", "observation/state"])
def test_what_is_no_camera(key):
    message = refusal(ValueError, camera=key)
    assert f"data.source.camera={key} is {FEATURES[key]}, not an encoded 8-bit colour" in message


def test_an_unknown_action_lists_everything():
    message = refusal(KeyError, action={"translation": "actions[0:3]"})
    assert message.startswith("data.source.action.translation wants actions, which this dataset")
    for key, feature in FEATURES.items():
        assert f"{key} ({feature})" in message


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            {"rotation": "observation/joints[4:7]"},
            "action.rotation=observation/joints[4:7] must be 3 numbers, but observation/joints is "
            "float32[6], so it is 0",
        ),
        ({"translation": "action"}, "must be 2 or 3 numbers, but action is float32[7], so it is 7"),
        ({"gripper": "action[7]"}, "must be 1 numbers, but action is float32[7], so it is 0"),
        ({"gripper": "language_instruction"}, "but language_instruction is text"),
        ({"rotation_format": "quaternion_xyzw"}, "must be 4 numbers, but action is float32[7]"),
        ({"translation": "action[a:b]"}, "is not a part of a column; write KEY, KEY[6] or KEY[0"),
        ({"translation": "", "rotation": "", "gripper": ""}, "names no part of an action"),
    ],
)
def test_actions_that_do_not_fit(action, message):
    assert message in refusal(ValueError, action=action)


@pytest.mark.parametrize("motion", ["target", "pose_change"])
def test_motions_that_need_a_pose(motion):
    message = refusal(ValueError, action={"motion": motion}, pose=NO_POSE)
    assert f"motion={motion} needs the measured pose" in message


@pytest.mark.parametrize("pose", [NO_POSE, {"rotation": ""}, YAW])
def test_differences_of_angles_need_the_pose_they_start_from(pose):
    message = refusal(ValueError, action={"motion": "achieved"}, pose=pose)
    assert "name its rotation with data.source.pose.rotation" in message
    assert "data.source.action.rotation=''" in message
    check_source(make_source(action={"motion": "achieved", "rotation": ""}, pose=pose), FEATURES)


@pytest.mark.parametrize("changes", [{"motion": "velocity"}, {"rotation_scale": 0.5}])
def test_a_quaternion_is_not_scaled(changes):
    action = {"rotation": "action[3:7]", "rotation_format": "quaternion_xyzw", "gripper": ""}
    message = refusal(ValueError, action=action | changes)
    assert "rotation_format=quaternion_xyzw is a whole turn" in message


def test_a_velocity_needs_a_rate():
    assert "needs data.source.control_hz" in refusal(
        ValueError, action={"motion": "velocity"}, control_hz=0.0
    )


def test_a_dataset_without_an_end_effector_action_is_refused_with_the_reason():
    message = refusal(ValueError, unmapped="its actions are joint angles")
    assert "cannot be mapped to a 7-D end-effector action: its actions are joint angles" in message
    assert "data.source.unmapped=''" in message


def test_swapped_colours_belong_to_a_camera():
    check_source(make_source(bgr=("observation/image",)), FEATURES)
    assert "data.source.bgr names observation/wrist, which is none" in refusal(
        ValueError, bgr=("observation/wrist",)
    )


def test_more_cameras_are_checked():
    message = refusal(KeyError, cameras={"wrist": "observation/hand"})
    assert message.startswith("data.source.cameras.wrist wants observation/hand, which this")


@pytest.mark.parametrize(
    ("text", "count", "values"),
    [
        ("k", 7, [0, 1, 2, 3, 4, 5, 6]),
        ("k[2]", 1, [2]),
        ("k[-1]", 1, [6]),
        ("k[-3]", 1, [4]),
        ("k[1:3]", 2, [1, 2]),
        ("k[-3:-1]", 2, [4, 5]),
        ("k[:2]", 2, [0, 1]),
        ("k[5:]", 2, [5, 6]),
    ],
)
def test_parts_of_a_column(text, count, values):
    part = Part.parse(text, setting="x")
    assert part.count(7) == count
    assert part.take({"k": np.arange(7)[None]}).tolist() == [values]
    assert Part.parse(str(part), setting="x") == part


@pytest.mark.parametrize("text", ["k[7]", "k[5:8]", "k[-8]", "k[7:]"])
def test_parts_outside_of_a_column(text):
    assert Part.parse(text, setting="x").count(7) == 0


def test_pose_instruction_and_state():
    assert "pose.position=observation/joints must be 2 or 3 numbers" in refusal(
        ValueError, pose={"position": "observation/joints"}
    )
    assert "data.source.pose.rotation wants observation/pose, which" in refusal(
        KeyError, pose={"rotation": "observation/pose"}
    )
    assert "pose.gripper_format=relative_close describes commands, not a measured" in refusal(
        ValueError, pose={"gripper_format": "relative_close"}
    )
    assert "data.source.instruction wants text, which" in refusal(KeyError, instruction=("text",))
    assert "names action, which must be text or code points, but it is float32[7]" in refusal(
        ValueError, instruction=("action",)
    )
    assert "data.source.sim_state=language_instruction must be a tensor column" in refusal(
        ValueError, sim_state="language_instruction"
    )


def test_a_part_of_varying_size():
    features = FEATURES | {"observation/open": tensor(None)}
    assert str(tensor(None, 2)) == "float32[?,2]"
    with pytest.raises(ValueError, match=r"but observation/open is float32\[\?\]$"):
        check_source(make_source(pose={"position": "observation/open"}), features)


def test_keys_that_are_read():
    assert source_keys(RT1_SOURCE) == (
        "observation/image",
        "action/world_vector",
        "action/rotation_delta",
        "action/gripper_closedness_action",
        "observation/base_pose_tool_reached",
        "observation/gripper_closed",
        "observation/natural_language_instruction",
    )


def test_against_a_written_dataset(table):
    features = open_schema(table).features
    check_source(make_source(), features)
    assert features["observation/state"].size == 7
    assert np.dtype(features["action"].dtype) == np.float32
