"""The world of a run under watch: what is usual is measured on validation clips."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from genie_robo.eval_suites.base import EvalContext
from genie_robo.eval_suites.rollouts import (
    Clip,
    choose_clips,
    infer_latents,
    infer_sequences,
    sampler_seeds,
)
from genie_robo.eval_suites.table import UnavailableError
from genie_robo.inference.trust import Usual, WatchedWorld
from genie_robo.inference.world import (
    Actions,
    Codes,
    GenieWorld,
    Latents,
    RobotActions,
    code_steps,
    latent_steps,
    robot_steps,
)

NUM_CLIPS = 36
NO_GENIE = "only a Genie infers latent actions from imagined frames, and this world is none"
NO_MAP = "nothing says which latents robot actions lead to"
_KEY = "usual signals"


def watch(context: EvalContext) -> WatchedWorld:
    """The world that knows robot actions best, whose steps say how far they can be trusted.

    Raises:
        UnavailableError: It is no Genie, or nothing maps robot actions to latents.
    """
    world = context.robot_world
    if not isinstance(world, GenieWorld):
        raise UnavailableError(NO_GENIE)
    if context.to_latents is None:
        raise UnavailableError(NO_MAP)
    if _KEY not in context.cache:
        context.cache[_KEY] = measure_usual(context, world, RobotActions)
    usual: dict[type[Actions], Usual] = {RobotActions: context.cache[_KEY]}
    return WatchedWorld(copy.copy(world), usual, to_latents=context.to_latents)


def measure_usual(context: EvalContext, world: GenieWorld, kind: type[Actions]) -> Usual:
    """What a world shows under the true actions of validation clips, of one kind.

    Raises:
        UnavailableError: No validation episode is long enough.
        ValueError: A signal is not finite.
    """
    clips = _clips(context, horizon=context.num_frames - 1)
    watched = WatchedWorld(copy.copy(world), {}, to_latents=context.to_latents)
    watched.start([clip.prompt for clip in clips], sampler_seeds(clips, context.seed))
    for actions in _true_actions(context, clips, kind):
        watched.step(actions)
    return Usual.of(np.stack(watched.signals, axis=1))


def _clips(context: EvalContext, *, horizon: int) -> list[Clip]:
    """Validation clips of the model's window, shorter ones where no episode is as long."""
    on_validation = replace(context, test=context.fit)
    try:
        return choose_clips(on_validation, num_clips=NUM_CLIPS, horizon=horizon, name="trust")
    except UnavailableError:
        if horizon < 2:
            raise UnavailableError("no validation episode has two frames") from None
        return _clips(context, horizon=horizon // 2)


def _true_actions(
    context: EvalContext, clips: Sequence[Clip], kind: type[Actions]
) -> Sequence[Actions]:
    """The actions that led to the true frames, step by step."""
    if kind is Codes:
        return code_steps(infer_sequences(context.encoder, clips))
    if kind is Latents:
        return latent_steps(infer_latents(context.encoder, clips))
    return robot_steps(np.stack([clip.robot_actions for clip in clips]))
