"""Written datasets with one problem planted in each, and what `genie-robo inspect` says of it."""

from dataclasses import replace

import numpy as np
import pytest
from inspect_files import (
    SOURCE,
    changed,
    composed,
    look,
    make_arrays,
    make_dataset,
    make_episode,
    make_features,
    problems_of,
    put,
)
from rlds_files import NO_POSE, F, encode_image, make_source


@pytest.mark.parametrize(
    ("kind", "message", "plant"),
    [
        (
            "idle",
            "1 of 4 episodes never get farther than 5 mm and 0.05 rad",
            lambda: make_episode(9, arrays={"action": np.zeros((9, 7)), "state": np.ones((9, 7))}),
        ),
        (
            "equal_actions",
            "1 of 4 episodes have exactly the actions of another one",
            lambda: make_episode(1, front=(1, 2, 3)),
        ),
        (
            "blank_camera",
            "observation/wrist is black in 1 of 4 episodes",
            lambda: make_episode(9, wrist=(0, 0, 0)),
        ),
        (
            "outlier",
            "dy goes from",
            lambda: changed(9, lambda a: put(a, (5, 1), 30), num_steps=200),
        ),
        (
            "gripper_range",
            "of the stored gripper commands lie outside [0, 1]: from 0 to 3",
            lambda: changed(9, lambda a: a * ([1] * 6 + [3])),
        ),
        (
            "terminal",
            "is_last is not true at the last step of 1 of 4 episodes",
            lambda: make_episode(9, is_last=lambda _: False, is_terminal=lambda _: False),
        ),
        (
            "terminal",
            "is_last or is_terminal is true before the last step 1 times",
            lambda: make_episode(9, is_last=lambda t: t in (4, 19)),
        ),
    ],
)
def test_a_problem_in_one_episode_is_found(tmp_path, kind, message, plant):
    facts = look(make_dataset(tmp_path, [*map(make_episode, range(3)), plant()]), SOURCE)
    assert message in problems_of(facts)[kind]
    assert message in facts["out"]


@pytest.mark.parametrize(
    ("kind", "message", "change"),
    [
        ("constant", "dpitch is always 0 rad", lambda a: put(a, np.s_[:, 4], 0)),
        ("gripper_constant", "the gripper is always 1", lambda a: put(a, np.s_[:, 6], 1)),
        ("action_scale", "are 50 times the achieved ones", lambda a: a * ([50] * 3 + [1] * 4)),
        ("action_scale", "are 0.1 times the achieved", lambda a: a * ([0.1] * 3 + [1] * 4)),
        ("action_lag", "1.00 with the next step's motion", lambda a: np.roll(a, -1, axis=0)),
        ("action_lag", "1.00 with the previous step's motion", lambda a: np.roll(a, 1, axis=0)),
        (
            "first_action_zero",
            "the first action is all zero in 4 of 4 episodes",
            lambda a: put(a, 0, 0),
        ),
    ],
)
def test_a_problem_of_the_actions_is_found(tmp_path, kind, message, change):
    episodes = [changed(seed, change) for seed in range(4)]
    facts = look(make_dataset(tmp_path, episodes), SOURCE)
    assert message in problems_of(facts)[kind]


@pytest.mark.parametrize("factor", [50, 0.01])
def test_the_scale_that_was_found_is_proposed(tmp_path, factor):
    """The words of the report read the data in metres and radians, whatever was given before."""
    factors = [factor] * 3 + [factor / 2] * 3 + [1]
    episodes = [changed(seed, lambda a: a * factors) for seed in range(4)]
    folder = make_dataset(tmp_path, episodes)
    facts = look(folder, SOURCE)
    texts = [f["text"] for f in facts["problems"] if f["kind"] == "action_scale"]
    assert f"data.source.action.translation_scale={1 / factor:g} makes them equal" in texts[0]
    assert f"data.source.action.rotation_scale={2 / factor:g} makes them equal" in texts[1]
    words = facts["words"].split()
    assert f"data.source.action.translation_scale={1 / factor:g}" in words
    assert f"data.source.action.rotation_scale={2 / factor:g}" in words
    action = replace(SOURCE.action, translation_scale=1 / factor, rotation_scale=2 / factor)
    again = look(folder, replace(SOURCE, action=action))
    assert "action_scale" not in problems_of(again)
    assert composed(again["words"]).action == action


def test_a_scale_corrects_the_one_that_is_given(tmp_path):
    folder = make_dataset(tmp_path, map(make_episode, range(4)))
    action = replace(SOURCE.action, translation_scale=0.02)
    facts = look(folder, replace(SOURCE, action=action))
    assert facts["words"].endswith("data.source.action.translation_scale=1")


def test_a_named_dataset_gets_its_scale_as_words(tmp_path):
    """Its file in conf/data/ is found by name; the scale found in the data is added to it."""
    features = make_features()
    observation = dict(features["steps"].feature["observation"])
    observation["image"] = observation.pop("front")
    steps = {**features["steps"].feature, "observation": observation}
    episodes = [changed(seed, lambda a: a * ([50] * 3 + [1] * 4)) for seed in range(4)]
    for episode in episodes:
        for step in episode["steps"]:
            step["observation"]["image"] = step["observation"].pop("front")
    features = F.FeaturesDict({"steps": F.Dataset(steps)})
    name = "nyu_rot_dataset_converted_externally_to_rlds"
    facts = look(make_dataset(tmp_path, episodes, name=name, features=features))
    assert facts["words"] == f"data={name} data.source.action.translation_scale=0.02"
    assert facts["words"] in facts["out"].replace("\n", " ")


def test_commands_that_do_not_follow_the_motion_get_no_scale(tmp_path):
    random = np.random.default_rng(0)
    episodes = [changed(seed, lambda a: random.normal(size=a.shape)) for seed in range(4)]
    facts = look(make_dataset(tmp_path, episodes), SOURCE)
    assert "they do not follow it: are other columns meant?" in problems_of(facts)["action_scale"]
    assert "translation_scale" not in facts["words"]


@pytest.mark.parametrize(
    ("pose", "num_steps", "reason"),
    [
        (NO_POSE, 20, "no measured pose is read"),
        ({}, 4, "the episodes have too few steps"),
    ],
)
def test_a_check_that_cannot_be_made_is_a_note(tmp_path, pose, num_steps, reason):
    arrays = [make_arrays(seed, num_steps=num_steps) for seed in range(4)]
    episodes = [make_episode(seed, arrays=a) for seed, a in enumerate(arrays)]
    source = make_source(camera="observation/front", pose=pose)
    facts = look(make_dataset(tmp_path, episodes), source)
    assert facts["motion"] is None
    (note,) = [n["text"] for n in facts["notes"] if n["kind"] == "motion_unchecked"]
    assert "unit and step of the commands could not be checked" in note
    assert reason in note
    assert "could not be checked" in facts["out"]


def test_an_unknown_unit_is_shown_as_unknown(tmp_path):
    folder = make_dataset(tmp_path, map(make_episode, range(4)))
    source = replace(SOURCE, action=replace(SOURCE.action, in_metres=False))
    facts = look(folder, source)
    assert [action["unit"] for action in facts["actions"]] == ["?"] * 6 + ["1 = open"]
    assert "in_metres=false" in problems_of(facts)["unit"]
    assert {"motion_unchecked", "unit"}.isdisjoint(problems_of(look(folder, SOURCE)))


def test_no_flags_at_all(tmp_path):
    episodes = [make_episode(seed) for seed in range(3)]
    for episode in episodes:
        for step in episode["steps"]:
            del step["is_last"], step["is_terminal"]
    features = make_features(is_last=None, is_terminal=None)
    facts = look(make_dataset(tmp_path, episodes, features=features), SOURCE)
    texts = [problem["text"] for problem in facts["problems"]]
    assert [text.partition(":")[0] for text in texts] == [
        "there is no is_last",
        "there is no is_terminal",
    ]


def test_time_limits_are_no_problem(tmp_path):
    """An episode whose last step is not terminal was cut off, which RLDS allows."""
    episodes = [make_episode(seed, is_terminal=lambda _: False) for seed in range(3)]
    assert look(make_dataset(tmp_path, episodes), SOURCE)["problems"] == []


def test_repeated_episodes_by_the_names_of_their_splits(tmp_path):
    folder = make_dataset(
        tmp_path,
        [make_episode(seed) for seed in (0, 1, 2, 2)],
        val=[make_episode(seed) for seed in (1, 2, 3)],
        test=[make_episode(4)],
    )
    facts = look(folder, SOURCE)
    assert facts["problems"] == [
        {
            "kind": "split_overlap",
            "text": "RLDS train and val share 2 episodes; training uses each once and splits by "
            "content, so that no episode is in train and test",
        },
        {
            "kind": "duplicate",
            "text": "1 of 8 records repeat another one of their split; each is used once",
        },
    ]


def test_an_image_that_cannot_be_decoded_is_counted(tmp_path):
    episodes = [make_episode(seed) for seed in range(3)]
    broken = encode_image(np.zeros((8, 8, 3), np.uint8)).getvalue()[:40]
    for step in episodes[0]["steps"]:
        step["observation"]["wrist"] = type(step["observation"]["wrist"])(broken)
    facts = look(make_dataset(tmp_path, episodes), SOURCE)
    text = problems_of(facts)["undecodable"]
    assert text.startswith("observation/wrist cannot be decoded in 1 of 3 episodes: in ")
    assert text.endswith(
        "the image of step 0 cannot be decoded: it is cut: a PNG without its last chunk"
    )


@pytest.mark.parametrize("shift", [1, -1])
def test_the_lag_that_was_found_aligns_the_commands(tmp_path, shift):
    """Commands that come a step late, or early: the words for training read them rightly."""
    folder = make_dataset(
        tmp_path, [changed(seed, lambda a: np.roll(a, -shift, axis=0)) for seed in range(4)]
    )
    facts = look(folder, SOURCE)
    assert f"data.source.action.lag={shift} reads them" in facts["out"]
    source = composed(facts["words"])
    assert source.action.lag == shift
    again = look(folder, source)
    assert "action_lag" not in problems_of(again)
    assert again["motion"]["correlation"]["0"] == pytest.approx(1.0, abs=0.01)
    assert composed(again["words"]).action.lag == shift


def test_a_lag_of_two_steps_is_found_in_two_looks(tmp_path):
    episodes = [changed(seed, lambda a: np.roll(a, -1, axis=0)) for seed in range(4)]
    source = replace(SOURCE, action=replace(SOURCE.action, lag=2))
    facts = look(make_dataset(tmp_path, episodes), source)
    assert composed(facts["words"]).action.lag == 1


def test_targets_and_poses_share_their_scale(tmp_path):
    """A ratio of targets to motion says nothing of the unit."""
    episodes = []
    for seed in range(4):
        arrays = make_arrays(seed)
        arrays["action"][:, :6] = arrays["state"][:, :6] + arrays["action"][:, :6] * (
            [10] * 3 + [1] * 3
        )
        episodes.append(make_episode(seed, arrays=arrays))
    source = make_source(camera="observation/front", action={"motion": "target"})
    facts = look(make_dataset(tmp_path, episodes), source)
    assert "are both in the same unit?" in problems_of(facts)["action_scale"]
    assert "translation_scale" not in facts["words"]
