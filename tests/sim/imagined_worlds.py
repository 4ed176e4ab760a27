"""What the tests of imagined environments share."""

import numpy as np

from genie_robo.inference.error_feedback import ErrorFeedback
from genie_robo.inference.settings import Sampler
from genie_robo.inference.trust import Usual, WatchedWorld
from genie_robo.inference.world import Codes, GenieWorld, RobotMap
from genie_robo.models.genie import Genie

SAMPLER = Sampler(num_steps=2)


def world_of(genie: Genie, to_codes: RobotMap | None = None) -> GenieWorld:
    """A Genie that decodes in two steps, steered by robot actions where they are mapped."""
    mapped = None if to_codes is None else lambda: to_codes
    return GenieWorld(genie, sampler=SAMPLER, robot_map=mapped)


def watched_world(genie: Genie) -> WatchedWorld:
    """The same under watch; its trust depends on the latent signal alone, usually 0 to 2."""
    signals = np.full((50, 1, 3), 99.0)
    signals[:, 0, 0] = np.linspace(0, 2, 50)
    return WatchedWorld(world_of(genie), {Codes: Usual.of(signals)})


def to_codes(robot_actions: np.ndarray) -> np.ndarray:
    """Five codes by dx."""
    return np.clip((robot_actions[:, 0] * 50 + 2.5).astype(np.int64), 0, 4)


CENTROIDS = np.zeros((5, 7))
CENTROIDS[:, 0] = (np.arange(5) - 2) / 50
FEEDBACK = ErrorFeedback(quantise=to_codes, centroids=CENTROIDS, accumulates=np.arange(7) < 3)
"""The same with error feedback along an episode."""
