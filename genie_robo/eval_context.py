"""A trained run as the context that suites and plugged-in worlds are built from."""

from collections.abc import Callable
from functools import cache

import torch

from genie_robo.build import build_genie
from genie_robo.config import ActionMapConfig
from genie_robo.data.settings import Motion
from genie_robo.data.sources import action_dim
from genie_robo.eval_suites.adapters import GenieEncoder, GenieTokenizer
from genie_robo.eval_suites.base import EvalContext
from genie_robo.eval_suites.plug_names import GENIE
from genie_robo.eval_suites.plugs import plug
from genie_robo.fit_action_map import fetch_action_map, fit_action_map
from genie_robo.inference.action_map import ActionMap
from genie_robo.inference.settings import Sampler
from genie_robo.inference.world import GenieWorld, RobotMap, World
from genie_robo.models.genie import Genie
from genie_robo.trained_run import TrainedRun
from genie_robo.types import Split

UNTRAINED_DRAWS, UNTRAINED_SEED = 3, 2**20
"""Draws of fresh weights, and the seed that those after the first are counted from."""


def eval_context(
    trained: TrainedRun,
    *,
    sampler: Sampler | None = None,
    num_labels: int = ActionMapConfig.num_labels,
    fit_on: Split = Split.val,
    seed: int = 0,
    fast: bool = False,
    keep_action_map: bool = True,
) -> EvalContext:
    """Models and held-out episodes of a run.

    Args:
        trained: The run.
        sampler: How frames are decoded; by default in one step.
        num_labels: Labelled steps of the action map, which is fitted at first use.
        fit_on: Episodes that probes and baselines are fitted on.
        seed: Seed of everything random.
        fast: Fewer episodes and draws.
        keep_action_map: Keep the map in the run folder; False for another dataset than the run's.

    Raises:
        ValueError: Robot actions alone steer the model, and the dataset's have another width.
    """
    genie, device = trained.genie, trained.device
    untrained, *others = (
        GenieEncoder(genie=_untrained(trained, seed=number), device=device)
        for number in (seed, *(UNTRAINED_SEED + draw for draw in range(1, UNTRAINED_DRAWS)))
    )

    @cache
    def action_map() -> ActionMap:
        if keep_action_map:
            return fetch_action_map(trained, num_labels=num_labels)
        return fit_action_map(trained, num_labels=num_labels, origin={})

    def world(find_map: Callable[[], RobotMap]) -> GenieWorld:
        return GenieWorld(genie, sampler=sampler, robot_map=find_map)

    by_latents, controlled = genie.takes_latents, _of_this_width(trained, trained.robot_genie)
    if genie.takes_robot_actions and _of_this_width(trained, genie) is None:
        raise ValueError(
            f"robot actions of {genie.robot_action_dim} numbers steer {trained.folder.path}, but "
            f"those of {trained.dataset.place} have {action_dim(trained.data.source)}; give a "
            "dataset with the same joints"
        )
    return EvalContext(
        encoder=GenieEncoder(genie=genie, device=device),
        untrained_encoder=untrained,
        other_untrained=tuple(others),
        world=GenieWorld(genie, sampler=sampler)
        if genie.takes_robot_actions
        else world(lambda: action_map().robot_map(by_latents=by_latents)),
        world_by_control=GenieWorld(controlled, sampler=sampler) if controlled else None,
        world_by_codes=world(lambda: action_map().feedback) if by_latents else None,
        world_without_feedback=(
            world(lambda: action_map().regressor.predict)
            if genie.takes_codes and not by_latents
            else None
        ),
        to_latents=None
        if genie.takes_robot_actions
        else lambda robot_actions: action_map().latents.predict(robot_actions),
        code_names=lambda: action_map().code_names,
        tokenizer=GenieTokenizer(genie=genie, device=device),
        dataset=trained.dataset,
        fit=trained.windows(fit_on),
        test=trained.windows(Split.test),
        num_frames=genie.num_frames,
        action_is_achieved=trained.dataset.source.is_achieved,
        action_is_pose_change=trained.dataset.source.action.motion is Motion.pose_change,
        action_lag=trained.dataset.source.action.lag,
        fit_split=fit_on,
        seed=seed,
        fast=fast,
    )


def _of_this_width(trained: TrainedRun, genie: Genie | None) -> Genie | None:
    """A Genie that robot actions of the dataset in use can steer."""
    robot = genie.dynamics.robot if genie else None
    return genie if robot and robot.action_dim == action_dim(trained.data.source) else None


def _untrained(trained: TrainedRun, *, seed: int) -> Genie:
    """The run's architecture with fresh weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_genie(trained.config).to(trained.device).eval()


def find_world(trained: TrainedRun, name: str, *, genie: Callable[[], GenieWorld]) -> World:
    """The world of `world_model=NAME`; `genie` builds the run's own.

    Raises:
        ValueError: No such name, module or class, or an object that is no World.
    """
    return genie() if name == GENIE else plug(eval_context(trained), world_model=name).world
