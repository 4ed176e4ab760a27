import numpy as np
import pytest
from rlds_files import RT1_SOURCE, make_source

from genie_robo.data.schema import open_schema
from genie_robo.data.sources import Feature, Source, check_source


def tensor(*shape: int | None, dtype: str = "float32") -> Feature:
    return Feature(kind="tensor", dtype=dtype, shape=shape)


def image(dtype: str = "uint8", channels: int = 3) -> Feature:
    return Feature(kind="image", dtype=dtype, shape=(64, 64, channels), encoding="jpeg")


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


def test_a_source_that_fits():
    check_source(make_source(), FEATURES)
    check_source(make_source(pose=(), instruction="", sim_state="observation/state"), FEATURES)


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
    message = refusal(KeyError, action="actions")
    assert message.startswith("data.source.action wants actions, which this dataset does not")
    for key, feature in FEATURES.items():
        assert f"{key} ({feature})" in message


def test_a_family_that_does_not_fit():
    assert "wants action/world_vector (action_family=rt1 reads it)" in refusal(
        KeyError, action_family="rt1"
    )
    assert "action_family=flat7 needs 7 numbers in observation/joints, but it is float32[6]" in (
        refusal(ValueError, action="observation/joints")
    )
    assert "needs 7 numbers in language_instruction, but it is text" in refusal(
        ValueError, action="language_instruction"
    )


def test_unknown_choices():
    assert "data.source.action_family=joints is unknown; use flat7 or rt1" in refusal(
        ValueError, action_family="joints"
    )
    assert "data.source.gripper=half is unknown; use open_one or closed_one or rel" in refusal(
        ValueError, gripper="half"
    )


def test_pose_instruction_and_state():
    assert "data.source.pose must join 7 numbers" in refusal(
        ValueError, pose=("observation/joints",)
    )
    assert "it joins language_instruction (text)" in refusal(
        ValueError, pose=("language_instruction",)
    )
    assert "data.source.pose wants observation/pose, which" in refusal(
        KeyError, pose=("observation/pose",)
    )
    assert "data.source.instruction wants text, which" in refusal(KeyError, instruction="text")
    assert "data.source.instruction=action must be a text column, but it is float32[7]" in refusal(
        ValueError, instruction="action"
    )
    assert "data.source.sim_state=language_instruction must be a tensor column" in refusal(
        ValueError, sim_state="language_instruction"
    )


def test_a_pose_of_varying_size():
    features = FEATURES | {"observation/open": tensor(None)}
    assert str(tensor(None, 2)) == "float32[?,2]"
    with pytest.raises(ValueError, match=r"but it joins observation/open \(float32\[\?\]\)"):
        check_source(make_source(pose=("observation/open",)), features)


def test_keys_that_are_read():
    assert Source(**RT1_SOURCE).keys == (
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
