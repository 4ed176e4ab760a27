"""Where decoded robot actions bring the robot, by MuJoCo."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from eval_suites.base import EvalContext
from eval_suites.probes.data import ProbeData
from genie_robo.progress import progress_bar
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW
from genie_robo.sim.replay import replay
from genie_robo.types import GRIPPER, Episode

RENDER_SIZE = (16, 16)
"""Replay draws every step; nobody looks at these frames."""


def replay_errors(
    context: EvalContext,
    test: ProbeData,
    decoded: Mapping[str, Float[np.ndarray, "m 7"]],
    *,
    num_episodes: int,
    num_steps: int,
    renderer: str,
    description: str,
) -> dict[str, dict[str, float]]:
    """Mean distance (m) of the end effector from where the recorded actions bring it.

    By test episode, then by name of the actions in `decoded`, which has a row per test
    transition. MuJoCo starts from the first recorded step and runs over `num_steps` transitions.
    """
    ids = test.episode_ids[:num_episodes]
    dataset = (context.dataset[number] for number in context.test.episodes)
    episodes = {episode.episode_id: episode for episode in dataset if episode.episode_id in ids}
    stride, found = context.test.frame_stride, {}
    with progress_bar(f"{description}: MuJoCo", total=len(ids), unit="episodes") as advance:
        for e, name in enumerate(ids):
            rows = np.flatnonzero(test.episode == e)[:num_steps]
            recorded = episodes[name].robot_actions[: len(rows) * stride].astype(np.float64)
            truth = _path(episodes[name], recorded, renderer)
            found[name] = {}
            for way, actions in decoded.items():
                path = _path(episodes[name], spread(actions[rows], stride), renderer)
                found[name][way] = mean_distance(path, truth, stride=stride)
            advance()
    return found


def spread(actions: Float[np.ndarray, "n 7"], stride: int) -> Float[np.ndarray, "s 7"]:
    """Every action as `stride` equal parts of it; the gripper command holds in all of them."""
    parts = np.repeat(actions, stride, axis=0)
    parts[:, :GRIPPER] /= stride
    return parts


def mean_distance(
    path: Float[np.ndarray, "s 3"], truth: Float[np.ndarray, "s 3"], *, stride: int
) -> float:
    """Mean over transitions of how far apart two paths from one start are (m)."""
    return float(np.linalg.norm(path - truth, axis=-1)[stride::stride].mean())


def _path(
    episode: Episode, actions: Float[np.ndarray, "n 7"], renderer: str
) -> Float[np.ndarray, "n+1 3"]:
    return replay(
        episode,
        start=0,
        robot_actions=np.clip(actions, ACTION_LOW, ACTION_HIGH),
        image_size=RENDER_SIZE,
        renderer=renderer,
    ).end_effector


def mean_by_way(errors: Mapping[str, Mapping[str, float]], ways: Sequence[str]) -> dict[str, float]:
    """Mean error over episodes of some of the ways."""
    return {way: float(np.mean([row[way] for row in errors.values()])) for way in ways}
