"""features.json, in both layouts and with columns that are not understood."""

import sys
from typing import Any

import pytest
from google.protobuf import json_format
from json_edits import FEATURES, tensor
from rlds_files import table_features

from genie_robo.data.features import Feature, step_features


def described(**columns: Any) -> dict[str, Any]:
    """The content of features.json with these columns in a step."""
    inside = {"featuresDict": {"features": columns}}
    rows = {"pythonClassName": f"{FEATURES}features_dict.FeaturesDict"} | inside
    steps = {"pythonClassName": f"{FEATURES}dataset_feature.Dataset", "sequence": {"feature": rows}}
    top = {"featuresDict": {"features": {"steps": steps}}}
    return {"pythonClassName": f"{FEATURES}features_dict.FeaturesDict"} | top


def only(column) -> Feature:
    return step_features(described(x=column))["x"]


def test_the_layout_of_today_and_the_one_before_say_the_same():
    today = step_features(json_format.MessageToDict(table_features().to_proto()))
    assert str(today["observation/matrix"]) == "float64[2,2]"
    assert today["observation/matrix"].encoding == "zlib"
    before = table_features().to_json()  # type, content and proto_cls at the top
    assert step_features(before) == today


def test_the_oldest_layout():
    """`type` and `content` at every level, as tensorflow_datasets 4.0 wrote it."""
    columns = {
        "action": {
            "type": f"{FEATURES}feature.Tensor",
            "content": {"shape": [7], "dtype": "float32", "encoding": "none"},
        },
        "image": {
            "type": f"{FEATURES}image_feature.Image",
            "content": {"shape": [None, None, 3], "dtype": "uint8", "encoding_format": "jpeg"},
        },
        "text": {"type": f"{FEATURES}text_feature.Text", "content": {"use_encoder": False}},
    }
    rows = {"type": f"{FEATURES}features_dict.FeaturesDict", "content": columns}
    steps = {
        "type": f"{FEATURES}dataset_feature.Dataset",
        "content": {"feature": rows, "length": None},
    }
    top = {"type": f"{FEATURES}features_dict.FeaturesDict", "content": {"steps": steps}}
    assert {key: str(feature) for key, feature in step_features(top).items()} == {
        "action": "float32[7]",
        "image": "uint8[?,?,3] jpeg image",
        "text": "text",
    }


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (tensor(-1, 3, encoding="zlib"), "its shape varies from step to step"),
        (tensor(0), "its steps hold no numbers"),
        (tensor(3, encoding="zstd"), "its encoding zstd is unknown"),
        (tensor(3, dtype="float8"), "its number type float8 is unknown"),
        (tensor("x"), "its shape is not a list of numbers"),
        (tensor(1e999), "its shape is not a list of numbers"),
        (tensor(2**40, 2**40), "more than 268435456"),
        (tensor(2**70, dtype="string"), "more than 268435456"),
        ({"pythonClassName": "my_lab.Cloud", "cloud": {}}, "does not read the class my_lab.Cloud"),
        ({"pythonClassName": "my_lab.Text", "text": {}}, "does not read the class my_lab.Text"),
        ({"pythonClassName": f"{FEATURES}audio_feature.Audio", "audio": {}}, "audio_feature.Audio"),
        ({"pythonClassName": 3}, "does not read the class 3"),
        ({}, "it names no class"),
        (None, "it names no class"),
        ([1], "it names no class"),
    ],
)
def test_a_column_that_is_not_understood_says_why(column, why):
    assert why in only(column).why_unreadable
    assert str(step_features(described(x=column, y=tensor(7)))["y"]) == "float32[7]"


def test_a_class_with_control_characters_is_shown_in_one_line():
    feature = only({"pythonClassName": "a.\x1b[2J\n" + "b" * 1000})
    assert feature.why_unreadable.isprintable()
    assert len(feature.why_unreadable) < 200


def test_an_empty_dictionary_is_no_column():
    nothing = {"pythonClassName": f"{FEATURES}features_dict.FeaturesDict", "featuresDict": {}}
    assert set(step_features(described(empty=nothing, action=tensor(7)))) == {"action"}


def test_a_lab_dictionary_is_one_column():
    inside = {"featuresDict": {"features": {"state": tensor(7)}}}
    found = step_features(described(observation={"pythonClassName": "my_lab.Obs"} | inside))
    assert set(found) == {"observation"}
    assert found["observation"].kind == "other"


def test_other_metadata_is_not_looked_at():
    content = described(action=tensor(7))
    content["featuresDict"]["features"]["episode_metadata"] = {"pythonClassName": 3, "image": "?"}
    assert set(step_features(content)) == {"action"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "it describes a feature without a class, not a FeaturesDict"),
        ({"pythonClassName": "payload.Top"}, "it describes payload.Top"),
        (described()["featuresDict"]["features"]["steps"], "not a FeaturesDict"),
    ],
)
def test_what_is_no_dataset(content, reason):
    with pytest.raises(ValueError, match=reason):
        step_features(content)


def test_steps_of_a_class_of_a_lab():
    content = described()
    content["featuresDict"]["features"]["steps"]["pythonClassName"] = "my_lab.Steps"
    with pytest.raises(ValueError, match=r"its `steps` are my_lab.Steps, not a Dataset"):
        step_features(content)


def test_too_deep_a_tree():
    node = tensor(7)
    for _ in range(sys.getrecursionlimit()):
        node = {
            "pythonClassName": f"{FEATURES}features_dict.FeaturesDict",
            "featuresDict": {"features": {"x": node}},
        }
    with pytest.raises(ValueError, match="nested too deeply"):
        step_features(described(x=node))
