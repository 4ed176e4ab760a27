"""Where trials of tasks start, and when they are solved."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from genie_robo.eval_suites.base import EvalContext
from genie_robo.eval_suites.rollouts import read_episodes, stable_seed
from genie_robo.eval_suites.simulated.truth import PALETTE, Poses
from genie_robo.eval_suites.table import UnavailableError
from genie_robo.inference.world import Prompt
from genie_robo.sim.restore import stored_scene
from genie_robo.sim.scene import DIRECTIONS, SceneSpec
from genie_robo.sim.tabletop import LIFTED, PUSHED, REACHED
from genie_robo.types import ACTION_NAMES

POSE_EPISODES = 60
"""Validation episodes that the pose reader is fitted to."""
FAST_STARTS = 3
"""Test episodes under fast=true."""


class Start(NamedTuple):
    """Where a trial begins, and what it asks for."""

    prompt: Prompt
    scene: SceneSpec
    """With the task of the trial."""

    def seed(self, seed: int) -> int:
        """A seed for everything random in trials from here, whatever else is tried."""
        return stable_seed("trial", seed, self.prompt.name, self.scene.task)


def choose_starts(
    context: EvalContext, *, tasks: Sequence[str], num_episodes: int, name: str
) -> list[Start]:
    """Every task from the first frame of test episodes.

    Raises:
        UnavailableError: No trial can be made with this dataset or world.
    """
    _check(context)
    side = context.test
    count = min(num_episodes, FAST_STARTS) if context.fast else num_episodes
    starts = []
    for e, window in read_episodes(side, max_episodes=count, description=f"{name}: starts"):
        recording = context.recording(side, e)
        assert recording is not None
        prompt = Prompt(
            frames=window.video[:1],
            name=window.episode_id,
            stride=side.frame_stride,
            recording=recording,
        )
        starts += [Start(prompt, stored_scene(recording, task=task)) for task in tasks]
    return starts


def _check(context: EvalContext) -> None:
    if not context.takes_robot_actions:
        raise UnavailableError("nothing maps robot actions to what steers this world model")
    if not len(context.fit.episodes) or not len(context.test.episodes):
        raise UnavailableError("there is no episode to fit a pose reader on, or none to test on")
    if not context.is_simulated:
        raise UnavailableError(
            "the dataset holds no simulator state, so nothing can be tried in MuJoCo"
        )
    recording = context.recording(context.test, 0)
    assert recording is not None
    if (num_numbers := len(recording.action_mask)) > len(ACTION_NAMES):
        raise UnavailableError(
            f"a policy in MuJoCo gives the {len(ACTION_NAMES)} numbers of an end effector, but an "
            f"action of this dataset has {num_numbers}"
        )


def task_margin(poses: Poses, scene: SceneSpec) -> Float[np.ndarray, " t"]:
    """Metres beyond the threshold of success in every frame, positive = solved.

    The rules of Tabletop.is_success as a distance; -1 for a box that has left the table.

    Raises:
        ValueError: The scene's task has no goal.
    """
    box = scene.boxes[scene.target]
    position = poses.boxes[:, PALETTE.index(box.color)]
    match scene.task:
        case "reach":
            top = position + np.array([0.0, 0.0, box.half_size[2]])
            margin = REACHED - np.linalg.norm(poses.tool - top, axis=-1)
        case "pick":
            margin = position[:, 2] - box.half_size[2] - LIFTED
        case "push":
            moved = position[:, :2] - np.array(box.position)
            margin = moved @ np.array(DIRECTIONS[scene.direction], dtype=np.float64) - PUSHED
        case _:
            raise ValueError(f"task={scene.task} has no goal; choose reach, pick or push")
    return np.where(np.isfinite(margin), margin, -1.0)


def solved(poses: Poses, scene: SceneSpec) -> Bool[np.ndarray, " t"]:
    """Whether the task is solved in every frame after the first."""
    return task_margin(poses, scene)[1:] > 0
