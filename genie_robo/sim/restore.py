"""A recorded step, restored in MuJoCo, and actions executed from there."""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from genie_robo.sim.contact import box_centres
from genie_robo.sim.scene import SceneSpec
from genie_robo.sim.tabletop import Tabletop
from genie_robo.types import END_EFFECTOR, GRIPPER, Episode

T = TypeVar("T")
MAX_STATE = 10_000
"""Numbers in a simulator state; the largest robot here has some hundred."""
FARTHEST_STATE = 1e9
"""The clock, in seconds, is part of a state, and forces are."""


def restore(
    episode: Episode,
    step: int,
    *,
    task: str = "",
    image_size: tuple[int, int] = (8, 8),
    renderer: str = "raycast",
) -> Tabletop:
    """The simulator at a recorded step; close it when done.

    Another task than the recorded one changes only what counts as success.

    Raises:
        ValueError: the episode is not from a simulator, or has no such step.
    """
    scene, state = stored_scene(episode, task=task), stored_state(episode, step)
    env = Tabletop(image_size=image_size, renderer=renderer, scene=scene)
    env.restore(scene, state)
    return env


def stored_scene(episode: Episode, *, task: str = "") -> SceneSpec:
    """The scene that an episode was recorded in, with its own task or another one.

    Raises:
        ValueError: the episode is not from a simulator.
    """
    if not episode.is_simulated:
        raise ValueError(
            f"episode {episode.episode_id} holds no simulator state, so MuJoCo cannot restore it; "
            "`genie-robo record` makes episodes that it can"
        )
    try:
        scene = SceneSpec.from_json(episode.scene)
    except ValueError as error:
        raise ValueError(f"episode {episode.episode_id}: {error}") from error
    return replace(scene, task=task) if task else scene


def stored_state(episode: Episode, step: int) -> Float[np.ndarray, " n"]:
    """The simulator's state at a recorded step.

    Raises:
        ValueError: the episode is not from a simulator, has no such step, or its state is none.
    """
    stored_scene(episode)
    assert episode.sim_state is not None
    if not 0 <= step < episode.num_steps:
        raise ValueError(
            f"start={step} is not a step of episode {episode.episode_id}, which has steps 0 to "
            f"{episode.num_steps - 1}"
        )
    state = episode.sim_state[step]
    if len(state) > MAX_STATE or not (np.abs(state) <= FARTHEST_STATE).all():
        raise ValueError(
            f"episode {episode.episode_id}: the simulator state of step {step} cannot be restored: "
            f"it has {len(state):,} numbers (at most {MAX_STATE:,}), or some are not finite or "
            f"beyond {FARTHEST_STATE:g}; record it again, or set data.source.sim_state='' to read "
            "it without a simulator"
        )
    return state


def recorded_boxes(episode: Episode) -> Float[np.ndarray, "t b 3"]:
    """Centres of the boxes at every step of a simulated episode (m).

    Raises:
        ValueError: the episode is not from a simulator, or a state cannot be restored.
    """
    scene, seen = stored_scene(episode), []
    with closing(restore(episode, 0)) as env:
        for step in range(episode.num_steps):
            env.restore(scene, stored_state(episode, step))
            seen.append(box_centres(env))
    return np.stack(seen)


def execute(
    env: Tabletop,
    actions: Iterable[Float[np.ndarray, " a"]],
    look: Callable[[Tabletop], T],
    *,
    stride: int = 1,
) -> list[T]:
    """Execute actions; returns `look(env)` before them and after every `stride` of them.

    Of actions with joints too, the end effector's numbers are executed.

    Raises:
        ValueError: an action is out of bounds.
    """
    seen = [look(env)]
    for number, action in enumerate(actions, start=1):
        env.advance(action[END_EFFECTOR])
        if number % stride == 0:
            seen.append(look(env))
    return seen


def split_actions(actions: Float[np.ndarray, "n a"], stride: int) -> Float[np.ndarray, "m 7"]:
    """End-effector actions of whole frames as actions of single steps.

    Every motion is cut into `stride` equal parts; the gripper command, which is absolute, stays.
    """
    parts = np.repeat(actions[:, END_EFFECTOR].astype(np.float64), stride, axis=0)
    parts[:, :GRIPPER] /= stride
    return parts
