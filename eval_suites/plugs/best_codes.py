"""The ceiling of few codes: robot actions, if all that is told of a motion is one code."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from sklearn.cluster import KMeans

from eval_suites.base import EvalContext
from eval_suites.episodes import episode_limit, read_episodes
from eval_suites.metrics.regression import fit_clusters
from genie_robo.inference.error_feedback import ErrorFeedback
from genie_robo.types import XYZ

MAX_EPISODES = 60
"""In which motions are clustered."""


@dataclass(frozen=True, slots=True)
class BestCodes:
    """What latent actions could say at best.

    k-means of commanded motions along xyz (m), with as many clusters as there are latent actions;
    what a cluster leaves unsaid of a motion is added to the next one, as for latent actions.
    """

    clusters: KMeans

    @classmethod
    def fit(cls, context: EvalContext, *, name: str) -> "BestCodes":
        """From the motions of episodes to fit on.

        Raises:
            ValueError: There is no such episode, or none that can be read.
        """
        limit = episode_limit(context, MAX_EPISODES)
        read = read_episodes(context.fit, max_episodes=limit, description=f"{name}: codes")
        told = [w.robot_actions[~w.is_pad[1:], XYZ] for _, w in read]
        if not told:
            raise ValueError(
                "the best codes are clusters of the motions of validation episodes, but there is "
                "none that can be read; raise data.val_fraction"
            )
        motions = np.concatenate(told).astype(np.float64)
        codes = context.encoder.num_codes
        return cls(fit_clusters(motions, num_codes=codes, seed=context.seed))

    def tell(self, robot_actions: Float[np.ndarray, "n 7"]) -> Float[np.ndarray, "n 7"]:
        """Robot actions of a rollout, with centres of clusters for their motions along xyz.

        Turns of the tool and the gripper stay as they are.
        """
        told = robot_actions.astype(np.float64)
        centres = self.clusters.cluster_centers_.astype(np.float64)
        told[:, XYZ] = centres[ErrorFeedback.to_nearest(centres).encode_sequence(told[:, XYZ])]
        return told
