"""An episode of the random policy in a fresh scene, in memory."""

from contextlib import closing

import numpy as np

from genie_robo.sim.policies import make_policy, roll_policy
from genie_robo.sim.render import png_bytes
from genie_robo.sim.restore import stored_scene
from genie_robo.sim.tabletop import Tabletop
from genie_robo.types import Episode


def fresh_episode(
    seed: int,
    *,
    num_steps: int,
    image_size: tuple[int, int],
    renderer: str = "auto",
    like: Episode | None = None,
) -> Episode:
    """An episode named `scene_SEED`, with the robot and the rate of another simulated one."""
    scene = stored_scene(like) if like and like.is_simulated else None
    given = {"robot": scene.robot, "control_hz": scene.control_hz} if scene else {}
    policy = make_policy("random", seed=seed)
    env = Tabletop(task="explore", image_size=image_size, renderer=renderer, **given)
    with closing(env):
        env.reset(seed=seed)
        seen, actions = roll_policy(
            env,
            lambda env, _: policy.act(env).astype(np.float32),
            lambda env: (png_bytes(env.render()), env.padded_state().astype(np.float32)),
            num_actions=num_steps - 1,
        )
        images, states = zip(*seen, strict=True)
        return Episode(
            episode_id=f"scene_{seed}",
            images={"primary": images},
            bgr_cameras=frozenset(),
            robot_actions=np.stack([*actions, np.zeros(7, np.float32)]),
            action_mask=np.ones(7, dtype=bool),
            end_effector_pose=None,
            pose_mask=np.zeros(7, dtype=bool),
            sim_state=np.stack(states),
            scene=env.scene.to_json(),
            instruction=env.scene.instruction,
            control_hz=env.scene.control_hz,
        )
