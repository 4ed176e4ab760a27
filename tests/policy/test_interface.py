import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genie_robo.policy.interface import MAX_CHUNK, Actor, Observation, actors
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW

PAGE = Path(__file__).parents[2] / "docs" / "policies.md"
SEEN = Observation(pixels=np.zeros((8, 8, 3), np.uint8), instruction="reach the red box")


class Gives:
    """A policy that gives the same thing every time, and counts how often it is asked."""

    def __init__(self, given):
        self.given, self.asked = given, None

    def reset(self, instruction, seed):
        self.instruction, self.seed, self.asked = instruction, seed, 0

    def act(self, observation):
        self.asked += 1
        return self.given


def actor(given) -> Actor:
    return Actor(Gives(given), name="mine", instruction="reach the red box", seed=3)


@pytest.mark.parametrize(
    "given",
    [[0.01] * 7, tuple([0.01] * 7), np.full(7, 0.01, np.float32), np.full((1, 7), 0.01)],
)
def test_an_action_may_be_a_list_an_array_or_a_chunk_of_one(given):
    np.testing.assert_allclose(actor(given).act(SEEN), 0.01, rtol=1e-6)


def test_a_chunk_is_executed_before_the_policy_is_asked_again():
    chunk = np.arange(21.0).reshape(3, 7) / 1000
    policy = Gives(chunk)
    acting = Actor(policy, name="mine", instruction="", seed=0)
    found = [acting.act(SEEN) for _ in range(4)]
    np.testing.assert_allclose(found, [*chunk, chunk[0]])
    assert acting._policy.asked == 2


def test_actions_are_clipped_to_the_robots_bounds():
    np.testing.assert_allclose(actor(np.full(7, 9.0)).act(SEEN), ACTION_HIGH)
    np.testing.assert_allclose(actor(np.full(7, -9.0)).act(SEEN), ACTION_LOW)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, "gave NoneType|gave the shape"),
        ("left", "gave str"),
        ([0.0] * 6, r"gave the shape \(6,\)"),
        (np.zeros((0, 7)), r"gave the shape \(0, 7\)"),
        (np.zeros((MAX_CHUNK + 1, 7)), r"gave the shape \(1001, 7\)"),
        (np.zeros((2, 3, 7)), r"gave the shape \(2, 3, 7\)"),
        ([np.nan] + [0.0] * 6, "gave .*nan"),
    ],
)
def test_what_is_no_action_is_refused_with_the_policys_name(given, found):
    with pytest.raises(ValueError, match=f"policy mine must give an action.*{found}"):
        actor(given).act(SEEN)


def test_every_episode_of_a_batch_has_a_policy_of_its_own():
    policy = Gives([0.0] * 7)
    first, second = actors(policy, ["a", "b"], [1, 2], name="mine")
    first.act(SEEN)
    assert (first._policy.asked, second._policy.asked, policy.asked) == (1, 0, None)
    assert (second._policy.instruction, second._policy.seed) == ("b", 2)


def test_a_policy_changes_nothing_but_itself():
    class Vandal(Gives):
        def act(self, observation):
            observation.pixels[:] = 9
            observation.boxes["red"][:] = 9.0
            self.given[:] += 0.01
            return self.given

    seen = Observation(
        pixels=np.zeros((8, 8, 3), np.uint8), instruction="", boxes={"red": np.zeros(3)}
    )
    first, second = actors(Vandal(np.zeros((2, 7))), ["a", "b"], [1, 2], name="mine")
    found = [actor.act(seen)[0] for actor in (first, second, first, second)]
    np.testing.assert_allclose(found, [0.01, 0.02, 0.01, 0.02])
    assert seen.pixels.max() == 0
    assert seen.boxes["red"].max() == 0


def test_the_policy_of_the_page_acts():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    seen = Observation(pixels=np.full((8, 8, 3), 255, np.uint8), instruction="", agent_pos=None)
    dx, dy, *others = Actor(names["TowardsTheCamera"](), name="its", instruction="", seed=0).act(
        seen
    )
    assert dx == pytest.approx(0.02)
    assert 0 < abs(dy) < 0.04
    assert others == [0, 0, 0, 0, 1]
