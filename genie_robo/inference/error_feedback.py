"""Quantise a sequence of motions with error feedback.

When every motion is quantised by itself, the errors of successive motions add up and an imagined
arm drifts away from the true one. Error feedback (error diffusion of Floyd and Steinberg 1976,
along time) adds the residual of each step to the next motion before quantisation. The Genie paper
quantises every transition alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.distance import cdist

DECAY = 0.8
"""Share of the residual that is carried to the next step. Below 1, so that the residual of a motion
beyond every centroid stays bounded; 0.6 to 1 give equal rollouts on validation episodes
(docs/LOG.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorFeedback:
    """A quantiser of motions whose residuals are carried along a sequence."""

    quantise: Callable[[Float[np.ndarray, "n e"]], Int[np.ndarray, " n"]]
    """The code of each motion."""
    centroids: Float[np.ndarray, "k e"]
    """The motion of each code."""
    accumulates: Bool[np.ndarray, " e"]
    """Dimensions that add up over time; the residual of the others is dropped."""
    decay: float = DECAY

    @classmethod
    def to_nearest(cls, centroids: Float[np.ndarray, "k e"]) -> "ErrorFeedback":
        """Quantise to the nearest centroid; all dimensions accumulate."""
        return cls(
            quantise=partial(_nearest, centroids),
            centroids=centroids,
            accumulates=np.ones(centroids.shape[1], bool),
        )

    def step(
        self, motions: Float[np.ndarray, "b e"], residual: Float[np.ndarray, "b e"]
    ) -> tuple[Int[np.ndarray, " b"], Float[np.ndarray, "b e"]]:
        """The codes of the next motion of b sequences, and the residuals to carry.

        `residual` is that of the step before, zero at the start of a sequence.
        """
        corrected = motions + residual
        codes = self.quantise(corrected)
        error = corrected - self.centroids[codes]
        return codes, np.where(self.accumulates, self.decay * error, 0.0)

    def encode_sequence(self, motions: Float[np.ndarray, "n e"]) -> Int[np.ndarray, " n"]:
        """The codes of n successive motions."""
        state = FeedbackState(self)
        return np.array([state.step(motion[None])[0] for motion in motions], dtype=np.int64)


def _nearest(
    centroids: Float[np.ndarray, "k e"], motions: Float[np.ndarray, "n e"]
) -> Int[np.ndarray, " n"]:
    return cdist(motions, centroids).argmin(axis=1)


class FeedbackState:
    """The residuals of several sequences that are quantised together."""

    def __init__(self, feedback: ErrorFeedback) -> None:
        self._feedback = feedback
        self._residual: Float[np.ndarray, "b e"] | None = None

    def step(self, motions: Float[np.ndarray, "b e"]) -> Int[np.ndarray, " b"]:
        """The code of the next motion of every sequence."""
        residual = np.zeros(motions.shape) if self._residual is None else self._residual
        codes, self._residual = self._feedback.step(motions, residual)
        return codes
