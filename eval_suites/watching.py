"""The world of a run under watch: what is usual is measured on validation clips."""

import copy
from dataclasses import replace

import numpy as np

from eval_suites.base import EvalContext
from eval_suites.rollouts import choose_clips, sampler_seeds
from eval_suites.table import UnavailableError
from genie_robo.inference.trust import Usual, WatchedWorld
from genie_robo.inference.world import GenieWorld, robot_steps

NUM_CLIPS = 36
NO_GENIE = "only a Genie infers latent actions from imagined frames, and this world is none"
NO_MAP = "nothing says which latents robot actions lead to"
_KEY = "usual signals"


def watch(context: EvalContext) -> WatchedWorld:
    """The world that knows robot actions best, whose steps say how far they can be trusted.

    Usual is what it imagines under the recorded robot actions of validation clips.

    Raises:
        UnavailableError: It is no Genie, or nothing maps robot actions to latents.
    """
    world = context.robot_world
    if not isinstance(world, GenieWorld):
        raise UnavailableError(NO_GENIE)
    if context.to_latents is None:
        raise UnavailableError(NO_MAP)
    if _KEY not in context.cache:
        context.cache[_KEY] = _measure(context, world)
    return WatchedWorld(copy.copy(world), context.cache[_KEY], to_latents=context.to_latents)


def _measure(context: EvalContext, world: GenieWorld) -> Usual:
    clips = choose_clips(
        replace(context, test=context.fit),
        num_clips=NUM_CLIPS,
        horizon=context.num_frames - 1,
        name="trust",
    )
    watched = WatchedWorld(copy.copy(world), to_latents=context.to_latents)
    watched.start([clip.prompt for clip in clips], sampler_seeds(clips, context.seed))
    for actions in robot_steps(np.stack([clip.robot_actions for clip in clips])):
        watched.step(actions)
    return Usual.of(np.stack(watched.signals, axis=1))
