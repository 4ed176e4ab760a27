from contextlib import closing

import numpy as np
import pytest

from genie_robo.policy.interface import Actor, Observation
from genie_robo.policy.scripted import ScriptedPolicy
from genie_robo.sim.scene import COLORS, DIRECTIONS, Goal, read_instruction, sample_scene
from genie_robo.sim.tabletop import Tabletop


def observe(env: Tabletop) -> Observation:
    boxes = {box.color: env.box_position(i) for i, box in enumerate(env.scene.boxes)}
    return Observation(
        pixels=env.render(),
        instruction=env.scene.instruction,
        agent_pos=env.pose,
        boxes=boxes,
    )


def share_solved(policy, task: str, *, seeds=range(6)) -> float:
    solved = []
    with closing(Tabletop(task=task, image_size=(8, 8))) as env:
        for seed in seeds:
            env.reset(seed=seed)
            actor = Actor(policy, name="it", instruction=env.scene.instruction, seed=seed)
            found = False
            for _ in range(15):
                env.advance(actor.act(observe(env)))
                found = found or env.is_success
            solved.append(found)
    return float(np.mean(solved))


@pytest.mark.parametrize("task", ["reach", "push", "pick"])
def test_the_expert_solves_its_task_from_what_it_observes(task):
    assert share_solved(ScriptedPolicy("expert"), task) == 1.0


def test_broken_policies_solve_nothing():
    assert share_solved(ScriptedPolicy("empty_handed"), "pick") == 0.0
    assert share_solved(ScriptedPolicy("idle"), "push") == 0.0
    assert share_solved(ScriptedPolicy("expert", random_share=1.0), "pick") == 0.0


def test_the_same_seed_acts_the_same():
    policy = ScriptedPolicy("expert", random_share=0.5)
    with closing(Tabletop(task="push", image_size=(8, 8))) as env:
        env.reset(seed=1)
        seen = observe(env)
    one, same, other = (
        [Actor(policy, name="it", instruction=seen.instruction, seed=s).act(seen) for _ in range(1)]
        for s in (4, 4, 5)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_without_poses_it_says_what_is_missing():
    policy = ScriptedPolicy("expert")
    policy.reset("reach the red box", 0)
    pixels = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="no pose and the boxes none"):
        policy.act(Observation(pixels=pixels, instruction=""))
    seen = Observation(
        pixels=pixels, instruction="", agent_pos=np.zeros(7), boxes={"blue": np.zeros(3)}
    )
    with pytest.raises(ValueError, match="a pose and the boxes blue"):
        policy.act(seen)


def test_unknown_scripts_are_refused():
    with pytest.raises(ValueError, match="policy=unknown is not known"):
        ScriptedPolicy("unknown")


@pytest.mark.parametrize("task", ["reach", "push", "pick", "explore"])
def test_instructions_are_read_back(task):
    for seed in range(20):
        scene = sample_scene(np.random.default_rng(seed), task=task)
        goal = read_instruction(scene.instruction)
        assert goal.task == task
        if task != "explore":
            assert goal.color == scene.boxes[scene.target].color
        assert goal.direction == (scene.direction if task == "push" else "")


def test_every_instruction_is_one_goal():
    goals = [Goal(task, color) for task in ("reach", "pick") for color in COLORS]
    goals += [Goal("push", color, direction) for color in COLORS for direction in DIRECTIONS]
    texts = [goal.instruction for goal in goals]
    assert len(set(texts)) == len(texts)
    assert [read_instruction(text) for text in texts] == goals


def test_other_instructions_are_refused():
    with pytest.raises(ValueError, match="'fold the towel' is none of this table's"):
        read_instruction("fold the towel")
