"""`genie-robo inspect` on written datasets with one problem planted in each, and on real ones."""

import io
import json
import re
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from rich.console import Console
from scipy.spatial.transform import Rotation

from genie_robo import cli
from genie_robo.build import build_source
from genie_robo.commands.base import load_command
from genie_robo.commands.compose import compose_config, conf_dir, to_config
from genie_robo.commands.inspect import describe
from genie_robo.commands.inspection.facts import inspect_dataset
from genie_robo.commands.inspection.sources import known_sources
from genie_robo.data.sources import Source

sys.path.append(str(Path(__file__).parents[1] / "data"))
from rlds_files import F, encode_image, make_source, rt1_episode, rt1_features, write_rlds

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
NAME = "kitchen_robot"
"""No file in conf/data/ is called like this."""
READ = (
    "data=rlds",
    "data.source.camera=observation/front",
    "data.source.pose.position='observation/state[0:3]'",
    "data.source.pose.rotation='observation/state[3:6]'",
    "data.source.pose.gripper='observation/state[6]'",
)


SOURCE = make_source(camera="observation/front")


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def make_features(**changes):
    steps = {
        "observation": {
            "front": F.Image(shape=(8, 12, 3), encoding_format="png"),
            "wrist": F.Image(shape=(8, 8, 3), encoding_format="png"),
            "state": F.Tensor(shape=(7,), dtype=np.float32),
        },
        "action": F.Tensor(shape=(7,), dtype=np.float32),
        "language_instruction": F.Text(),
        "is_last": F.Scalar(np.bool_),
        "is_terminal": F.Scalar(np.bool_),
    }
    steps = {key: feature for key, feature in (steps | changes).items() if feature is not None}
    return F.FeaturesDict({"steps": F.Dataset(steps)})


def make_arrays(seed, *, num_steps=20, size_m=0.01):
    """An arm that goes exactly where it is told: smooth commands, and poses that follow."""
    random = np.random.default_rng(seed)
    action = np.zeros((num_steps, 7), np.float32)
    action[:, :6] = random.normal(size=(num_steps, 6)) * size_m
    action[:, 6] = np.arange(num_steps) < num_steps / 2  # open, then closed
    state = np.zeros((num_steps, 7), np.float32)
    state[1:, :6] = np.cumsum(action[:-1, :6], axis=0)
    state[:, :3] += 0.3
    state[1:, 6] = action[:-1, 6]
    state[0, 6] = 1.0
    return {"action": action, "state": state}


def make_episode(seed, *, arrays=None, front=(200, 40, 10), wrist=(30, 60, 90), **changes):
    arrays = {k: np.asarray(v, np.float32) for k, v in (arrays or make_arrays(seed)).items()}
    count = len(arrays["action"])
    return {
        "steps": [
            {
                "observation": {
                    "front": encode_image(np.full((8, 12, 3), front, np.uint8)),
                    "wrist": encode_image(np.full((8, 8, 3), wrist, np.uint8)),
                    "state": arrays["state"][t],
                },
                "action": arrays["action"][t],
                "language_instruction": f"task {seed}",
                "is_last": t == count - 1,
                "is_terminal": t == count - 1,
            }
            | {key: value(t) for key, value in changes.items()}
            for t in range(count)
        ]
    }


def make_dataset(tmp_path, episodes, *, name=NAME, features=None, **splits):
    shards = {split: [list(found)] for split, found in ({"train": episodes} | splits).items()}
    return write_rlds(tmp_path, shards, name=name, features=features or make_features())


def changed(seed, change, **words):
    """An episode whose actions are not those that moved the arm."""
    arrays = make_arrays(seed, **words)
    return make_episode(seed, arrays=arrays | {"action": change(arrays["action"])})


def put(rows, place, value):
    """The rows with another value at a place."""
    rows = rows.copy()
    rows[place] = value
    return rows


def look(path, source=None):
    """The facts as JSON holds them, and `out`, what a terminal of 80 characters shows."""
    facts, _ = inspect_dataset(path, source)
    console = Console(file=io.StringIO(), width=80, highlight=False)
    for part in describe(facts):
        console.print(part, soft_wrap=isinstance(part, str))
    return json.loads(json.dumps(asdict(facts))) | {"out": console.file.getvalue()}


@pytest.fixture
def inspect(run_cli, tmp_path):
    """Run the command and give what it writes."""

    def run(path, *words):
        folder = tmp_path / "report"
        outcome = run_cli("inspect", f"path={path}", f"output={folder}", *words)
        assert outcome.status == cli.OK, outcome.err
        facts = json.loads((folder / "inspect.json").read_text())
        return facts | {"out": outcome.out, "folder": folder}

    return run


def problems_of(facts):
    return {problem["kind"]: problem["text"] for problem in facts["problems"] + facts["notes"]}


def test_a_clean_dataset_has_no_problems(inspect, tmp_path):
    facts = inspect(make_dataset(tmp_path, map(make_episode, range(4))), *READ)
    assert facts["problems"] == []
    assert "none found" in facts["out"]
    assert facts["num_seen"] == 4
    assert facts["splits"][0] | {"name": ""} == {
        "name": "",
        "num_episodes": 4,
        "num_repeated": 0,
        "num_unreadable": 0,
        "min_steps": 20,
        "median_steps": 20,
        "max_steps": 20,
    }
    assert facts["columns"]["observation/front"] == "uint8[8,12,3] png image"
    assert [camera["key"] for camera in facts["cameras"]] == [
        "observation/front",
        "observation/wrist",
    ]
    assert facts["motion"]["ratio"] == pytest.approx(1.0, abs=1e-3)
    assert facts["motion"]["correlation"]["0"] == pytest.approx(1.0, abs=1e-3)
    dx = facts["actions"][0]
    assert (dx["name"], dx["unit"]) == ("dx", "m")
    assert dx["std"] == pytest.approx(dx["achieved_std"], rel=1e-3)


def test_lines_are_short_enough_for_a_terminal(tmp_path):
    facts = look(make_dataset(tmp_path, map(make_episode, range(4))), SOURCE)
    table = facts["out"].partition("all episodes")[2].partition("Problems")[0]
    assert "gripper 1 = open" in table
    assert max(len(line) for line in table.splitlines() if "Commanded" not in line) <= 80


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


def test_pictures_show_every_camera_with_its_colours_right(inspect, tmp_path):
    folder = make_dataset(tmp_path, map(make_episode, range(3)))
    facts = inspect(folder, *READ, "data.source.bgr=[observation/front]")
    with Image.open(facts["folder"] / "contact_sheet.png") as sheet:
        colours = {colour for count, colour in sheet.getcolors(1 << 20) if count > 5000}
    assert {(10, 40, 200), (30, 60, 90)} <= colours  # red and blue of the front swapped
    assert (200, 40, 10) not in colours
    with Image.open(facts["folder"] / "actions.png") as picture:
        assert picture.width == 1600


def test_an_image_that_cannot_be_decoded_is_counted(tmp_path):
    episodes = [make_episode(seed) for seed in range(3)]
    broken = encode_image(np.zeros((8, 8, 3), np.uint8)).getvalue()[:40]
    for step in episodes[0]["steps"]:
        step["observation"]["wrist"] = type(step["observation"]["wrist"])(broken)
    facts = look(make_dataset(tmp_path, episodes), SOURCE)
    assert problems_of(facts)["undecodable"] == (
        "observation/wrist cannot be decoded in 1 of 3 episodes"
    )


def composed(words) -> Source:
    """What a training would read with these words of a shell."""
    command = load_command("train")
    overrides = [*shlex.split(words), "run=x", "data.path=y"]
    return build_source(to_config(command, compose_config(command, overrides)).data.source)


def parts_of(facts):
    return {part["setting"]: part for part in facts["proposal"]["parts"]}


def test_an_unknown_dataset_gets_words_that_read_it(tmp_path):
    facts = look(make_dataset(tmp_path, map(make_episode, range(4))))
    assert facts["read_as"] == "proposed below"
    assert facts["problems"] == []
    source = composed(facts["words"])
    assert facts["words"].startswith("data=rlds data.source.camera=observation/front ")
    assert source.camera == "observation/front"
    assert source.instruction == ("language_instruction",)
    assert (source.action.translation, source.action.rotation) == ("action[0:3]", "action[3:6]")
    assert (source.action.gripper, source.action.gripper_format) == ("action[6]", "open_one")
    assert source.pose.position == "observation/state[0:3]"
    assert source.pose.rotation == "observation/state[3:6]"
    assert (source.pose.gripper, source.pose.gripper_format) == ("observation/state[6]", "open_one")
    # The arm goes exactly where it is told, so its commands are the achieved motion.
    assert source.action.motion == "achieved"
    parts = parts_of(facts)
    assert parts["action.motion"]["confidence"] == "sure"
    assert parts["action.gripper_format"]["confidence"] == "guess"
    assert "wrist" not in parts["camera"]["value"]
    assert parts["camera"]["confidence"] == "likely"
    for part in parts.values():
        assert part["why"]
    assert all(word in facts["out"].replace("\n", "") for word in facts["words"].split())


def noisy(arrays):
    """Poses that follow the commands, but not exactly."""
    random = np.random.default_rng(5)
    state = arrays["state"].copy()
    state[:, :3] += random.normal(size=(len(state), 3)) * 0.001
    return arrays | {"state": state.astype(np.float32)}


def test_commands_are_told_from_achieved_motion(tmp_path):
    episodes = [make_episode(seed, arrays=noisy(make_arrays(seed))) for seed in range(4)]
    facts = look(make_dataset(tmp_path, episodes))
    assert parts_of(facts)["action.motion"]["value"] == "delta"
    assert "action.motion" not in facts["words"]
    assert composed(facts["words"]).action.motion == "delta"


def test_absolute_targets(tmp_path):
    episodes = []
    for seed in range(4):
        arrays = noisy(make_arrays(seed))
        arrays["action"][:-1, :6] = make_arrays(seed)["state"][1:, :6]
        episodes.append(make_episode(seed, arrays=arrays))
    facts = look(make_dataset(tmp_path, episodes))
    assert composed(facts["words"]).action.motion == "target"
    assert "close to observation/state[0:3] itself" in parts_of(facts)["action.motion"]["why"]
    assert facts["actions"][0]["max"] < 0.1


def test_normalised_commands_get_a_scale(tmp_path):
    episodes = []
    for seed in range(4):
        arrays = noisy(make_arrays(seed))
        arrays["action"][:, :3] *= 50
        episodes.append(make_episode(seed, arrays=arrays))
    facts = look(make_dataset(tmp_path, episodes))
    assert composed(facts["words"]).action.translation_scale == pytest.approx(0.02, rel=0.1)
    assert parts_of(facts)["action.translation_scale"]["confidence"] == "guess"
    assert "action_scale" not in problems_of(facts)


def test_closed_grippers_are_told_by_how_episodes_begin(tmp_path):
    def invert(rows):
        rows[:, 6] = 1 - rows[:, 6]
        return rows

    episodes = []
    for seed in range(4):
        arrays = {key: invert(rows) for key, rows in make_arrays(seed).items()}
        episodes.append(make_episode(seed, arrays=arrays))
    facts = look(make_dataset(tmp_path, episodes))
    source = composed(facts["words"])
    assert (source.action.gripper_format, source.pose.gripper_format) == ("closed_one",) * 2
    assert "most grippers begin open" in parts_of(facts)["action.gripper_format"]["why"]


def test_a_gripper_in_metres_is_not_mapped(tmp_path):
    episodes = [changed(seed, lambda a: a * ([1] * 6 + [0.08])) for seed in range(4)]
    facts = look(make_dataset(tmp_path, episodes))
    assert composed(facts["words"]).action.gripper == ""
    assert "goes from 0 to 0.08" in parts_of(facts)["action.gripper"]["why"]


def rt1_like(seed):
    random = np.random.default_rng(seed)
    count = 12
    turns = random.normal(size=(count, 3)) * 0.1
    rotations = [np.array([0.0, 0.0, 0.0, 1.0])]
    position = [np.zeros(3)]
    for turn in turns[:-1]:
        rotations.append(
            (Rotation.from_euler("xyz", turn) * Rotation.from_quat(rotations[-1])).as_quat()
        )
    moves = random.normal(size=(count, 3)) * 0.02
    for move in moves[:-1]:
        position.append(position[-1] + move + random.normal(size=3) * 0.002)
    pose = np.column_stack([position, rotations])
    commands = np.where(np.arange(count) == 6, 1.0, np.where(np.arange(count) == 9, -1.0, 0.0))
    episode = rt1_episode(commands, pose, np.linspace(0, 1, count))
    for t, step in enumerate(episode["steps"]):
        step["action"]["world_vector"] = moves[t].astype(np.float32)
        step["action"]["rotation_delta"] = turns[t].astype(np.float32)
    return episode


def test_named_parts_and_a_quaternion(tmp_path):
    folder = make_dataset(tmp_path, map(rt1_like, range(4)), features=rt1_features())
    facts = look(folder)
    source, known = composed(facts["words"]), known_sources()["fractal20220817_data"]
    assert source.action == known.action
    assert source.pose.position == known.pose.position
    assert source.pose.rotation == known.pose.rotation
    assert source.pose.rotation_format == "quaternion_xyzw"
    assert (source.pose.gripper, source.pose.gripper_format) == (
        "observation/gripper_closed",
        "closed_one",
    )
    assert source.instruction == known.instruction
    assert "fractal20220817_data" in facts["fits"]
    assert "which may mean" not in facts["out"]
    assert "where they may mean other things" in facts["out"]


def test_joints_only_cannot_be_proposed(inspect, tmp_path):
    features = make_features(action={"joint_position": F.Tensor(shape=(7,), dtype=np.float32)})
    episodes = [make_episode(seed) for seed in range(3)]
    for episode in episodes:
        for step in episode["steps"]:
            step["action"] = {"joint_position": step["action"]}
    facts = inspect(make_dataset(tmp_path, episodes, features=features))
    assert facts["actions"] == []
    assert facts["proposal"]["missing"] == [
        "action: no column looks like an end-effector action; joints are not read"
    ]
    assert "no action: no column looks like" in facts["out"]
    assert (facts["folder"] / "actions.png").exists()


def test_a_dataset_of_a_known_name_that_does_not_fit(tmp_path):
    facts = look(make_dataset(tmp_path, map(make_episode, range(3)), name="tabletop"))
    assert re.search(
        r"data=tabletop is meant for this dataset but does not fit: .*wants observation/image",
        problems_of(facts)["own_file"],
    )
    assert facts["proposal"] is not None


def test_a_known_name_is_read_by_its_file(tmp_path):
    folder = make_dataset(
        tmp_path, map(rt1_like, range(4)), features=rt1_features(), name="fractal20220817_data"
    )
    facts = look(folder)
    assert facts["fits"] == ["fractal20220817_data"]
    assert facts["words"] == "data=fractal20220817_data"
    assert facts["proposal"] is None


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (
            ["data=bridge_dataset"],
            cli.FAILED,
            "wants observation/image_0, which this dataset does not",
        ),
        (["data=bridgedataset"], cli.USAGE, "Did you mean bridge_dataset or"),
        (["data=rlds"], cli.USAGE, "data.source.camera"),
        (["data=rlds", "data.source.camera=action"], cli.FAILED, "not an encoded 8-bit colour"),
    ],
)
def test_errors_are_one_paragraph(run_cli, tmp_path, words, status, message):
    folder = make_dataset(tmp_path, [make_episode(0)])
    outcome = run_cli("inspect", f"path={folder}", *words)
    assert outcome.status == status
    assert message in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_every_dataset_file_can_be_chosen():
    """They say how a dataset is read and nothing else, which is all that inspect takes."""
    paths = sorted((conf_dir() / "data").glob("*.yaml"))
    assert {key for path in paths for key in yaml.safe_load(path.read_text()) or {}} == {"source"}
    command = load_command("inspect")
    config = to_config(command, compose_config(command, ["path=x", "data=bridge_dataset"]))
    assert config.data is not None
    assert config.data.source.camera == "observation/image_0"


def test_statistics_are_kept_for_training(tmp_path):
    folder = make_dataset(tmp_path, map(make_episode, range(4)))
    look(folder, SOURCE)
    stored = json.loads((folder / ".genie_robo_statistics.json").read_text())
    assert set(stored["splits"]) == {"all", "train", "val", "test"}


def test_a_single_short_episode(tmp_path):
    arrays = make_arrays(0, num_steps=2)
    facts = look(make_dataset(tmp_path, [make_episode(0, arrays=arrays)]))
    assert facts["num_seen"] == 1


@pytest.fixture(scope="module")
def real():
    def find(name):
        if not (SHARED / name).is_dir():
            pytest.skip(f"real robot data is not there: {SHARED / name}; see docs/data.md")
        return SHARED / name

    return find


@pytest.mark.real_data
def test_bridge(real):
    facts = look(real("octo_bridge_debug"))
    assert facts["fits"] == ["bridge_dataset"]
    found = problems_of(facts)
    assert "RLDS train and val share 25 episodes" in found["split_overlap"]
    assert found["blank_camera"] == "observation/image_3 is black in 25 of 25 episodes"
    assert "the first action is all zero in 25 of 25 episodes" in found["first_action_zero"]
    assert set(found) == {"split_overlap", "blank_camera", "first_action_zero", "terminal"}
    assert facts["motion"]["ratio"] == pytest.approx(1.08, abs=0.01)


@pytest.mark.real_data
def test_droid_is_proposed_as_its_file_describes_it(real):
    facts = look(real("derived_rlds"))
    assert facts["problems"] == []
    assert composed(facts["words"]) == known_sources()["droid_ee_delta"]
    assert parts_of(facts)["action.motion"]["confidence"] == "sure"
