"""How long a rollout takes to become a recording, and how large it is.

    python tests/benchmarks/recording.py

A rollout of 40 steps of the built-in arm, two cameras of 128 px, their difference, actions, curves
and the 3D scene, written and read through once. The median of 9 recordings after the first, in a
fresh process. docs/results.md has the numbers.

Goals: 0.15 s and 1 MB.
"""

import argparse
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
from jaxtyping import Float
from table import print_table

from genie_robo.eval_suites.timing import Recorded, record, run_alone
from genie_robo.sim.policies import make_policy
from genie_robo.sim.replay import Replay, replay
from genie_robo.sim.tabletop import Tabletop
from genie_robo.types import Episode

NUM_CODES = 8
CONTROL_HZ = 3.0


def main(words: Sequence[str] | None = None) -> Recorded:
    """Measure one recording and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--num-steps", type=int, default=40)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--num-repeats", type=int, default=9)
    options = parser.parse_args(words)
    view = example(options.num_steps, options.image_size)
    found = run_alone(record, "genie_robo.viz.rollout", view, num_repeats=options.num_repeats)
    row = {
        "seconds": found.lap.wall_s,
        "CPU-seconds": found.lap.cpu_s,
        "first in a process": found.first_s,
        "MB": found.num_bytes / 1e6,
    }
    print_table([row])
    return found


def example(num_steps: int, image_size: int, *, seed: int = 0) -> dict[str, Any]:
    """A rollout of the built-in arm whose frames a step late are imagined, for a RolloutView."""
    happened, robot_actions = _roll(num_steps, image_size, seed=seed)
    rng = np.random.default_rng(seed)
    video, num_frames = happened.video, len(happened.video)
    falling = np.linspace(35.0, 20.0, num_frames)
    return {
        "episode_id": "speed",
        "control_hz": CONTROL_HZ,
        "true_video": video,
        "imagined_video": np.concatenate([video[:1], video[:-1]]),
        "robot_actions": robot_actions.astype(np.float32),
        "latent_actions": rng.integers(NUM_CODES, size=num_frames - 1),
        "num_codes": NUM_CODES,
        "num_prompt_frames": 1,
        "replay": happened,
        "psnr": dict.fromkeys(("imagined", "copy_last", "tokenizer"), falling),
        "summary": "## A rollout to measure",
    }


def _roll(
    num_steps: int, image_size: int, *, seed: int
) -> tuple[Replay, Float[np.ndarray, "t-1 7"]]:
    """What happens under the random policy, drawn without a graphics library."""
    with closing(Tabletop(task="explore", renderer="raycast", control_hz=CONTROL_HZ)) as env:
        env.reset(seed=seed)
        start, policy = env.padded_state(), make_policy("random", seed=seed)
        actions = []
        for _ in range(num_steps - 1):
            actions.append(policy.act(env))
            env.advance(actions[-1])
        episode = Episode(
            episode_id="speed",
            images={"primary": (b"",) * num_steps},
            bgr_cameras=frozenset(),
            robot_actions=np.stack([*actions, np.zeros(7)]),
            action_mask=np.ones(7, dtype=bool),
            end_effector_pose=None,
            pose_mask=np.zeros(7, dtype=bool),
            sim_state=start[None].repeat(num_steps, 0),
            scene=env.scene.to_json(),
            instruction="",
            control_hz=CONTROL_HZ,
        )
    size = (image_size, image_size)
    taken = np.stack(actions)
    moved = replay(episode, start=0, robot_actions=taken, image_size=size, renderer="raycast")
    return moved, taken


if __name__ == "__main__":
    main()
