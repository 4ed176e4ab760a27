"""What the tests of imagined environments share."""

import numpy as np

from genie_robo.inference.sampler import Sampler

SAMPLER = Sampler(num_steps=2)


def to_codes(robot_actions: np.ndarray) -> np.ndarray:
    """Five codes by dx."""
    return np.clip((robot_actions[:, 0] * 50 + 2.5).astype(np.int64), 0, 4)
