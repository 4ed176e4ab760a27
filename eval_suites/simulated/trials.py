"""Actions tried from the first frame of test episodes: in MuJoCo, and in imagination."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from eval_suites.base import EvalContext, Prompt
from eval_suites.clips import imagine_robot_actions, stable_seed
from eval_suites.episodes import frame_size
from eval_suites.plugs.truth import Poses, Truth
from eval_suites.simulated.pose_reading import fit_pose_reader
from eval_suites.simulated.task_margin import task_margin
from genie_robo.data.actions import compose_actions
from genie_robo.sim.scene import SceneSpec

FAST_STARTS = 3
"""Test episodes in a first look."""
POSE_EPISODES = 60
"""Validation episodes that the pose reader is fitted to."""


class Start(NamedTuple):
    """The first frame of a test episode, and a task to be solved from there."""

    number: int
    """Which test episode."""
    episode_id: str
    scene: SceneSpec
    """With the task that is tried."""
    image_size: tuple[int, int]


class Trial(NamedTuple):
    """What somebody did from a start, and what came of it in MuJoCo."""

    start: Start
    name: str
    """Who, or how."""
    robot_actions: Float[np.ndarray, "n 7"]
    """One for each frame."""
    truth: Truth
    """The prompt frame first."""


class Readings(NamedTuple):
    """Poses read from frames of every trial, the prompt frame first."""

    imagined: list[Poses]
    true: list[Poses]
    """From MuJoCo's frames: what a perfect imagination would show."""


def choose_starts(context: EvalContext, *, num_episodes: int, tasks: Sequence[str]) -> list[Start]:
    """Every task from the first frame of each of the first test episodes, fewer in a first look."""
    count = min(num_episodes, FAST_STARTS) if context.fast else num_episodes
    size = frame_size(context.test)
    starts = []
    for number, index in enumerate(context.test.episodes[:count]):
        episode = context.dataset[index]
        scene = SceneSpec.from_json(episode.scene)
        for task in tasks:
            tried = replace(scene, task=task)
            starts.append(Start(number, episode.episode_id, tried, size))
    return starts


def refusal(context: EvalContext) -> str:
    """Why no trial can be made here; empty when it can."""
    if context.robot_world_model is None:
        return "nothing maps robot actions to what steers this world model"
    if not len(context.fit.episodes) or not len(context.test.episodes):
        return "there is no episode to fit a pose reader on, or none to test on"
    if context.dataset[context.test.episodes[0]].sim_state is None:
        return "the dataset holds no simulator state, so nothing can be tried in MuJoCo"
    return ""


def frame_actions(actions: Float[np.ndarray, "m 7"], *, stride: int) -> Float[np.ndarray, "n 7"]:
    """Actions of single steps as one for each frame."""
    return compose_actions(actions, stride).astype(np.float64)


def read_trials(
    context: EvalContext, trials: Sequence[Trial], *, batch_size: int, name: str
) -> Readings:
    """Imagine every trial from its first frame, and read poses from both videos.

    The reader is fitted to real frames of validation episodes.
    """
    assert context.robot_world_model is not None  # `refusal` comes before any trial
    reader = fit_pose_reader(context, max_episodes=POSE_EPISODES, description=name)
    # A trial must not profit from the sampler's noise, so all trials of a start share it.
    imagined = imagine_robot_actions(
        context.robot_world_model,
        [Prompt(t.start.episode_id, 0, t.truth.video[:1]) for t in trials],
        np.stack([trial.robot_actions for trial in trials]),
        [stable_seed("sampler", context.seed, trial.start.episode_id) for trial in trials],
        batch_size=batch_size,
        description=f"{name}: imagine",
    )
    first = [trial.truth.video[:1] for trial in trials]
    return Readings(
        [reader.read(np.concatenate(pair)) for pair in zip(first, imagined, strict=True)],
        [reader.read(trial.truth.video) for trial in trials],
    )


def margins(trials: Sequence[Trial], readings: Sequence[Poses]) -> Float[np.ndarray, "m n"]:
    """Metres beyond success in every frame after the prompt, as read."""
    pairs = zip(trials, readings, strict=True)
    return np.stack([task_margin(read, trial.start.scene)[1:] for trial, read in pairs])


def solved(trials: Sequence[Trial]) -> Bool[np.ndarray, "m n"]:
    """Whether MuJoCo calls the task solved in every frame after the prompt."""
    return np.stack([trial.truth.is_solved[1:] for trial in trials])
