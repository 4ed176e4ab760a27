"""The latent actions of a video that runs backwards, and of two frames that change places."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from eval_suites.base import EpisodeSet, LatentActionEncoder
from eval_suites.episodes import read_episodes
from genie_robo.types import GRIPPER, Window


def backwards(window: Window) -> Window:
    """The frames of a window without padding in reverse, as if each motion had been undone."""
    num_frames = int((~window.is_pad).sum())
    undone = -window.robot_actions[: num_frames - 1][::-1]
    undone[:, GRIPPER] = window.robot_actions[: num_frames - 1, GRIPPER][::-1]
    return replace(
        window,
        video=np.ascontiguousarray(window.video[:num_frames][::-1]),
        robot_actions=undone,
        is_pad=np.zeros(num_frames, bool),
        tokens=None,
    )


def pair(window: Window, i: int) -> Window:
    """Frames i and i + 1 alone."""
    return replace(
        window,
        start=window.start + i,
        video=window.video[i : i + 2],
        robot_actions=window.robot_actions[i : i + 1],
        is_pad=window.is_pad[i : i + 2],
        tokens=None,
    )


def reversed_codes(
    encoder: LatentActionEncoder, episodes: EpisodeSet, *, max_episodes: int, description: str
) -> dict[str, Int[np.ndarray, " n"]]:
    """By episode id: entry i is the code of frame i + 1 to frame i in the reversed video."""
    read = read_episodes(episodes, max_episodes=max_episodes, description=description)
    return {
        window.episode_id: encoder.encode(backwards(window)).codes[::-1]
        for _, window in read
        if not window.is_pad[:2].any() and len(window.video) > 1
    }


def swapped_codes(
    encoder: LatentActionEncoder,
    episodes: EpisodeSet,
    *,
    max_episodes: int,
    max_pairs: int,
    description: str,
) -> dict[str, tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]]:
    """By episode id: some transitions, and the code of each when its two frames change places."""
    found = {}
    read = list(read_episodes(episodes, max_episodes=max_episodes, description=description))
    per_episode = max(1, max_pairs // max(1, len(read)))
    for _, window in read:
        num_transitions = int((~window.is_pad).sum()) - 1
        chosen = np.unique(
            np.linspace(0, num_transitions - 1, min(per_episode, max(num_transitions, 0)))
        ).astype(int)
        if len(chosen):
            swapped = [encoder.encode(backwards(pair(window, int(i)))).codes[0] for i in chosen]
            found[window.episode_id] = chosen, np.array(swapped)
    return found


def best_permutation(counts: Float[np.ndarray, "k k"]) -> Int[np.ndarray, " k"]:
    """For each code another code, all different, so that most counted pairs agree."""
    return np.asarray(linear_sum_assignment(-counts)[1])
