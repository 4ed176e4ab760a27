"""What the tests of imagined environments share."""

import numpy as np

from genie_robo.inference.error_feedback import ErrorFeedback
from genie_robo.inference.sampler import Sampler

SAMPLER = Sampler(num_steps=2)


def to_codes(robot_actions: np.ndarray) -> np.ndarray:
    """Five codes by dx."""
    return np.clip((robot_actions[:, 0] * 50 + 2.5).astype(np.int64), 0, 4)


SAYS = np.zeros((5, 7))
SAYS[:, 0] = (np.arange(5) - 2) / 50
FEEDBACK = ErrorFeedback(quantise=to_codes, centroids=SAYS, accumulates=np.arange(7) < 3)
"""The same with what earlier codes of an episode left residual."""
