"""Small RLDS datasets to plant a problem in, and what `genie-robo inspect` finds in them."""

import io
import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console

from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.inspect import describe
from genie_robo.commands.table import load_command
from genie_robo.data.settings import Source
from genie_robo.inspection.facts import inspect_dataset

sys.path.append(str(Path(__file__).parents[1] / "data"))
from rlds_files import F, encode_image, make_source, write_rlds

NAME = "kitchen_robot"
"""No file in conf/data/ is called like this."""
SOURCE = make_source(camera="observation/front")


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
    """An arm that goes exactly where it is commanded: smooth commands, and poses that follow."""
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


def make_episode(
    seed, *, arrays=None, num_steps=20, front=(200, 40, 10), wrist=(30, 60, 90), **changes
):
    arrays = {
        k: np.asarray(v, np.float32)
        for k, v in (arrays or make_arrays(seed, num_steps=num_steps)).items()
    }
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
    facts = inspect_dataset(path, source).facts
    console = Console(file=io.StringIO(), width=80, highlight=False)
    for part in describe(facts):
        console.print(part, soft_wrap=isinstance(part, str))
    return json.loads(json.dumps(asdict(facts))) | {"out": console.file.getvalue()}


def problems_of(facts):
    return {problem["kind"]: problem["text"] for problem in facts["problems"] + facts["notes"]}


def composed(words) -> Source:
    """What a training would read with these words of a shell."""
    command = load_command("train")
    overrides = [*shlex.split(words), "run=x", "data.path=y"]
    return to_config(command, compose_config(command, overrides)).data.source


def parts_of(facts):
    return {part["setting"]: part for part in facts["proposal"]["parts"]}
