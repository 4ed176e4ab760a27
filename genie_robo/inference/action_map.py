"""Latent actions to robot actions and back (paper Appendix E)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDictionary:
    """For every latent action the robot actions that were seen with it.

    The paper maps a latent action to a real one by drawing from the list that a few labelled
    steps leave at its code; the mean of the list is the least-squares answer.
    """

    robot_actions: tuple[Float[np.ndarray, "_ a"], ...]
    """One array per code, possibly empty."""

    @classmethod
    def fit(
        cls,
        latent_actions: Int[np.ndarray, " n"],
        robot_actions: Float[np.ndarray, "n a"],
        *,
        num_codes: int,
    ) -> "ActionDictionary":
        """Collect labelled transitions.

        Raises:
            ValueError: No transition at all, or a code outside 0..num_codes - 1.
        """
        if len(latent_actions) == 0:
            raise ValueError("an action dictionary needs at least one labelled transition, got 0")
        if not 0 <= latent_actions.min() <= latent_actions.max() < num_codes:
            raise ValueError(
                f"latent actions must be 0..{num_codes - 1}, got {latent_actions.min()} to "
                f"{latent_actions.max()}"
            )
        return cls(
            robot_actions=tuple(robot_actions[latent_actions == code] for code in range(num_codes))
        )

    @property
    def counts(self) -> Int[np.ndarray, " k"]:
        """Labelled transitions per code."""
        return np.array([len(seen) for seen in self.robot_actions])

    def mean(self, latent_actions: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n a"]:
        """The mean robot action of each code; a code never seen gives the mean of all."""
        overall = np.concatenate(self.robot_actions).mean(0)
        means = np.stack([s.mean(0) if len(s) else overall for s in self.robot_actions])
        return means[latent_actions]

    def sample(
        self, latent_actions: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> Float[np.ndarray, "n a"]:
        """Draw a robot action for each code, as the paper does at run time."""
        everything = np.concatenate(self.robot_actions)
        lists = [self.robot_actions[code] for code in latent_actions]
        return np.stack([rng.choice(seen if len(seen) else everything) for seen in lists])

    def nearest(self, robot_actions: Float[np.ndarray, "n a"]) -> Int[np.ndarray, " n"]:
        """The code whose mean robot action is nearest, in units of the actions' spread."""
        seen = np.flatnonzero(self.counts)
        spread = np.concatenate(self.robot_actions).std(0)
        scale = np.where(spread > 0, spread, 1.0)
        means = self.mean(seen) / scale
        distances = np.linalg.norm(robot_actions[:, None] / scale - means[None], axis=-1)
        return seen[distances.argmin(1)]
