"""The classes of docs/metrics.md run, and its suite gives the numbers that it describes."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_fakes import FakeEncoder, LosslessTokenizer, ToyRobot, make_context

from genie_robo.eval_suites.base import EvalSuite, run_suite
from genie_robo.eval_suites.comparing import compare
from genie_robo.inference.world import Prompt, World, robot_steps, roll_out

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.fixture(scope="module")
def classes():
    names: dict[str, Any] = {"__name__": __name__}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL):
        exec(block, names)
    return names


def test_the_world_rolls_out(classes):
    world = classes["Darkening"]()
    assert isinstance(world, World)
    prompt = Prompt(frames=np.full((1, 4, 4, 3), 80, np.uint8))
    video = roll_out(world, [prompt], robot_steps(np.zeros((1, 2, 7))), seeds=[0])
    assert video[0, :, 0, 0, 0].tolist() == [40, 20]


def test_the_suite_is_measured_and_paired(classes):
    suite = classes["Brightness"](max_episodes=6)
    assert isinstance(suite, EvalSuite)
    encoder = FakeEncoder(1, lambda window: np.zeros(len(window.video) - 1))
    context = make_context(ToyRobot(12), encoder=encoder, tokenizer=LosslessTokenizer())
    result = run_suite(suite, context)
    assert (result.metrics["error"].value, result.metrics["error"].ci95) == (0.0, (0.0, 0.0))
    assert result.metrics["error"].baselines["first_frame"] is not None
    (compared,) = compare({"a": result, "b": run_suite(suite, replace(context, seed=1))})
    assert compared.differences[0].num_episodes == result.metrics["error"].n_units


def test_the_suite_without_episodes_gives_a_reason(classes):
    encoder = FakeEncoder(1, lambda window: np.zeros(len(window.video) - 1))
    context = make_context(ToyRobot(12), encoder=encoder, tokenizer=LosslessTokenizer())
    metric = run_suite(classes["Brightness"](max_episodes=0), context).metrics["error"]
    assert (metric.value, metric.reason) == (None, "no test episode can be read")
