"""Columns that no source names: whatever they are, they stop nothing, and one note lists them."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from inspect_files import (
    SOURCE,
    composed,
    look,
    make_arrays,
    make_dataset,
    make_episode,
    make_features,
    problems_of,
)
from json_edits import FEATURES, change_columns, change_json, tensor
from rlds_files import F, encode_image, grey, make_source

from genie_robo import cli
from genie_robo.data.rlds import RldsDataset
from genie_robo.inspection.facts import record_first

ODD = (
    "action[abs]",
    "action[0]",
    "action[0:3]",
    "a.b c",
    "x/y",
    "ünï",
    "it's",
    '"q"',
    "${oc.env:HOME}",
)


def with_columns(tmp_path, columns, *, features=None, **more):
    """Four episodes with more columns, given as functions of the step."""
    return make_dataset(
        tmp_path,
        [make_episode(seed, **columns) for seed in range(4)],
        features=make_features(**more) if features is None else features,
    )


def cloud(*shape, encoding="zlib"):
    return F.Tensor(shape=shape, dtype=np.float32, encoding=encoding)


@pytest.fixture
def crowded(tmp_path):
    """A dataset with every kind of column that genie_robo does not read."""
    folder = with_columns(
        tmp_path,
        {
            "cloud": lambda t: np.zeros((t + 1, 3), np.float32),
            "raw_cloud": lambda t: np.zeros((t + 1, t, 2), np.float32),
            "empty": lambda _: {},
            "embedding": lambda _: np.full(9, np.nan, np.float32),
            "photo": lambda _: encode_image(grey(7)),
        },
        cloud=cloud(None, 3),
        raw_cloud=cloud(None, None, 2, encoding="bytes"),
        empty=F.FeaturesDict({}),
        embedding=F.Tensor(shape=(9,), dtype=np.float32),
        photo=F.Image(shape=(8, 8, 1), encoding_format="png"),
    )
    audio = {"pythonClassName": f"{FEATURES}audio_feature.Audio", "audio": {"dtype": "int64"}}
    lab = {"pythonClassName": "my_lab.features.Force", "jsonFeature": {"json": "{}"}}
    change_columns(folder, lambda columns: columns.update(audio=audio, lab=lab, absent=tensor(4)))
    picture = {"pythonClassName": f"{FEATURES}image_feature.Image", "image": {"shape": "?"}}
    change_json(
        folder / "features.json",
        lambda top: top["featuresDict"]["features"].update(episode_metadata=picture),
    )
    return folder


def test_one_note_names_them(crowded):
    for source in (None, SOURCE):
        facts = look(crowded, source)
        assert facts["problems"] == []
        (note,) = [note["text"] for note in facts["notes"] if note["kind"] == "not_read"]
        assert note.startswith("not read, so not checked: ")
        for key in ("cloud (its shape varies", "raw_cloud (its shape", "audio (", "lab (", "photo"):
            assert key in note
        assert "my_lab.features.Force" in note
        assert "embedding" in note
        assert "empty" not in facts["columns"]
        assert facts["num_seen"] == 4
        assert len(facts["actions"]) == 7


def test_the_episodes_are_those_of_the_plain_dataset(crowded):
    dataset = RldsDataset(crowded, SOURCE, bad_episode_limit=0.0)
    assert dataset.lengths.tolist() == [20] * 4
    commanded = make_arrays(1)["action"]
    np.testing.assert_array_equal(dataset[1].robot_actions[:-1], commanded[:-1])


@pytest.mark.parametrize("name", ["cloud", "lab", "audio", "absent"])
def test_only_a_key_in_use_refuses_and_says_why(crowded, name):
    source = make_source(
        camera="observation/front", action={"translation": name, "rotation": "", "gripper": ""}
    )
    reason = {
        "cloud": "wants cloud, which is .* its shape varies from step to step",
        "lab": r"does not read the class my_lab\.features\.Force",
        "audio": "does not read the class .*audio_feature.Audio",
        "absent": r"must be 2 or 3 numbers|absent is missing",
    }[name]
    with pytest.raises(ValueError, match=reason):
        RldsDataset(crowded, source)


def test_a_missing_column_in_use_is_named(crowded):
    parts = {"translation": "absent[0:3]", "rotation": "", "gripper": ""}
    with pytest.raises(
        ValueError, match=r"4 of 4 episodes .*\(absent is missing\); no episode fits"
    ):
        RldsDataset(crowded, make_source(camera="observation/front", action=parts))


def test_what_lies_inside_a_column_of_a_lab_says_so(crowded):
    lab = {"pythonClassName": "my_lab.Obs", "featuresDict": {"features": {"state": tensor(7)}}}
    change_columns(crowded, lambda columns: columns.update(arm=lab))
    source = make_source(camera="observation/front", pose={"position": "arm/state[0:3]"})
    with pytest.raises(KeyError, match=r"wants arm/state.*\(arm is not read: .*my_lab\.Obs\)"):
        RldsDataset(crowded, source)


def test_the_command_and_the_importer(run_cli, crowded, tmp_path):
    outcome = run_cli("inspect", f"path={crowded}", f"output={tmp_path / 'report'}")
    assert outcome.status == cli.OK, outcome.err
    assert outcome.out.count("not read, so not checked") == 1
    assert (tmp_path / "report" / "episodes.rrd").stat().st_size
    assert record_first(crowded, tmp_path / "a.rrd", num_episodes=2) == 2


def test_columns_of_any_name_stop_nothing(tmp_path):
    more = {key: F.Tensor(shape=(7,), dtype=np.float32) for key in ODD}
    values = {key: lambda _: np.zeros(7, np.float32) for key in ODD}
    facts = look(with_columns(tmp_path, values, **more))
    assert facts["problems"] == []
    assert set(ODD) <= set(facts["columns"])
    assert len(facts["actions"]) == 7


@pytest.mark.parametrize("key", ["action[abs]", "action[0]", "action.b c/x"])
def test_an_action_of_any_name_is_proposed(tmp_path, key):
    """And the proposed words, pasted, read the same."""
    episodes = [make_episode(seed) for seed in range(4)]
    for episode in episodes:
        for step in episode["steps"]:
            step[key] = step.pop("action")
    features = make_features(action=None, **{key: F.Tensor(shape=(7,), dtype=np.float32)})
    folder = make_dataset(tmp_path, episodes, features=features)
    source = composed(look(folder)["words"])
    assert source.action.translation == f"{key}[0:3]"
    found = RldsDataset(folder, source)[2].robot_actions
    np.testing.assert_array_equal(found[:-1, :3], make_arrays(2)["action"][:-1, :3])


CAMERAS = ("image[abs]", "image[0]", "a.b c", "..", "x/../../y", "/abs", "ü'\"")


def test_cameras_and_texts_of_any_name(run_cli, tmp_path):
    episodes = [make_episode(seed) for seed in range(3)]
    text = "language [0]/../it's"
    for episode in episodes:
        for step in episode["steps"]:
            step |= {key: encode_image(grey(90)) for key in CAMERAS}
            step[text] = step.pop("language_instruction")
    more = {key: F.Image(shape=(8, 8, 3), encoding_format="png") for key in CAMERAS}
    features = make_features(language_instruction=None, **more, **{text: F.Text()})
    folder = make_dataset(tmp_path / "set", episodes, features=features)
    before = set(tmp_path.rglob("*"))
    report = tmp_path / "report"
    outcome = run_cli("inspect", f"path={folder}", f"output={report}", "num_episodes=1")
    assert outcome.status == cli.OK, outcome.err
    names = {"report", "inspect.json", "contact_sheet.png", "actions.png", "episodes.rrd"}
    assert {file.name for file in set(tmp_path.rglob("*")) - before} == names
    source = composed(json.loads((report / "inspect.json").read_text())["words"])
    assert source.instruction == (text,)
    assert RldsDataset(folder, source)[1].instruction == "task 1"
    for key in CAMERAS:
        primary = replace(source, camera=key)
        assert len(RldsDataset(folder, primary)[0].images["primary"]) == 20


def test_an_unused_column_with_other_lengths(tmp_path):
    """Its values do not fit features.json: a fault of that column alone."""
    folder = with_columns(
        tmp_path,
        {"extra": lambda _: np.zeros(3, np.float32)},
        extra=F.Tensor(shape=(3,), dtype=np.float32),
    )
    shape = {"dimensions": ["7"]}
    change_columns(folder, lambda columns: columns["extra"]["tensor"].update(shape=shape))
    facts = look(folder)
    assert facts["problems"] == []
    assert "extra" in problems_of(facts)["not_read"]
    change_columns(folder, lambda columns: columns["extra"]["tensor"].update(shape={}))
    assert look(folder)["num_seen"] == 4


def test_a_missing_package_is_what_the_message_is_about(run_cli, tmp_path, monkeypatch):
    """Not the dataset, which is whole."""
    folder = make_dataset(tmp_path, [make_episode(0)])
    monkeypatch.setitem(sys.modules, "tensorflow_datasets.proto", None)
    outcome = run_cli("inspect", f"path={folder}")
    assert outcome.status == cli.FAILED
    assert "the package tensorflow_datasets is missing or broken: install it" in outcome.err
    assert "download" not in outcome.err
