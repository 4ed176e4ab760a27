"""The worlds of `world_model=NAME`: the run's Genie, MuJoCo, held frames, or your own class."""

from collections.abc import Callable, Mapping

import numpy as np

from eval_suites.adapters import GenieEncoder, GenieTokenizer
from eval_suites.adapters import GenieWorld as GenieRollouts
from eval_suites.base import EvalContext
from eval_suites.plugs.best_codes import BestCodes
from genie_robo.inference.error_feedback import ErrorFeedback
from genie_robo.inference.plugged import checked_plug, find_plug
from genie_robo.inference.settings import Sampler
from genie_robo.inference.world import GenieWorld, HeldFrame, World
from genie_robo.sim.mujoco_world import MujocoWorld
from genie_robo.trained_run import TrainedRun
from genie_robo.types import Split

GENIE = "genie"


def _coded(context: EvalContext) -> MujocoWorld:
    centres = BestCodes.fit(context, name="mujoco_coded").clusters.cluster_centers_
    return MujocoWorld(feedback=ErrorFeedback.to_nearest(centres.astype(np.float64)))


WORLDS: Mapping[str, Callable[[EvalContext], World]] = {
    "mujoco": lambda _: MujocoWorld(),
    "mujoco_scaled": lambda _: MujocoWorld(scale=0.5),
    "mujoco_delayed": lambda _: MujocoWorld(delay=1),
    "mujoco_coded": _coded,
    "copy_first": lambda _: HeldFrame(0),
    "copy_last": lambda _: HeldFrame(-1),
}
"""Worlds that need no training, by name."""


def find_world(trained: TrainedRun, name: str, *, genie: Callable[[], GenieWorld]) -> World:
    """The world of a name; `genie` builds the run's own.

    Raises:
        ValueError: No such name, module or class, or an object that is no World.
    """
    known = {GENIE: lambda _: genie(), **WORLDS}
    build = find_plug(name, known, setting="world_model")
    return checked_plug(
        build(eval_context(trained)), World, name=name, methods="takes, start and step"
    )


def eval_context(trained: TrainedRun) -> EvalContext:
    """What classes are built from: the models and held-out episodes of a run."""
    genie, device = trained.genie, trained.device
    return EvalContext(
        encoder=GenieEncoder(genie=genie, device=device),
        untrained_encoder=None,
        world_model=GenieRollouts(genie=genie, sampler=Sampler(), device=device),
        tokenizer=GenieTokenizer(genie=genie, device=device),
        dataset=trained.dataset,
        fit=trained.windows(Split.val),
        test=trained.windows(Split.test),
        num_frames=genie.num_frames,
    )
