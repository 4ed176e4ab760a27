"""Motions told in few codes one after the other, so that what they leave unsaid does not add up.

A code says no more of a motion than in which of a few clusters it lies. Where every motion is told
by itself, what is left unsaid adds up, and an imagined arm drifts away from the true one. Error
diffusion (Floyd and Steinberg 1976, here along time) adds it to the next motion instead. Not in the
Genie paper.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.distance import cdist

KEPT = 0.8
"""Share of what is unsaid that is carried on. Below 1, so that a motion that no code reaches does
not pile up; 0.6 to 1 imagine validation episodes alike (docs/LOG.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorDiffusion:
    """Names motions one after the other, each together with what its forerunners left unsaid."""

    choose: Callable[[Float[np.ndarray, "n e"]], Int[np.ndarray, " n"]]
    """The code of each motion."""
    says: Float[np.ndarray, "k e"]
    """The motion that each code stands for."""
    adds_up: Bool[np.ndarray, " e"]
    """Dimensions in which motions add up; in the others nothing is carried on."""
    kept: float = KEPT

    @classmethod
    def to_nearest(cls, says: Float[np.ndarray, "k e"]) -> "ErrorDiffusion":
        """Every motion by the code that stands for the nearest one."""
        return cls(
            choose=lambda motions: cdist(motions, says).argmin(axis=1),
            says=says,
            adds_up=np.ones(says.shape[1], bool),
        )

    def step(
        self, wanted: Float[np.ndarray, "n e"], unsaid: Float[np.ndarray, "n e"]
    ) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n e"]]:
        """The codes of n motions that happen side by side, and what these leave unsaid.

        `unsaid` is what the last step left, zero at the start of a rollout.
        """
        owed = wanted + unsaid
        codes = self.choose(owed)
        return codes, np.where(self.adds_up, self.kept * (owed - self.says[codes]), 0.0)

    def along(self, wanted: Float[np.ndarray, "n e"]) -> Int[np.ndarray, " n"]:
        """The codes of n motions that happen one after the other."""
        unsaid = np.zeros((1, self.says.shape[1]))
        codes = np.zeros(len(wanted), np.int64)
        for i, motion in enumerate(wanted):
            codes[[i]], unsaid = self.step(motion[None], unsaid)
        return codes
