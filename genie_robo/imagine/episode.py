"""One prompt imagined under its actions, and what really happens under them."""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from genie_robo.config import ImagineConfig
from genie_robo.imagine.prompts import Followed, Prompt
from genie_robo.imagine.readers import RolloutReaders
from genie_robo.imagine.steering import Steering, single_steps
from genie_robo.imagine.view import RolloutParts, make_view
from genie_robo.inference.rollout import imagine
from genie_robo.progress import Advance
from genie_robo.sim.replay import Replay, replay
from genie_robo.trained_run import TrainedRun
from genie_robo.types import Rollout
from viz.rollout import RolloutView


@dataclass(frozen=True, slots=True, kw_only=True)
class ImaginedEpisode:
    """What was imagined, and everything that can be shown of it."""

    prompt: Prompt
    steering: Steering
    rollout: Rollout
    view: RolloutView


def imagine_prompt(
    trained: TrainedRun,
    prompt: Prompt,
    steering: Steering,
    config: ImagineConfig,
    number: int,
    advance: Advance,
    readers: RolloutReaders,
) -> ImaginedEpisode:
    """Imagine what follows a prompt.

    Raises:
        ValueError: MuJoCo refuses an action.
    """
    seed = config.seed + number
    rollout = imagine(
        trained.genie,
        torch.from_numpy(prompt.frames[None]).to(trained.device),
        torch.from_numpy(steering.codes[None]).long().to(trained.device),
        seeds=[seed],
        sampler=config.sampler,
        advance=advance,
    )
    happened = None
    if prompt.followed is not None:
        happened = replay_steered(prompt.followed, prompt, steering, config)
    parts = RolloutParts(
        trained=trained,
        prompt=prompt,
        steering=steering,
        rollout=rollout,
        happened=happened,
        readers=readers,
    )
    view = make_view(parts, config, seed=seed)
    return ImaginedEpisode(prompt=prompt, steering=steering, rollout=rollout, view=view)


def replay_steered(
    followed: Followed, prompt: Prompt, steering: Steering, config: ImagineConfig
) -> Replay | None:
    """MuJoCo restored at the first prompt frame and moved by the actions; None for real data.

    The actions inside the prompt are the true ones, those after it the ones that steered.

    Raises:
        ValueError: MuJoCo refuses an action.
    """
    episode, first, stride = followed.episode, followed.first, followed.stride
    if episode.sim_state is None or steering.robot_actions is None:
        return None
    num_frames, height, width, _ = followed.window.video.shape
    actions = episode.robot_actions[first : first + (num_frames - 1) * stride].astype(np.float64)
    if not steering.is_true:
        steered = single_steps(steering.robot_actions, stride=stride)
        actions = np.concatenate([actions[: (len(prompt.frames) - 1) * stride], steered])
    every = replay(
        episode,
        start=first,
        robot_actions=actions,
        image_size=(height, width),
        renderer=config.renderer,
    )
    per_step = {"video", "positions", "rotations", "end_effector", "object_positions"}
    kept = {f.name: getattr(every, f.name)[::stride] for f in fields(every) if f.name in per_step}
    return replace(every, **kept)
