"""A training step computes nothing twice."""

import sys
from collections import Counter
from dataclasses import replace

import pytest

from genie_robo.train import stages
from genie_robo.train.stages import TokenMask


@pytest.fixture
def calls(monkeypatch):
    """How often pixels were converted and token masks drawn, anywhere in the package."""
    found = Counter()

    def count(owner, name):
        function = getattr(owner, name)

        def counted(*arguments):
            found[name] += 1
            return function(*arguments)

        monkeypatch.setattr(owner, name, counted)

    for module in [m for n, m in sys.modules.items() if n.startswith("genie_robo.")]:
        if hasattr(module, "video_to_float"):
            count(module, "video_to_float")
    count(stages, "random_mask")
    count(TokenMask, "__call__")
    return found


@pytest.mark.parametrize("name", ["tokenizer", "world_model", "robot_control"])
@pytest.mark.parametrize("num_parts", [1, 2])
def test_a_part_of_a_batch_is_converted_once_and_masked_once(training_step, calls, name, num_parts):
    step, batches = training_step(name)
    calls.clear()
    replace(step, num_parts=num_parts)(0, batches)
    masks = {} if name == "tokenizer" else {"__call__": num_parts, "random_mask": num_parts}
    assert calls == {"video_to_float": num_parts} | masks
