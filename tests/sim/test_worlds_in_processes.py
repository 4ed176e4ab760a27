"""Worlds and environments that are pickled, and stepped in worker processes."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from imagined_worlds import FEEDBACK, to_codes, world_of

from genie_robo.inference.error_feedback import ErrorFeedback
from genie_robo.inference.world import HeldFrame, Prompt
from genie_robo.sim.imagined import Imagined, ImaginedVector
from genie_robo.sim.mujoco_world import MujocoWorld

ROOT = Path(__file__).parents[2]
# The parent computes in two threads before it starts workers.
PROGRAM = """
import sys
import gymnasium
import numpy as np
import torch
from genie_robo.build import build_genie
from genie_robo.sim.imagined import Imagined
from tests.models.conftest import toy_config

if __name__ == "__main__":
    torch.set_num_threads(2)
    genie = build_genie(toy_config()).eval()
    torch.ones(1000, 1000).exp().sum()
    prompt = np.zeros((*genie.tokenizer.image_size, 3), np.uint8)
    make = lambda: Imagined(genie, prompt=prompt)
    env = gymnasium.vector.AsyncVectorEnv([make, make], context=sys.argv[1])
    env.reset(seed=3)
    frames = env.step(np.zeros(2, np.int64))[0]["pixels"]
    alone = Imagined(genie, prompt=prompt)
    alone.reset(seed=3)
    print(frames.shape[0], np.array_equal(alone.step(0)[0]["pixels"], frames[0]))
    env.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_imagined_worlds_in_worker_processes(tmp_path, context):
    script = tmp_path / "workers.py"
    script.write_text(PROGRAM)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), context],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )
    assert done.stdout == "2 True\n", done.stderr


@pytest.mark.parametrize("mapped", [None, to_codes, FEEDBACK])
@pytest.mark.parametrize("is_vector", [False, True])
def test_a_pickled_environment_continues_where_it_was(genie, prompt, mapped, is_vector):
    world = world_of(genie, mapped)
    env = (
        ImaginedVector(world, num_envs=2, prompt=prompt)
        if is_vector
        else Imagined(world, prompt=prompt)
    )
    env.reset(seed=1)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(3)]
    env.step(actions[0])
    again = pickle.loads(pickle.dumps(env))
    for action in actions[1:]:
        assert np.array_equal(env.step(action)[0]["pixels"], again.step(action)[0]["pixels"])


def test_copies_of_a_world_look_up_no_map_to_codes(genie, prompt):
    looked_up = []
    world = world_of(genie)
    world._robot_map = lambda: looked_up.append(True)
    env = ImaginedVector(world, num_envs=2, prompt=prompt)
    env.reset(seed=0)
    assert not looked_up


def test_worlds_without_a_model_are_picklable(episodes):
    held = pickle.loads(pickle.dumps(HeldFrame()))
    frame = np.zeros((1, 4, 4, 3), np.uint8)
    assert held.start([Prompt(frames=frame)], [0]).frames.shape == (1, 4, 4, 3)
    feedback = ErrorFeedback.to_nearest(np.zeros((2, 3)))
    world = MujocoWorld(scale=0.5, delay=2, feedback=feedback, renderer="raycast")
    prompt = Prompt(frames=np.zeros((1, 16, 16, 3), np.uint8), recording=episodes[0])
    started = world.start([prompt], [0]).frames
    again = pickle.loads(pickle.dumps(world))
    assert again.envs == []
    assert np.array_equal(again.start([prompt], [0]).frames, started)
    world.close()
    again.close()
