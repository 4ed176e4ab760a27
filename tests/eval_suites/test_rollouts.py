"""Cached rollouts: found again for the same world and prompt, never returned for others."""

import dataclasses

import numpy as np
import pytest
from eval_fakes import ToyRobot, TransitionCodes, make_context

from genie_robo.eval_suites.probes.data import collect
from genie_robo.eval_suites.rollouts import imagine
from genie_robo.inference.world import Codes, HeldFrame, Prompt, Step

PROMPT = Prompt(frames=np.zeros((1, 8, 8, 3), np.uint8))


class Flat:
    """A world in which every pixel of every frame has one value."""

    takes = (Codes,)
    num_starts = 0

    def __init__(self, level):
        self.level = level

    def start(self, prompts, seeds):
        self.num_starts += 1
        return self.step(seeds)

    def step(self, actions):
        num = len(getattr(actions, "values", actions))
        frames = np.full((num, 8, 8, 3), self.level, np.uint8)
        return Step(frames=frames, uncertainty=np.zeros(num))


@pytest.fixture
def context():
    robot = ToyRobot(4)
    return make_context(robot, encoder=TransitionCodes(robot), world=Flat(0))


def imagine_from(context, prompt=PROMPT, world=None):
    codes = np.zeros((1, 3), np.int64)
    return imagine(context, [prompt], codes, [0], batch_size=1, description="test", world=world)


def test_the_same_rollout_is_imagined_once(context):
    first, second = imagine_from(context), imagine_from(context)
    assert context.world.num_starts == 1
    assert np.array_equal(first, second)


def test_a_world_with_the_id_of_a_freed_one_has_its_own_rollouts(context):
    for level in range(20):
        assert (imagine_from(context, world=Flat(level)) == level).all()


def test_prompts_with_other_frames_have_their_own_rollouts(context):
    world = HeldFrame(-1)
    for level in (0, 7):
        prompt = dataclasses.replace(PROMPT, frames=np.full((1, 8, 8, 3), level, np.uint8))
        assert (imagine_from(context, prompt, world) == level).all()


def test_episodes_with_the_id_of_freed_ones_are_collected_anew(context):
    for e in range(4):
        one = dataclasses.replace(context.test, episodes=[e])
        data = collect(context, one, max_episodes=1, description="test")
        assert data.episode_ids == (context.test.robot.name(e),)
        del one
