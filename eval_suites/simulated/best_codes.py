"""The ceiling of few codes: the true robot actions, if all that is told of a motion is one code."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from eval_suites.base import EvalContext
from eval_suites.clips import Clip
from eval_suites.episodes import read_episodes
from eval_suites.metrics.regression import cluster
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW

XYZ = slice(0, 3)


def best_coded(
    context: EvalContext, clips: Sequence[Clip], *, max_episodes: int, name: str
) -> Float[np.ndarray, "m n 7"]:
    """The robot actions of every clip, each motion along xyz as the centre of its cluster.

    k-means of the commanded motions of the episodes to fit on, with as many clusters as there are
    latent actions: what latent actions could say at best, each for its own transition. Turns of
    the tool and the gripper stay true.
    """
    read = read_episodes(context.fit, max_episodes=max_episodes, description=f"{name}: best codes")
    seen = np.concatenate([w.robot_actions[~w.is_pad[1:], XYZ] for _, w in read]).astype(np.float64)
    told = np.stack([clip.robot_actions for clip in clips])
    motions = told[..., XYZ].reshape(-1, seen.shape[1])
    fit_codes, codes = cluster(
        seen, motions, num_codes=context.encoder.num_codes, seed=context.seed
    )
    centres = np.stack([seen[fit_codes == code].mean(axis=0) for code in np.unique(fit_codes)])
    told[..., XYZ] = centres[codes].reshape(*told.shape[:2], -1)
    return np.clip(told, ACTION_LOW, ACTION_HIGH)
